//! How two names of the same thing differ, for people who see no difference.

use url::Url;

use crate::oauth::resource::normalise;

/// What differs between two URLs that clients compare octet by octet.
pub(super) fn difference(wanted: &str, found: &str) -> String {
    if found.strip_suffix('/') == Some(wanted) {
        return "there is a slash too many at the end".to_owned();
    }
    if wanted.strip_suffix('/') == Some(found) {
        return "a slash at the end is missing".to_owned();
    }
    if normalise(wanted).is_some() && normalise(wanted) == normalise(found) {
        return "only letter case, a default port or a slash differs, but clients compare octets"
            .to_owned();
    }
    let (Ok(wanted), Ok(found)) = (Url::parse(wanted), Url::parse(found)) else {
        return "it is not a URL".to_owned();
    };
    let parts = [
        ("scheme", wanted.scheme() == found.scheme()),
        ("host", wanted.host_str() == found.host_str()),
        (
            "port",
            wanted.port_or_known_default() == found.port_or_known_default(),
        ),
        ("path", wanted.path() == found.path()),
        ("query", wanted.query() == found.query()),
    ];
    let different: Vec<_> = parts
        .into_iter()
        .filter_map(|(name, same)| (!same).then_some(name))
        .collect();
    format!("{} differs", different.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let at = "https://a.example";
        for (found, said) in [
            ("https://a.example/", "slash too many"),
            ("https://A.example", "letter case"),
            ("https://a.example:443", "default port"),
            ("http://a.example", "scheme and port"),
            ("https://b.example/x", "host and path"),
            ("a.example", "not a URL"),
        ] {
            let difference = difference(at, found);
            assert!(difference.contains(said), "{found}: {difference}");
        }
        assert!(difference("https://a.example/", at).contains("missing"));
    }
}
