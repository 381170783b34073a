//! Configuration: built-in defaults, then a file, then `WRIT_*` in the environment, then flags.
//!
//! `config/default.toml` documents every key; a test keeps it equal to the defaults here.

mod upstream;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider, Source,
    providers::{Format as _, Serialized, Toml},
    util::nest,
    value::{Dict, Map, Value},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use writ_resource::claims::MAX_ACTORS;

pub use self::upstream::Upstream;
use crate::{
    oauth::{resource::is_loopback, uri},
    telemetry,
};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen and who we are.
    pub server: Server,
    /// The certificate.
    pub tls: Tls,
    /// Where state is kept.
    pub storage: Storage,
    /// Signing keys.
    pub keys: Keys,
    /// Rules of delegation.
    pub policy: Policy,
    /// What people authorize.
    pub authorization: Authorization,
    /// Dynamic client registration.
    pub registration: Registration,
    /// Client authentication.
    pub clients: Clients,
    /// Clients whose `client_id` is the URL of their metadata.
    pub metadata_documents: MetadataDocuments,
    /// Sender-constrained tokens.
    pub dpop: Dpop,
    /// What one request or connection may use.
    pub limits: Limits,
    /// Outbound requests.
    pub fetch: Fetch,
    /// Streams of security events.
    pub events: Events,
    /// The audit trail.
    pub audit: Audit,
    /// People.
    pub users: Users,
    /// Other providers that people sign in with, by names that we give them.
    pub upstream: BTreeMap<String, Upstream>,
    /// How pages look.
    pub pages: Pages,
    /// Logs.
    pub telemetry: Telemetry,
}

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

/// A configuration that cannot be used: which key, where it came from, what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}\n  set in: {origin}\n  allowed: {allowed}")]
pub struct ConfigError {
    key: String,
    problem: String,
    origin: String,
    allowed: String,
}

/// What flags set; each wins over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--issuer`
    pub issuer: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    /// A whole number between these, both included.
    Number(i64, i64),
    /// What these words say.
    Words(&'static str),
    /// A list of what these words say.
    List(&'static str),
}

/// More than any machine answers.
const RATE: i64 = 1_000_000;

/// Hosts by name, or all below one.
const HOSTS: Allowed = Allowed::List(
    "hosts in lower case, for example [\"app.example\", \"*.example.com\"]; *. stands for any \
     name below, not for the domain itself",
);

/// Every key and what it may hold.
const KEYS: &[(&str, Allowed)] = {
    use Allowed::{List, Number, Words};
    &[
        (
            "server.listen",
            Words("an address and a port, for example 127.0.0.1:4455; port 0 picks a free one"),
        ),
        (
            "server.issuer",
            Words(
                "an https URL (http on loopback only) without query, fragment, % and empty \
                 segments, for example https://auth.example/main",
            ),
        ),
        ("server.shutdown_delay", Number(0, 600)),
        (
            "server.trusted_proxies",
            List("networks, for example [\"10.0.0.0/8\", \"192.0.2.7/32\", \"2001:db8::/32\"]"),
        ),
        (
            "tls.certificate",
            Words("the path of a PEM file with the certificate chain; set with tls.private_key"),
        ),
        (
            "tls.private_key",
            Words("the path of a PEM file with the private key; set with tls.certificate"),
        ),
        ("storage.data_dir", Words("the path of a directory")),
        (
            "storage.url",
            Words(
                "empty for SQLite in storage.data_dir, or a PostgreSQL URL, for example \
                 postgres://writ@db.example/writ?sslmode=verify-full",
            ),
        ),
        ("storage.node", Words("1 to 64 printable ASCII characters")),
        ("storage.queue", Number(1, 1 << 20)),
        (
            "keys.sealing_key",
            Words("the path of a file; empty for sealing.key in storage.data_dir"),
        ),
        ("keys.rotate_after", Number(0, 10 * 365 * 86_400)),
        ("keys.publish_before_use", Number(0, 30 * 86_400)),
        ("keys.cache", Number(0, 86_400)),
        // A longer chain could be issued, but nobody would read it.
        ("policy.max_delegation_depth", Number(0, MAX_ACTORS as i64)),
        ("authorization.code_lifetime", Number(1, 600)),
        ("authorization.pushed_request_lifetime", Number(5, 600)),
        ("authorization.patience", Number(60, 86_400)),
        ("authorization.id_token_lifetime", Number(10, 86_400)),
        (
            "authorization.refresh_token_idle",
            Number(60, 10 * 365 * 86_400),
        ),
        (
            "authorization.refresh_token_lifetime",
            Number(0, 10 * 365 * 86_400),
        ),
        ("authorization.refresh_token_grace", Number(0, 600)),
        (
            "authorization.default_resource",
            Words("the id or URI of a resource, or nothing for none"),
        ),
        ("registration.mode", Words("open, token or off")),
        ("registration.max_clients", Number(0, 10_000_000)),
        ("registration.unused_lifetime", Number(0, 10 * 365 * 86_400)),
        ("clients.assertion_leeway", Number(0, 300)),
        ("clients.assertion_lifetime", Number(10, 86_400)),
        ("metadata_documents.enabled", Words("true or false")),
        ("metadata_documents.allow", HOSTS),
        ("metadata_documents.deny", HOSTS),
        ("metadata_documents.max_body", Number(1024, 1 << 20)),
        ("metadata_documents.timeout", Number(1, 60)),
        ("metadata_documents.min_age", Number(1, 86_400)),
        ("metadata_documents.default_age", Number(1, 86_400)),
        ("metadata_documents.max_age", Number(1, 86_400)),
        ("dpop.require_nonce", Words("true or false")),
        ("dpop.proof_lifetime", Number(10, 600)),
        ("dpop.nonce_lifetime", Number(10, 3600)),
        ("limits.body", Number(1024, 1 << 24)),
        ("limits.admin_body", Number(1024, 1 << 28)),
        ("limits.headers", Number(8192, 1 << 20)),
        ("limits.connections", Number(1, 1 << 20)),
        ("limits.request_timeout", Number(1, 600)),
        ("limits.header_timeout", Number(1, 600)),
        ("limits.client_rate", Number(0, RATE)),
        ("limits.client_burst", Number(1, RATE)),
        ("limits.address_rate", Number(0, RATE)),
        ("limits.address_burst", Number(1, RATE)),
        ("limits.failure_rate", Number(0, RATE)),
        ("limits.failure_burst", Number(1, RATE)),
        ("limits.registration_rate", Number(0, RATE)),
        ("limits.registration_burst", Number(1, RATE)),
        ("limits.document_rate", Number(0, RATE)),
        ("limits.document_burst", Number(1, RATE)),
        ("fetch.timeout", Number(1, 60)),
        ("fetch.max_body", Number(1024, 1 << 24)),
        (
            "fetch.extra_ca",
            Words("the path of a PEM file with certificates; empty for none"),
        ),
        (
            "fetch.allow_private_addresses_for_tests",
            Words("true or false"),
        ),
        ("events.streams_per_client", Number(1, 10_000)),
        ("events.verification_interval", Number(0, 86_400)),
        ("events.poll_wait", Number(1, 300)),
        ("events.feed_keep_alive", Number(1, 300)),
        ("events.push_timeout", Number(1, 60)),
        ("events.push_connect_timeout", Number(1, 60)),
        ("events.push_connections", Number(1, 100_000)),
        ("events.give_up", Number(60, 7 * 86_400)),
        ("audit.refusals_per_minute", Number(0, 1_000_000)),
        ("audit.retention", Number(0, 36_500)),
        ("audit.export_format", Words("ocsf or jsonl")),
        (
            "audit.export_file",
            Words("the path of a file, or nothing to write none"),
        ),
        (
            "audit.export_webhook",
            Words("an https URL, or nothing to post to none"),
        ),
        (
            "audit.export_webhook_token_file",
            Words("the path of a file that holds a bearer token, or nothing to send none"),
        ),
        ("audit.export_webhook_private", Words("true or false")),
        (
            "audit.export_syslog",
            Words("udp://host:port or tcp://host:port, or nothing to send to none"),
        ),
        ("users.sign_up", Words("open or off")),
        ("users.session_idle", Number(60, 10 * 365 * 86_400)),
        ("users.session_lifetime", Number(60, 10 * 365 * 86_400)),
        ("users.recent", Number(10, 86_400)),
        ("users.password_length", Number(8, 64)),
        ("users.hashing", Number(1, 64)),
        ("users.guesses", Number(1, 1000)),
        ("users.guess_interval", Number(1, 3600)),
        ("upstream.*.name", Words("a name that people know")),
        (
            "upstream.*.issuer",
            Words(
                "the https URL that the provider calls itself, to the letter, for example \
                 https://accounts.google.com",
            ),
        ),
        (
            "upstream.*.client_id",
            Words("the client_id that the provider has given to this server"),
        ),
        (
            "upstream.*.client_secret_file",
            Words("the path of a file that holds the client's secret, or nothing for none"),
        ),
        (
            "upstream.*.private_key_file",
            Words(
                "the path of a PEM file with a PKCS#8 private key (RSA, P-256 or Ed25519), or \
                 nothing for none; not together with client_secret_file",
            ),
        ),
        (
            "upstream.*.scopes",
            Words("scopes with a space between them, openid among them"),
        ),
        ("upstream.*.sign_up", Words("open or off")),
        ("upstream.*.link_by_verified_email", Words("true or false")),
        (
            "upstream.*.allowed_domains",
            List("domains in lower case, for example [\"example.com\"]"),
        ),
        ("upstream.*.private_addresses", Words("true or false")),
        ("pages.product", Words("a name that people know")),
        (
            "pages.theme",
            Words("the path of a CSS file, or nothing for the look that is built in"),
        ),
        (
            "telemetry.filter",
            Words("directives in the syntax of RUST_LOG, for example info,writ=debug"),
        ),
        ("telemetry.format", Words("text or json")),
        ("telemetry.requests", Words("off, refused or all")),
        (
            "telemetry.metrics_listen",
            Words("an address and a port, for example 127.0.0.1:9464; empty for none"),
        ),
        (
            "telemetry.otlp_endpoint",
            Words(
                "the http or https URL of an OTLP/HTTP collector without the path /v1/traces, for \
                 example http://127.0.0.1:4318; empty for none",
            ),
        ),
        ("telemetry.otlp_sample", Number(0, 10_000)),
    ]
};

/// What a key, or a section, may hold, in words.
fn allowed(key: &str) -> String {
    // An element of a list is named by its position.
    let key = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let key = key.strip_suffix('.').unwrap_or(key);
    let key = &pattern(key);
    match KEYS.iter().find(|(known, _)| known == key) {
        Some((_, Allowed::Number(low, high))) => format!("a whole number, {low}..={high}"),
        Some((_, Allowed::Words(words) | Allowed::List(words))) => (*words).to_owned(),
        None => {
            let section = format!("{key}.");
            let keys: Vec<&str> = KEYS
                .iter()
                .filter_map(|(known, _)| known.strip_prefix(&section))
                .collect();
            if keys.is_empty() {
                "TOML; config/default.toml lists every section and key".to_owned()
            } else {
                format!("a section with the keys {}", keys.join(", "))
            }
        }
    }
}

/// A key as [`KEYS`] lists it: providers have names of their own.
fn pattern(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('.').collect();
    if let ["upstream", name, ..] = parts.as_mut_slice() {
        *name = "*";
    }
    parts.join(".")
}

/// Values from one place, which their errors name.
struct Layer {
    place: String,
    values: Dict,
}

impl Layer {
    /// One value that was set by itself.
    fn one(place: String, key: &str, value: Value) -> Self {
        let values = nest(key, value).into_dict().unwrap_or_default();
        Self { place, values }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// How every variable of ours begins.
const PREFIX: &str = "WRIT_";

/// Variables that stand for flags.
const FOR_FLAGS: [&str; 2] = ["WRIT_CONFIG", "WRIT_CREDENTIALS"];

/// The environment's variable for a key: `[server] listen` is `WRIT_SERVER__LISTEN`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The key that a variable sets, if it is this one: `[upstream.a] issuer` is
/// `WRIT_UPSTREAM__A__ISSUER`.
fn key_of(key: &str, name: &str) -> Option<String> {
    let variable = variable(key);
    let Some((before, after)) = variable.split_once('*') else {
        return (variable == name).then(|| key.to_owned());
    };
    let id = name.strip_prefix(before)?.strip_suffix(after)?;
    Some(key.replace('*', &id.to_ascii_lowercase()))
}

/// What the variables of the environment set.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || FOR_FLAGS.contains(&&*name) || is_service_link(&name) {
            continue;
        }
        let refuse = |problem: &str, allowed: String| ConfigError {
            key: name.to_string(),
            problem: problem.into(),
            origin: "the environment".into(),
            allowed,
        };
        let Some((key, kind)) = KEYS.iter().find_map(|(key, kind)| {
            let key = key_of(key, &name)?;
            Some((key, kind))
        }) else {
            return Err(refuse("there is no such variable", instead_of(&name)));
        };
        let Ok(text) = value.into_string() else {
            return Err(refuse("is not UTF-8", allowed(&key)));
        };
        // A node may be called 1, and an issuer is no date: only what is not text is parsed.
        let value = match kind {
            Allowed::Words("true or false") | Allowed::Number(..) | Allowed::List(_) => {
                text.parse()
            }
            Allowed::Words(_) => Ok(text.into()),
        };
        let Ok(value) = value;
        let place = format!("the environment ({name})");
        layers.push(Layer::one(place, &key, value));
    }
    Ok(layers)
}

/// What an unknown variable may have been meant to be: the same letters, other underscores.
fn instead_of(name: &str) -> String {
    let letters = |name: &str| name.to_ascii_uppercase().replace('_', "");
    let meant = |known: &str| {
        let (known, name) = (letters(known), letters(name));
        known == name || known.ends_with(name.trim_start_matches("WRIT"))
    };
    let known: Vec<String> = KEYS.iter().map(|(key, _)| variable(key)).collect();
    let known = known.iter().map(String::as_str).chain(FOR_FLAGS);
    match known.filter(|known| meant(known)).collect::<Vec<_>>() {
        meant if meant.is_empty() => {
            "WRIT_SECTION__KEY, two underscores between; config/default.toml lists them".into()
        }
        meant => meant.join(" or "),
    }
}

/// Kubernetes tells every container about the services around it: one called `writ` appears as
/// `WRIT_SERVICE_HOST`, `WRIT_PORT_443_TCP` and so on. Nobody has typed those.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_PORT")
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"]
            .iter()
            .any(|part| name.contains(part))
}

impl Config {
    /// Reads file and environment and applies the flags.
    ///
    /// # Errors
    /// Names the key, where its value came from and what is allowed.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::from_all(overrides, std::env::vars_os())
    }

    fn from_all(
        overrides: &Overrides,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &overrides.file {
            if !file.is_file() {
                return Err(ConfigError {
                    key: "--config".into(),
                    problem: format!("no file at {}", file.display()),
                    origin: "the command line (--config) or the environment (WRIT_CONFIG)".into(),
                    allowed: "a TOML file; config/default.toml lists every key".into(),
                });
            }
            figment = figment.merge(Toml::file_exact(file));
            // By itself, so that what is wrong in it is said even where a flag wins over it.
            read(&figment, Some(file))?;
        }
        for layer in environment(variables)? {
            figment = figment.merge(layer);
        }
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        for (flag, key, value) in [
            (
                "--listen",
                "server.listen",
                overrides.listen.map(|address| address.to_string()),
            ),
            ("--issuer", "server.issuer", overrides.issuer.clone()),
            (
                "--data-dir",
                "storage.data_dir",
                overrides.data_dir.as_ref().map(text),
            ),
        ] {
            if let Some(value) = value {
                let place = format!("the command line ({flag})");
                figment = figment.merge(Layer::one(place, key, value.into()));
            }
        }
        let config = read(&figment, overrides.file.as_deref())?;
        config.check(&figment)?;
        Ok(config)
    }

    fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| Err(refuse(figment, key, problem));
        for (key, kind) in KEYS {
            let Allowed::Number(low, high) = kind else {
                continue;
            };
            let value = figment.find_value(key).ok().and_then(|value| {
                let unsigned = value.to_u128().and_then(|n| i128::try_from(n).ok());
                unsigned.or_else(|| value.to_i128())
            });
            if !value.is_some_and(|n| (i128::from(*low)..=i128::from(*high)).contains(&n)) {
                let value = value.map_or_else(|| "the number".into(), |n| n.to_string());
                return refuse(key, &format!("{value} is out of range"));
            }
        }
        let whole = self.limits.request_timeout;
        for (key, timeout) in [
            ("fetch.timeout", self.fetch.timeout),
            (
                "metadata_documents.timeout",
                self.metadata_documents.timeout,
            ),
        ] {
            if timeout >= whole {
                // Otherwise the request that waits for the fetch is given up before it.
                return Err(ConfigError {
                    allowed: format!(
                        "less than limits.request_timeout, which is {whole} in {}",
                        origin(figment.find_metadata("limits.request_timeout"))
                    ),
                    ..self::refuse(figment, key, &format!("{timeout} seconds are too long"))
                });
            }
        }
        self.metadata_documents
            .check()
            .or_else(|(key, problem)| refuse(key, &problem))?;
        for (id, upstream) in &self.upstream {
            let http = upstream.private_addresses || self.fetch.allow_private_addresses_for_tests;
            upstream.check(id, http).or_else(|(key, problem)| {
                let key = format!("upstream.{id}.{key}");
                refuse(key.trim_end_matches('.'), &problem)
            })?;
        }
        let node = &self.storage.node;
        if node.is_empty() || node.len() > 64 || !node.bytes().all(|b| b.is_ascii_graphic()) {
            return refuse("storage.node", &format!("'{node}' cannot name a node"));
        }
        let url = &self.storage.url;
        if !url.is_empty() && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            // It may hold a password: nothing of it is shown.
            return refuse("storage.url", "what is set is not a PostgreSQL URL");
        }
        check_issuer(&self.server.issuer).or_else(|problem| refuse("server.issuer", &problem))?;
        if self.tls.is_on() && self.server.issuer.starts_with("http:") {
            let issuer = &self.server.issuer;
            let problem = format!("'{issuer}' does not use https, and [tls] is set");
            return refuse("server.issuer", &problem);
        }
        match (
            self.tls.is_on(),
            self.tls.private_key.as_os_str().is_empty(),
        ) {
            (true, true) => return refuse("tls.private_key", "is not set"),
            (false, false) => return refuse("tls.certificate", "is not set"),
            _ => {}
        }
        if self.server.issuer.is_empty() && !self.server.listen.ip().is_loopback() {
            let listen = self.server.listen;
            return Err(ConfigError {
                // What asks for an issuer, as nobody has set one.
                origin: origin(figment.find_metadata("server.listen")),
                ..self::refuse(
                    figment,
                    "server.issuer",
                    &format!("must be set to listen on {listen}"),
                )
            });
        }
        let webhook = &self.audit.export_webhook;
        let private =
            self.audit.export_webhook_private || self.fetch.allow_private_addresses_for_tests;
        let usable = uri::parse(webhook)
            .is_some_and(|url| url.scheme() == "https" || (private && url.scheme() == "http"));
        if !webhook.is_empty() && !usable {
            return refuse(
                "audit.export_webhook",
                &format!("'{webhook}' cannot be posted to"),
            );
        }
        let syslog = &self.audit.export_syslog;
        if !syslog.is_empty() && SyslogTarget::parse(syslog).is_none() {
            return refuse(
                "audit.export_syslog",
                &format!("'{syslog}' names no receiver"),
            );
        }
        if let Err(why) = telemetry::filter(&self.telemetry) {
            let filter = &self.telemetry.filter;
            return refuse("telemetry.filter", &format!("'{filter}': {why}"));
        }
        telemetry::traces::check(&self.telemetry.otlp_endpoint)
            .or_else(|problem| refuse("telemetry.otlp_endpoint", problem))?;
        Ok(())
    }

    /// The file with the key that seals private keys.
    #[must_use]
    pub fn sealing_key(&self) -> PathBuf {
        if self.keys.sealing_key.as_os_str().is_empty() {
            self.storage.data_dir.join("sealing.key")
        } else {
            self.keys.sealing_key.clone()
        }
    }

    /// The issuer for the address actually bound, without a slash at the end.
    #[must_use]
    pub fn issuer(&self, bound: SocketAddr) -> String {
        match &self.server.issuer {
            set if !set.is_empty() => set.clone(),
            _ if self.tls.is_on() => format!("https://{bound}"),
            _ => format!("http://{bound}"),
        }
    }
}

impl MetadataDocuments {
    /// The key that is wrong, and how.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let lists = [
            ("metadata_documents.allow", &self.allow),
            ("metadata_documents.deny", &self.deny),
        ];
        for (key, hosts) in lists {
            if let Some(bad) = hosts.iter().find(|host| !is_host(host)) {
                return Err((key, format!("'{bad}' is no host")));
            }
        }
        let ages = [self.min_age, self.default_age, self.max_age];
        if !ages.is_sorted() {
            let problem = format!("{} is not between min_age and max_age", self.default_age);
            return Err(("metadata_documents.default_age", problem));
        }
        Ok(())
    }
}

/// Whether this can be the host of a URL in plain form, or `*.` and such a host.
fn is_host(pattern: &str) -> bool {
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    let url = uri::parse(&format!("https://{host}/"));
    url.is_some_and(|url| url.host_str() == Some(host) && !host.ends_with('.'))
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

/// RFC 8414 §2: https, no query, no fragment. No slash at the end, because clients compare the
/// text byte for byte and URL types add or drop it.
fn check_issuer(issuer: &str) -> Result<(), String> {
    if issuer.is_empty() {
        return Ok(());
    }
    let url = uri::parse(issuer).ok_or_else(|| format!("'{issuer}' is not a URL"))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(format!("'{issuer}' does not use https"));
    }
    let same = url.as_str() == issuer || url.as_str().strip_suffix('/') == Some(issuer);
    if issuer.ends_with('/')
        || url.path().contains("//")
        || url.path().contains('%')
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || !same
    {
        return Err(format!(
            "'{issuer}' is not in the plain form that clients compare"
        ));
    }
    Ok(())
}

fn refuse(figment: &Figment, key: &str, problem: &str) -> ConfigError {
    ConfigError {
        key: key.into(),
        problem: problem.into(),
        origin: origin(figment.find_metadata(key)),
        allowed: allowed(key),
    }
}

/// Where a value came from. What we have written into the program has a source too, its line of
/// code, which is of no use to who runs it.
fn origin(metadata: Option<&Metadata>) -> String {
    match metadata {
        Some(Metadata {
            source: Some(Source::File(path)),
            ..
        }) => path.display().to_string(),
        Some(Metadata {
            source: None, name, ..
        }) => name.to_string(),
        _ => "the defaults".into(),
    }
}

fn read(figment: &Figment, file: Option<&Path>) -> Result<Config, ConfigError> {
    figment
        .extract()
        .map_err(|error| explain(figment, file, &error))
}

fn explain(figment: &Figment, file: Option<&Path>, error: &figment::Error) -> ConfigError {
    use figment::error::{Actual, Kind};
    let key = error.path.join(".");
    let problem = match &error.kind {
        Kind::UnknownField(..) => "there is no such key".to_owned(),
        Kind::InvalidType(found, _) | Kind::InvalidValue(found, _) => match found {
            Actual::Str(text) => format!("found '{text}'"),
            Actual::Signed(number) => format!("found {number}"),
            Actual::Unsigned(number) => format!("found {number}"),
            other => format!("found {other}"),
        },
        Kind::UnknownVariant(found, _) => format!("'{found}' is not known"),
        other => other.to_string(),
    };
    let allowed = match &error.kind {
        Kind::UnknownField(_, known) => format!("one of {}", known.join(", ")),
        _ => allowed(&key),
    };
    let metadata = figment.find_metadata(&key).or(error.metadata.as_ref());
    ConfigError {
        origin: match (metadata, file) {
            // Text that is not TOML has no values, but it can only be the file's.
            (None, Some(file)) => file.display().to_string(),
            _ => origin(metadata),
        },
        key: if key.is_empty() {
            "configuration".into()
        } else {
            key
        },
        problem,
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = include_str!("../config/default.toml");

    #[test]
    fn the_documented_defaults_are_the_built_in_ones() {
        let documented: toml::Value = toml::from_str(DOCUMENTED).unwrap();
        let built_in = toml::Value::try_from(Config::default()).unwrap();
        assert_eq!(documented, built_in);
    }

    #[test]
    fn every_key_says_what_it_may_hold() {
        let provider = Upstream {
            sign_up: Some(SignUp::Off),
            ..Upstream::default()
        };
        let config = Config {
            upstream: BTreeMap::from([("*".into(), provider)]),
            ..Config::default()
        };
        let built_in = toml::Value::try_from(config).unwrap();
        let mut known: Vec<_> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
        known.sort();
        assert_eq!(keys_below("", &built_in), known);
    }

    /// The keys of a table and of all tables in it.
    fn keys_below(prefix: &str, value: &toml::Value) -> Vec<String> {
        let Some(table) = value.as_table() else {
            return vec![prefix.to_owned()];
        };
        let keys = table.iter().flat_map(|(key, value)| {
            let dot = if prefix.is_empty() { "" } else { "." };
            keys_below(&format!("{prefix}{dot}{key}"), value)
        });
        keys.collect()
    }

    fn with(variables: &[(&str, &str)], overrides: &Overrides) -> Result<Config, String> {
        let variables = variables.iter().map(|(k, v)| (k.into(), v.into()));
        Config::from_all(overrides, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_from_anywhere_says_from_where_in_words() {
        let flags = Overrides {
            issuer: Some("http://auth.example".into()),
            ..Overrides::default()
        };
        let open = Overrides {
            listen: Some(([0, 0, 0, 0], 0).into()),
            ..Overrides::default()
        };
        let none = Overrides::default();
        for (variables, overrides, wanted) in [
            (&[][..], &flags, "the command line (--issuer)\n"),
            (&[], &open, "the command line (--listen)\n"),
            (
                &[("WRIT_LIMITS__BODY", "5")],
                &none,
                "the environment (WRIT_LIMITS__BODY)\n  allowed: a whole number, 1024..=16777216",
            ),
            (
                &[("WRIT_LIMITS__BODY", "big")],
                &none,
                "the environment (WRIT_LIMITS__BODY)\n  allowed: a whole number, 1024..=16777216",
            ),
            (
                &[("WRIT_LIMITS__REQUEST_TIMEOUT", "5")],
                &none,
                "the defaults\n  allowed: less than limits.request_timeout, which is 5 in the env",
            ),
            (
                &[("WRIT_TELEMETRY__FILTER", "writ=loud,,[")],
                &none,
                "the environment (WRIT_TELEMETRY__FILTER)\n  allowed: directives",
            ),
            (
                &[("WRIT_TELEMETRY__METRICS_LISTEN", "9464")],
                &none,
                "the environment (WRIT_TELEMETRY__METRICS_LISTEN)\n  allowed: an address and a",
            ),
            (
                &[("WRIT_TELEMETRY__OTLP_ENDPOINT", "collector:4318")],
                &none,
                "the environment (WRIT_TELEMETRY__OTLP_ENDPOINT)\n  allowed: the http or https",
            ),
            (
                &[("WRIT_REGISTRATION__MODE", "maybe")],
                &none,
                "the environment (WRIT_REGISTRATION__MODE)\n  allowed: open, token or off",
            ),
            (
                &[("WRIT_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\",\"ten\"]")],
                &none,
                "the environment (WRIT_SERVER__TRUSTED_PROXIES)\n  allowed: networks",
            ),
            (
                &[("WRIT_SERVER__TRUSTED_PROXIES", "10.0.0.0/8")],
                &none,
                "the environment (WRIT_SERVER__TRUSTED_PROXIES)\n  allowed: networks",
            ),
            (
                &[("WRIT_SERVER__LISTEN", "here")],
                &none,
                "the environment (WRIT_SERVER__LISTEN)\n  allowed: an address and a port",
            ),
        ] {
            let error = with(variables, overrides).unwrap_err();
            assert!(error.contains(wanted), "{variables:?}: {error}");
            assert!(!error.contains(".rs"), "{error}");
        }
    }

    #[test]
    fn a_variable_nobody_reads_is_refused_with_the_one_that_was_meant() {
        for (variable, meant) in [
            ("WRIT_SERVER_ISSUER", "WRIT_SERVER__ISSUER"),
            ("WRIT_LISTEN", "WRIT_SERVER__LISTEN"),
            ("WRIT_SERVER__issuer", "WRIT_SERVER__ISSUER"),
            ("WRIT_LIMITS__BODIES", "WRIT_SECTION__KEY"),
            ("WRIT_SERVER", "WRIT_SECTION__KEY"),
        ] {
            let error = with(&[(variable, "5")], &Overrides::default()).unwrap_err();
            assert!(error.contains(variable), "{error}");
            assert!(error.contains(&format!("allowed: {meant}")), "{error}");
        }
        let others = [
            ("WRIT_CONFIG", "x"),
            ("WRIT_CREDENTIALS", "x"),
            ("WRIT_SERVICE_HOST", "10.0.0.1"),
            ("WRIT_PORT", "tcp://10.0.0.1:443"),
            ("WRIT_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("PATH", "/bin"),
        ];
        assert_eq!(with(&others, &Overrides::default()), Ok(Config::default()));
    }

    #[test]
    fn tls_needs_both_files_and_an_https_issuer() {
        let (chain, key) = (
            ("WRIT_TLS__CERTIFICATE", "c"),
            ("WRIT_TLS__PRIVATE_KEY", "k"),
        );
        let issuer = ("WRIT_SERVER__ISSUER", "http://127.0.0.1:1");
        let none = Overrides::default();
        for (variables, wanted) in [
            (&[chain][..], "tls.private_key: is not set"),
            (&[key], "tls.certificate: is not set"),
            (
                &[chain, key, issuer],
                "does not use https, and [tls] is set",
            ),
        ] {
            let error = with(variables, &none).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        let config = with(&[chain, key], &none).unwrap();
        let bound = ([127, 0, 0, 1], 443).into();
        assert_eq!(config.issuer(bound), "https://127.0.0.1:443");
        assert_eq!(Config::default().issuer(bound), "http://127.0.0.1:443");
    }

    #[test]
    fn hosts_of_documents_are_written_as_urls_write_them() {
        let allow = |hosts: &str| {
            let list = format!("[\"{hosts}\"]");
            let variables = [("WRIT_METADATA_DOCUMENTS__ALLOW", &*list)];
            with(&variables, &Overrides::default())
        };
        for good in [
            "app.example",
            "*.example.com",
            "[2001:db8::1]",
            "xn--bcher-kva.example",
        ] {
            assert!(allow(good).is_ok(), "{good}");
        }
        for bad in [
            "App.example",
            "https://app.example",
            "app.example/",
            "app.example:443",
            "app.example.",
            "*",
            "*.",
            "a.*.example",
            "*.0.0.1",
            "bücher.example",
            "",
        ] {
            let error = allow(bad).unwrap_err();
            assert!(error.contains("metadata_documents.allow"), "{bad}: {error}");
            assert!(
                error.contains("allowed: hosts in lower case"),
                "{bad}: {error}"
            );
        }
        let ages = [("WRIT_METADATA_DOCUMENTS__MIN_AGE", "4000")];
        let error = with(&ages, &Overrides::default()).unwrap_err();
        assert!(
            error.contains("metadata_documents.default_age: 3600 is not between"),
            "{error}"
        );
    }

    #[test]
    fn a_provider_is_named_with_what_is_wrong_with_it() {
        const ISSUER: (&str, &str) = ("WRIT_UPSTREAM__CORP__ISSUER", "https://id.example/a/");
        const CLIENT: (&str, &str) = ("WRIT_UPSTREAM__CORP__CLIENT_ID", "writ");
        let config = with(&[ISSUER, CLIENT], &Overrides::default()).unwrap();
        let provider = &config.upstream["corp"];
        assert_eq!(provider.issuer, ISSUER.1);
        assert_eq!(provider.scopes, "openid profile email");
        assert_eq!(provider.sign_up, None);
        for (variables, wanted) in [
            (&[ISSUER][..], "upstream.corp.client_id: is not set"),
            (&[CLIENT], "upstream.corp.issuer: is not set\n  set in: the"),
            (
                &[("WRIT_UPSTREAM__CORP__ISSUER", "http://id.example"), CLIENT],
                "upstream.corp.issuer: 'http://id.example' cannot be an issuer\n  set in: the \
                 environment (WRIT_UPSTREAM__CORP__ISSUER)\n  allowed: the https URL",
            ),
            (
                &[
                    ("WRIT_UPSTREAM__CORP__ISSUER", "https://id.example/?a"),
                    CLIENT,
                ],
                "upstream.corp.issuer:",
            ),
            (
                &[ISSUER, CLIENT, ("WRIT_UPSTREAM__CORP__SCOPES", "email")],
                "upstream.corp.scopes: 'email' lacks openid",
            ),
            (
                &[ISSUER, CLIENT, ("WRIT_UPSTREAM__CORP__SIGN_UP", "maybe")],
                "upstream.corp.sign_up: 'maybe' is not known\n  set in: the environment \
                 (WRIT_UPSTREAM__CORP__SIGN_UP)\n  allowed: open or off",
            ),
            (
                &[
                    ISSUER,
                    CLIENT,
                    ("WRIT_UPSTREAM__CORP__ALLOWED_DOMAINS", "[\"@a.example\"]"),
                ],
                "upstream.corp.allowed_domains: '@a.example' is no domain",
            ),
            (
                &[
                    ISSUER,
                    CLIENT,
                    ("WRIT_UPSTREAM__CORP__CLIENT_SECRET_FILE", "a"),
                    ("WRIT_UPSTREAM__CORP__PRIVATE_KEY_FILE", "b"),
                ],
                "upstream.corp.private_key_file: is set, and client_secret_file too",
            ),
            (
                &[("WRIT_UPSTREAM__A_B__ISSUER", "https://id.example")],
                "upstream.a_b: 'a_b' cannot name a provider",
            ),
            (
                &[("WRIT_UPSTREAM__CORP__SECRET", "a")],
                "WRIT_UPSTREAM__CORP__SECRET: there is no such variable",
            ),
        ] {
            let error = with(variables, &Overrides::default()).unwrap_err();
            assert!(error.contains(wanted), "{variables:?}: {error}");
        }
    }

    #[test]
    fn text_in_the_environment_stays_text() {
        let variables = [
            ("WRIT_STORAGE__NODE", "7"),
            ("WRIT_LIMITS__BODY", "2048"),
            ("WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS", "true"),
            ("WRIT_TELEMETRY__METRICS_LISTEN", "127.0.0.1:9464"),
        ];
        let config = with(&variables, &Overrides::default()).unwrap();
        assert_eq!(
            (config.storage.node.as_str(), config.limits.body),
            ("7", 2048)
        );
        assert!(config.fetch.allow_private_addresses_for_tests);
        let listen = config.telemetry.metrics_listen;
        assert_eq!(listen, Some(([127, 0, 0, 1], 9464).into()));
    }

    #[test]
    fn issuers_in_plain_form_only() {
        for good in [
            "https://a.example",
            "https://a.example/t/x",
            "http://127.0.0.1:1",
        ] {
            assert_eq!(check_issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "https://a.example/",
            "http://a.example",
            "https://A.example",
            "https://a.example:443",
            "https://a.example/?x",
            "https://a.example#x",
            "https://a.example//x",
            "https://a.example/%zz",
            "a.example",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
