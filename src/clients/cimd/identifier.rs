//! Client identifier URLs (OAuth Client ID Metadata Document §3), and whose are let in.

use percent_encoding::percent_decode_str;
use url::Url;

use super::rule::{Rule, all};
use crate::{
    config::MetadataDocuments,
    oauth::{resource::is_loopback, uri},
};

/// Longest one, bytes: it is in every token of the client, and in indexes.
const LONGEST: usize = 1000;

/// What may be a client identifier URL.
pub(super) struct Candidate {
    text: String,
    url: Option<Url>,
    /// Whether http will do on loopback.
    for_tests: bool,
}

impl Candidate {
    pub(super) fn new(text: &str, for_tests: bool) -> Self {
        Self {
            url: uri::parse(text).filter(|_| text.len() <= LONGEST),
            text: text.to_owned(),
            for_tests,
        }
    }

    /// Authority and path as they are written: a URL library has cleaned them up already.
    fn written(&self) -> (&str, &str) {
        let rest = self.text.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        (authority, path)
    }
}

/// Whether a `client_id` is meant to be the URL of a metadata document. No other one of ours looks
/// like that.
#[must_use]
pub fn is_meant(client_id: &str) -> bool {
    client_id.contains("://")
}

/// What a client identifier URL has to be like. It is compared as text: with the default port it is
/// another one than without, and a document names one of them.
pub(super) const RULES: [Rule<Candidate>; 7] = [
    Rule {
        name: "client_id is an absolute URL of at most 1000 characters",
        check: |candidate| match candidate.url {
            Some(_) => Ok(()),
            None => Err("it is not an absolute URL as RFC 3986 writes it, or too long".to_owned()),
        },
    },
    Rule {
        name: "it uses https",
        check: |candidate| match &candidate.url {
            Some(url) if url.scheme() == "https" => Ok(()),
            Some(url) if candidate.for_tests && url.scheme() == "http" && is_loopback(url) => {
                Ok(())
            }
            _ => Err("it must use https".to_owned()),
        },
    },
    Rule {
        name: "it holds no user information",
        check: |candidate| match candidate.written().0.contains('@') {
            false => Ok(()),
            true => Err("it must not hold user information".to_owned()),
        },
    },
    Rule {
        name: "it has a path",
        check: |candidate| match candidate.written().1 {
            "" => Err("it must have a path, for example /client.json".to_owned()),
            _ => Ok(()),
        },
    },
    Rule {
        name: "its path has no dot segments",
        check: |candidate| {
            let dots = |segment: &str| {
                let plain: Vec<u8> = percent_decode_str(segment).collect();
                plain == b"." || plain == b".."
            };
            if candidate.written().1.split('/').any(dots) {
                return Err("its path must not have '.' or '..' segments".to_owned());
            }
            Ok(())
        },
    },
    Rule {
        name: "it has no fragment",
        check: |candidate| match candidate.text.contains('#') {
            false => Ok(()),
            true => Err("it must not have a fragment".to_owned()),
        },
    },
    Rule {
        name: "its host and port are written plainly",
        check: |candidate| {
            let host = candidate.url.as_ref().and_then(Url::host_str);
            if host.is_some_and(|host| host.ends_with('.')) {
                return Err("its host must not end in a dot".to_owned());
            }
            let authority = candidate.written().0.to_ascii_lowercase();
            let port = host.and_then(|host| authority.strip_prefix(host));
            let digits = port.and_then(|port| port.strip_prefix(':'));
            let plain = digits.is_some_and(|digits| digits.starts_with(|c| matches!(c, '1'..='9')));
            if port == Some("") || plain {
                return Ok(());
            }
            Err("its port, if there is one, must be a number without zeros in front".to_owned())
        },
    },
];

/// Whether documents of this URL's host are read here.
///
/// # Errors
/// Which setting says no.
pub(super) fn admit(settings: &MetadataDocuments, url: &str) -> Result<(), String> {
    if !settings.enabled {
        return Err("this server does not take URLs as client_id".to_owned());
    }
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let among = |hosts: &[String]| hosts.iter().any(|pattern| fits(pattern, host));
    if among(&settings.deny) {
        return Err(format!("this server does not take clients of {host}"));
    }
    if !settings.allow.is_empty() && !among(&settings.allow) {
        return Err(format!(
            "this server takes only clients of certain hosts, and {host} is not one of them"
        ));
    }
    Ok(())
}

/// `*.` stands for any name below: the domain itself has to be named.
fn fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host
            .strip_suffix(domain)
            .is_some_and(|name| name.len() > 1 && name.ends_with('.')),
        None => pattern == host,
    }
}

/// Whether this is a client identifier URL.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(text: &str, for_tests: bool) -> Result<(), String> {
    all(&RULES, &Candidate::new(text, for_tests))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_identifier_is_a_plain_url() {
        for good in [
            "https://app.example/client.json",
            "https://app.example:8443/c",
            "https://app.example/a/b/",
            "https://app.example/client?version=2",
            "https://app.example/.well-known/client",
            "https://app.example/a..b",
            "https://xn--bcher-kva.example/c",
            "https://app.example:443/c",
            "https://App.example/c",
            "https://app.example/",
            "https://[2606:4700::1]:8443/c",
        ] {
            assert_eq!(check(good, false), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("http://app.example/c", "https"),
            ("http://127.0.0.1:1/c", "https"),
            ("ftp://app.example/c", "https"),
            ("https://", "absolute URL"),
            ("https://app.example", "path"),
            ("https://app.example?c", "path"),
            ("https://app.example/c#x", "fragment"),
            ("https://app.example/c#", "fragment"),
            ("https://user@app.example/c", "user information"),
            ("https://user:secret@app.example/c", "user information"),
            ("https://@app.example/c", "user information"),
            ("https://app.example@evil.example/c", "user information"),
            ("https://app.example/a/../c", "segments"),
            ("https://app.example/./c", "segments"),
            ("https://app.example/a/..", "segments"),
            ("https://app.example/a/%2e%2E/c", "segments"),
            ("https://app.example/.%2e/c", "segments"),
            ("https://app.example:08443/c", "port"),
            ("https://app.example:0/c", "port"),
            ("https://app.example:/c", "port"),
            ("https://app.example:99999/c", "absolute URL"),
            ("https://app.example:8443:1/c", "absolute URL"),
            ("https://app.example./c", "dot"),
            ("https:///app.example/c", "port"),
            ("https://app.example\\c", "absolute URL"),
            ("https://app.exa mple/c", "absolute URL"),
            ("https://bücher.example/c", "absolute URL"),
            ("https://127.1/c", "absolute URL"),
            (" https://app.example/c", "absolute URL"),
        ] {
            let error = check(bad, false).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let long = format!("https://app.example/{}", "x".repeat(LONGEST));
        assert!(check(&long, false).is_err());
    }

    #[test]
    fn http_is_for_tests_and_loopback_only() {
        assert!(check("http://127.0.0.1:8080/c", true).is_ok());
        assert!(check("http://localhost:8080/c", true).is_ok());
        assert!(check("http://app.example/c", true).is_err());
    }

    #[test]
    fn hosts_are_let_in_by_name() {
        let lists = |allow: &[&str], deny: &[&str]| MetadataDocuments {
            allow: allow.iter().map(|&host| host.to_owned()).collect(),
            deny: deny.iter().map(|&host| host.to_owned()).collect(),
            ..MetadataDocuments::default()
        };
        let admits = |settings: &MetadataDocuments, host: &str| {
            admit(settings, &format!("https://{host}/c")).is_ok()
        };
        assert!(admits(&lists(&[], &[]), "anybody.example"));
        let some = lists(&["app.example", "*.corp.example"], &["old.corp.example"]);
        for (host, admitted) in [
            ("app.example", true),
            ("app.example:8443", true),
            ("www.app.example", false),
            ("a.corp.example", true),
            ("a.b.corp.example", true),
            ("corp.example", false),
            ("evilcorp.example", false),
            ("old.corp.example", false),
            ("app.example.evil.example", false),
        ] {
            assert_eq!(admits(&some, host), admitted, "{host}");
        }
        let off = MetadataDocuments {
            enabled: false,
            ..lists(&["app.example"], &[])
        };
        assert!(!admits(&off, "app.example"));
    }
}
