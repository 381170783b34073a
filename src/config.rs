//! Configuration: built-in defaults, then a file, then `WRIT_*` in the environment, then flags.
//!
//! `config/default.toml` documents every key; a test keeps it equal to the defaults here.

use std::{net::SocketAddr, path::PathBuf};

use figment::{
    Figment,
    providers::{Env, Format as _, Serialized, Toml},
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::oauth::resource::is_loopback;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen and who we are.
    pub server: Server,
    /// Where state is kept.
    pub storage: Storage,
    /// Signing keys.
    pub keys: Keys,
    /// Rules of delegation.
    pub policy: Policy,
    /// Dynamic client registration.
    pub registration: Registration,
    /// Client authentication.
    pub clients: Clients,
    /// What one request or connection may use.
    pub limits: Limits,
    /// Outbound requests.
    pub fetch: Fetch,
    /// Logs.
    pub telemetry: Telemetry,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The issuer; empty means `http://` and the address in use.
    pub issuer: String,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Directory of database, sealing key and administrator's credentials.
    pub data_dir: PathBuf,
    /// This node's name in the audit chain.
    pub node: String,
    /// Commands that may wait for the writer.
    pub queue: usize,
}

/// `[keys]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
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

/// `[registration]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// For the default tenant; others say it in their declaration.
    pub mode: RegistrationMode,
    /// Registered clients a tenant may hold.
    pub max_clients: usize,
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
}

/// `[fetch]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// Seconds an outbound request may take.
    pub timeout: u64,
    /// Largest answer that is read, bytes.
    pub max_body: usize,
    /// For tests: loopback and private addresses are reachable.
    pub allow_private_addresses_for_tests: bool,
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

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Which records are written, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4455)),
            issuer: String::new(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data_dir: "writ-data".into(),
            node: "1".into(),
            queue: 8192,
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024,
            admin_body: 4 * 1024 * 1024,
            headers: 32 * 1024,
            connections: 4096,
            request_timeout: 10,
            header_timeout: 15,
        }
    }
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            timeout: 5,
            max_body: 64 * 1024,
            allow_private_addresses_for_tests: false,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            filter: "info,sea_orm_migration=warn".into(),
            format: LogFormat::Text,
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

impl Config {
    /// Reads file and environment and applies the flags.
    ///
    /// # Errors
    /// Names the key, where its value came from and what is allowed.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &overrides.file {
            if !file.is_file() {
                return Err(ConfigError {
                    key: "--config".into(),
                    problem: format!("no file at {}", file.display()),
                    origin: "the command line".into(),
                    allowed: "a TOML file; config/default.toml lists every key".into(),
                });
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        // WRIT_LOG and friends of the command line have no section and are not keys.
        figment = figment.merge(
            Env::prefixed("WRIT_")
                .filter(|key| key.as_str().contains("__"))
                .split("__"),
        );
        figment = flag(figment, "server.listen", overrides.listen);
        figment = flag(figment, "server.issuer", overrides.issuer.as_ref());
        figment = flag(figment, "storage.data_dir", overrides.data_dir.as_ref());
        let config: Self = figment
            .extract()
            .map_err(|error| explain(&figment, &error))?;
        config.check(&figment)?;
        Ok(config)
    }

    fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
        let range = |key: &str, value: i64, low: i64, high: i64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(refuse(
                figment,
                key,
                &format!("{value} is out of range"),
                &format!("{low}..={high}"),
            ))
        };
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let span = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        range("storage.queue", size(self.storage.queue), 1, 1 << 20)?;
        range(
            "keys.rotate_after",
            self.keys.rotate_after,
            0,
            10 * 365 * 86_400,
        )?;
        range(
            "keys.publish_before_use",
            self.keys.publish_before_use,
            0,
            30 * 86_400,
        )?;
        range("keys.cache", self.keys.cache, 0, 86_400)?;
        range(
            "policy.max_delegation_depth",
            size(self.policy.max_delegation_depth),
            0,
            32,
        )?;
        range(
            "registration.max_clients",
            size(self.registration.max_clients),
            0,
            10_000_000,
        )?;
        range(
            "clients.assertion_leeway",
            self.clients.assertion_leeway,
            0,
            300,
        )?;
        range(
            "clients.assertion_lifetime",
            self.clients.assertion_lifetime,
            10,
            86_400,
        )?;
        range("limits.body", size(self.limits.body), 1024, 1 << 24)?;
        range(
            "limits.admin_body",
            size(self.limits.admin_body),
            1024,
            1 << 28,
        )?;
        range("limits.headers", size(self.limits.headers), 8192, 1 << 20)?;
        range(
            "limits.connections",
            size(self.limits.connections),
            1,
            1 << 20,
        )?;
        range(
            "limits.request_timeout",
            span(self.limits.request_timeout),
            1,
            600,
        )?;
        range(
            "limits.header_timeout",
            span(self.limits.header_timeout),
            1,
            600,
        )?;
        range("fetch.timeout", span(self.fetch.timeout), 1, 60)?;
        range("fetch.max_body", size(self.fetch.max_body), 1024, 1 << 24)?;
        let node = &self.storage.node;
        if node.is_empty() || node.len() > 64 || !node.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse(
                figment,
                "storage.node",
                &format!("'{node}' cannot name a node"),
                "1 to 64 printable ASCII characters",
            ));
        }
        check_issuer(&self.server.issuer)
            .map_err(|problem| refuse(figment, "server.issuer", &problem, ISSUER_ALLOWED))?;
        if self.server.issuer.is_empty() && !self.server.listen.ip().is_loopback() {
            return Err(refuse(
                figment,
                "server.issuer",
                &format!("must be set to listen on {}", self.server.listen),
                ISSUER_ALLOWED,
            ));
        }
        Ok(())
    }

    /// The issuer for the address actually bound, without a slash at the end.
    #[must_use]
    pub fn issuer(&self, bound: SocketAddr) -> String {
        if self.server.issuer.is_empty() {
            format!("http://{bound}")
        } else {
            self.server.issuer.clone()
        }
    }
}

const ISSUER_ALLOWED: &str = "an https URL (http on loopback only) without query, fragment or a \
                              slash at the end, for example https://auth.example/main";

/// RFC 8414 §2: https, no query, no fragment. No slash at the end, because clients compare the
/// text byte for byte and URL types add or drop it.
fn check_issuer(issuer: &str) -> Result<(), String> {
    if issuer.is_empty() {
        return Ok(());
    }
    let url = Url::parse(issuer).map_err(|e| format!("'{issuer}' is not a URL: {e}"))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(format!("'{issuer}' does not use https"));
    }
    let same = url.as_str() == issuer || url.as_str().strip_suffix('/') == Some(issuer);
    if issuer.ends_with('/')
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

fn flag<T: Serialize>(figment: Figment, key: &str, value: Option<T>) -> Figment {
    match value {
        Some(value) => figment.merge(Serialized::default(key, value)),
        None => figment,
    }
}

fn refuse(figment: &Figment, key: &str, problem: &str, allowed: &str) -> ConfigError {
    ConfigError {
        key: key.into(),
        problem: problem.into(),
        origin: figment
            .find_metadata(key)
            .map_or_else(|| "the defaults".into(), origin),
        allowed: allowed.into(),
    }
}

fn origin(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(source) => source.to_string(),
        None if metadata.name.contains("environment") => "the environment (WRIT_*)".into(),
        None => "the command line or the defaults".into(),
    }
}

fn explain(figment: &Figment, error: &figment::Error) -> ConfigError {
    use figment::error::Kind;
    let key = error.path.join(".");
    let (problem, allowed) = match &error.kind {
        Kind::UnknownField(field, known) => (
            format!("unknown key '{field}'"),
            format!("one of {}", known.join(", ")),
        ),
        Kind::InvalidType(found, wanted) => (format!("found {found}"), wanted.clone()),
        Kind::UnknownVariant(found, known) => (
            format!("'{found}' is not known"),
            format!("one of {}", known.join(", ")),
        ),
        other => (other.to_string(), "see config/default.toml".into()),
    };
    let metadata = error
        .metadata
        .as_ref()
        .or_else(|| figment.find_metadata(&key));
    ConfigError {
        key: if key.is_empty() {
            "configuration".into()
        } else {
            key
        },
        problem,
        origin: metadata.map_or_else(|| "the defaults".into(), origin),
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
            "a.example",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
