//! Configuration: built-in defaults, then a file, then `WRIT_*` in the environment, then flags.
//!
//! `config/default.toml` documents every key; a test keeps it equal to the defaults here.

mod check;
mod keys;
mod layers;
mod sections;
mod upstream;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Source,
    providers::{Format as _, Serialized, Toml},
};
use serde::{Deserialize, Serialize};

use self::{
    keys::allowed,
    layers::{Layer, environment},
};
pub use self::{sections::*, upstream::Upstream};

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
    use super::{check::check_issuer, keys::KEYS, *};

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
