//! The sections, one small struct each, with their defaults.

use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::oauth::uri;

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The issuer; empty means the scheme and the address in use.
    pub issuer: String,
    /// Seconds between "not ready" and the end of accepting, when the server is told to stop.
    pub shutdown_delay: u64,
    /// Networks of proxies whose word on the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file of the certificate and those between it and its root; empty means no TLS.
    pub certificate: PathBuf,
    /// PEM file of the certificate's private key.
    pub private_key: PathBuf,
}

impl Tls {
    /// Whether connections are encrypted here, and not by a proxy.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Directory of database, sealing key and administrator's credentials.
    pub data_dir: PathBuf,
    /// A PostgreSQL database that nodes may share; empty means SQLite in `data_dir`.
    pub url: String,
    /// This node's name: in the audit chain, and among those that share a database.
    pub node: String,
    /// Commands that may wait for the writer.
    pub queue: usize,
}

impl Storage {
    /// Where the database is, for people: the key that says so, and never a password.
    #[must_use]
    pub fn place(&self) -> String {
        if self.url.is_empty() {
            format!("storage.data_dir: {}", self.data_dir.display())
        } else {
            "storage.url".into()
        }
    }
}

/// `[keys]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The file with the key that seals private keys; empty means `sealing.key` in the data
    /// directory. Nodes that share a database share it.
    pub sealing_key: PathBuf,
    /// Seconds until a signing key is replaced; 0 means only on request.
    pub rotate_after: i64,
    /// Seconds a key is published before it signs.
    pub publish_before_use: i64,
    /// Seconds clients may cache JWKS and metadata.
    pub cache: i64,
}

/// `[policy]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How many actors an `act` chain may name.
    pub max_delegation_depth: usize,
}

/// Who may register clients (RFC 7591 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    /// Anyone; what they register has no access until a resource opens scopes to such clients.
    #[default]
    Open,
    /// Whoever holds a token with the scope `client:register`.
    Token,
    /// Nobody.
    Off,
}

/// `[authorization]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorization {
    /// Seconds a code holds.
    pub code_lifetime: i64,
    /// Seconds a pushed request waits to be used (RFC 9126 §2.2).
    pub pushed_request_lifetime: i64,
    /// Seconds a person may take to sign in and decide.
    pub patience: i64,
    /// Seconds an ID token holds.
    pub id_token_lifetime: i64,
    /// Seconds after which a refresh token that is not used ends.
    pub refresh_token_idle: i64,
    /// Seconds after which one ends however much it is used; 0 means never.
    pub refresh_token_lifetime: i64,
    /// Seconds in which a refresh token that was just used may be used again.
    pub refresh_token_grace: i64,
    /// The resource of requests that name none and ask for nothing that says it.
    pub default_resource: String,
}

impl Default for Authorization {
    fn default() -> Self {
        Self {
            code_lifetime: 60,
            pushed_request_lifetime: 60,
            patience: 1800,
            id_token_lifetime: 300,
            refresh_token_idle: 30 * 86_400,
            refresh_token_lifetime: 365 * 86_400,
            refresh_token_grace: 60,
            default_resource: String::new(),
        }
    }
}

/// `[registration]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// For the default tenant; others say it in their declaration.
    pub mode: RegistrationMode,
    /// Registered clients a tenant may hold.
    pub max_clients: usize,
    /// Seconds after which a client is forgotten that holds no grant and that nobody has allowed
    /// anything; 0 keeps it.
    pub unused_lifetime: i64,
}

/// `[clients]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Seconds a client's clock may differ from ours.
    pub assertion_leeway: i64,
    /// Longest time between now and an assertion's `exp`.
    pub assertion_lifetime: i64,
}

/// `[metadata_documents]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetadataDocuments {
    /// Whether a `client_id` may be the URL of a client ID metadata document.
    pub enabled: bool,
    /// Hosts whose documents are read; all when there is none.
    pub allow: Vec<String>,
    /// Hosts whose documents are not read, whatever `allow` says.
    pub deny: Vec<String>,
    /// Largest document, bytes.
    pub max_body: usize,
    /// Seconds that reading one may take.
    pub timeout: u64,
    /// Seconds that one is kept when its server says less.
    pub min_age: u64,
    /// Seconds that one is kept when its server says nothing.
    pub default_age: u64,
    /// Seconds that one is kept when its server says more.
    pub max_age: u64,
}

/// `[dpop]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dpop {
    /// Whether proofs for our endpoints must hold a nonce of ours (RFC 9449 §8).
    pub require_nonce: bool,
    /// Seconds a proof is accepted after its `iat`.
    pub proof_lifetime: i64,
    /// Seconds a nonce is accepted at least; at most twice as long.
    pub nonce_lifetime: i64,
}

/// `[events]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Streams that one receiver may have.
    pub streams_per_client: usize,
    /// Seconds between two requests to verify a stream.
    pub verification_interval: u64,
    /// Seconds that a poll waits when there is nothing.
    pub poll_wait: u64,
    /// Seconds after which an idle feed sends a comment.
    pub feed_keep_alive: u64,
    /// Seconds that one push may take.
    pub push_timeout: u64,
    /// Seconds of them for the connection.
    pub push_connect_timeout: u64,
    /// Pushes under way at the same time.
    pub push_connections: usize,
    /// Seconds after which a stream that cannot be pushed is paused.
    pub give_up: i64,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            streams_per_client: 16,
            verification_interval: 5,
            poll_wait: 25,
            feed_keep_alive: 15,
            push_timeout: 5,
            push_connect_timeout: 2,
            push_connections: 1024,
            give_up: 86_400,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest body of the OAuth endpoints, bytes.
    pub body: usize,
    /// Largest body of the admin API, bytes.
    pub admin_body: usize,
    /// Largest header block, bytes.
    pub headers: usize,
    /// Connections open at the same time.
    pub connections: usize,
    /// Seconds for a whole request.
    pub request_timeout: u64,
    /// Seconds for a request's headers, or idle.
    pub header_timeout: u64,
    /// Requests a second that one client may make at the token, introspection and revocation
    /// endpoints; 0 means any number, here and below.
    pub client_rate: u32,
    /// How many it may make at once.
    pub client_burst: u32,
    /// Requests a second from one address.
    pub address_rate: u32,
    /// How many at once.
    pub address_burst: u32,
    /// Failed client authentications a second from one address.
    pub failure_rate: u32,
    /// How many at once.
    pub failure_burst: u32,
    /// Registrations a second from one address.
    pub registration_rate: u32,
    /// How many at once.
    pub registration_burst: u32,
    /// Metadata documents a second that are fetched because one address names them.
    pub document_rate: u32,
    /// How many at once.
    pub document_burst: u32,
    /// People a second who make an account, or come back from another provider, from one address.
    pub arrival_rate: u32,
    /// How many at once.
    pub arrival_burst: u32,
}

/// `[fetch]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// Seconds an outbound request may take.
    pub timeout: u64,
    /// Largest answer that is read, bytes.
    pub max_body: usize,
    /// PEM file of certificate authorities that are believed beside those of the system; none when
    /// empty.
    pub extra_ca: PathBuf,
    /// For tests: loopback and private addresses are reachable.
    pub allow_private_addresses_for_tests: bool,
}

/// How exported events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// The Open Cybersecurity Schema Framework.
    #[default]
    Ocsf,
    /// As the admin API shows them.
    Jsonl,
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Refusals of strangers that a tenant writes down in a minute; more are counted.
    pub refusals_per_minute: u32,
    /// Days that events are kept; 0 keeps them for ever.
    pub retention: i64,
    /// How exported events are written.
    pub export_format: ExportFormat,
    /// File that events are added to; none when empty.
    pub export_file: PathBuf,
    /// URL that events are posted to; none when empty.
    pub export_webhook: String,
    /// File with the bearer token for it; none when empty.
    pub export_webhook_token_file: PathBuf,
    /// Whether that URL may point to a private address.
    pub export_webhook_private: bool,
    /// Syslog receiver of events; none when empty.
    pub export_syslog: String,
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignUp {
    /// Whoever comes to the sign-up page.
    Open,
    /// Administrators.
    #[default]
    Off,
}

/// `[users]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Who may make an account.
    pub sign_up: SignUp,
    /// Seconds after which a session ends that is not used.
    pub session_idle: i64,
    /// Seconds after which one must sign in again.
    pub session_lifetime: i64,
    /// Seconds after signing in in which credentials can be changed.
    pub recent: i64,
    /// Characters that a password must have.
    pub password_length: usize,
    /// Passwords that are checked at the same time.
    pub hashing: usize,
    /// Wrong passwords that somebody may try in a row.
    pub guesses: u32,
    /// Seconds after which it may be one more.
    pub guess_interval: u32,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            sign_up: SignUp::Off,
            session_idle: 86_400,
            session_lifetime: 14 * 86_400,
            recent: 300,
            password_length: 10,
            hashing: 2,
            guesses: 10,
            guess_interval: 30,
        }
    }
}

/// `[pages]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pages {
    /// What this server is called in front of people.
    pub product: String,
    /// A CSS file behind our own; none when empty.
    pub theme: PathBuf,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            product: "Writ".into(),
            theme: PathBuf::new(),
        }
    }
}

/// How log records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which requests get a line in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestLines {
    /// None.
    Off,
    /// Those answered with 4xx or 5xx, up to a number a second.
    #[default]
    Refused,
    /// Every one.
    All,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Which records are written, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
    /// Which requests get one.
    pub requests: RequestLines,
    /// Where metrics and health are answered without a token.
    #[serde(with = "or_nothing")]
    pub metrics_listen: Option<SocketAddr>,
    /// The collector that traces are sent to; empty means none.
    pub otlp_endpoint: String,
    /// How many of 10 000 traces that begin here are recorded.
    pub otlp_sample: u32,
}

/// A value that is written as empty text when there is none.
mod or_nothing {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || D::Error::custom(format!("found '{text}'"));
        text.parse().map(Some).map_err(|_| wrong())
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4455)),
            issuer: String::new(),
            shutdown_delay: 0,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: "writ-data".into(),
            url: String::new(),
            node: "1".into(),
            queue: 8192,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            sealing_key: PathBuf::new(),
            rotate_after: 90 * 86_400,
            publish_before_use: 600,
            cache: 300,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_delegation_depth: 4,
        }
    }
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            mode: RegistrationMode::Open,
            max_clients: 10_000,
            unused_lifetime: 7 * 86_400,
        }
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            assertion_leeway: 60,
            assertion_lifetime: 3600,
        }
    }
}

impl Default for MetadataDocuments {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            deny: Vec::new(),
            max_body: 5 * 1024,
            timeout: 3,
            min_age: 30,
            default_age: 3600,
            max_age: 86_400,
        }
    }
}

impl Default for Dpop {
    fn default() -> Self {
        Self {
            require_nonce: false,
            proof_lifetime: 60,
            nonce_lifetime: 300,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            admin_body: 4 * 1024 * 1024,
            headers: 32 * 1024,
            connections: 4096,
            request_timeout: 10,
            header_timeout: 15,
            client_rate: 0,
            client_burst: 1000,
            address_rate: 0,
            address_burst: 1000,
            failure_rate: 100,
            failure_burst: 10_000,
            registration_rate: 10,
            registration_burst: 1000,
            document_rate: 5,
            document_burst: 100,
            arrival_rate: 5,
            arrival_burst: 100,
        }
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            timeout: 5,
            max_body: 64 * 1024,
            extra_ca: PathBuf::new(),
            allow_private_addresses_for_tests: false,
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            refusals_per_minute: 60,
            retention: 0,
            export_format: ExportFormat::Ocsf,
            export_file: PathBuf::new(),
            export_webhook: String::new(),
            export_webhook_token_file: PathBuf::new(),
            export_webhook_private: false,
            export_syslog: String::new(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            filter: "info,sea_orm_migration=warn".into(),
            format: LogFormat::Text,
            requests: RequestLines::Refused,
            metrics_listen: None,
            otlp_endpoint: String::new(),
            otlp_sample: 10_000,
        }
    }
}

/// Where syslog messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogTarget {
    /// One connection (RFC 6587), or one datagram for each (RFC 5426).
    pub tcp: bool,
    /// `host:port`.
    pub address: String,
}

impl SyslogTarget {
    /// Reads `udp://host:port` or `tcp://host:port`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = uri::parse(text)?;
        let tcp = match url.scheme() {
            "tcp" => true,
            "udp" => false,
            _ => return None,
        };
        let address = format!("{}:{}", url.host_str()?, url.port()?);
        let bare = format!("{}://{address}", url.scheme());
        (text == bare).then_some(Self { tcp, address })
    }
}
