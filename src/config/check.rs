//! What has to hold of values beyond their types.

use figment::Figment;

use super::{
    Config, ConfigError, MetadataDocuments, SyslogTarget,
    keys::{Allowed, KEYS},
    origin, refuse,
};
use crate::{
    oauth::{resource::is_loopback, uri},
    telemetry,
};

impl Config {
    pub(super) fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
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
                    ..super::refuse(figment, key, &format!("{timeout} seconds are too long"))
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
                ..super::refuse(
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
pub(super) fn is_host(pattern: &str) -> bool {
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    let url = uri::parse(&format!("https://{host}/"));
    url.is_some_and(|url| url.host_str() == Some(host) && !host.ends_with('.'))
}

/// RFC 8414 §2: https, no query, no fragment. No slash at the end, because clients compare the
/// text byte for byte and URL types add or drop it.
pub(super) fn check_issuer(issuer: &str) -> Result<(), String> {
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
