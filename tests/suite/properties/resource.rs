//! Resource indicators (RFC 8707).

use proptest::prelude::*;
use writ::oauth::resource::{check, normalise};

/// Something like a URI, right or wrong.
fn near_uri() -> impl Strategy<Value = String> {
    let scheme =
        proptest::sample::select(vec!["https", "HTTPS", "http", "hTtPs", "ftp", "urn", ""]);
    let host = proptest::sample::select(vec![
        "a.example",
        "A.Example",
        "127.0.0.1",
        "[::1]",
        "localhost",
        "b\u{fc}cher.example",
        "u@a.example",
        "a.example:443",
        "a.example:8443",
        "",
    ]);
    let path = "(/[a-zA-Z0-9._~%-]{0,5}){0,4}/?";
    let rest = proptest::sample::select(vec!["", "", "", "?q", "#f", "?", "#"]);
    (scheme, host, path, rest).prop_map(|(s, h, p, r)| format!("{s}://{h}{p}{r}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn normalising_twice_is_normalising_once(text in prop_oneof![near_uri(), any::<String>()]) {
        if let Some(once) = normalise(&text) {
            let twice = normalise(&once);
            prop_assert_eq!(twice.as_ref(), Some(&once), "{}", text);
        }
    }

    #[test]
    fn what_may_be_registered_can_be_found_again(text in near_uri()) {
        if check(&text).is_ok() {
            let form = normalise(&text);
            prop_assert!(form.is_some(), "{text}");
            // In any letter case of scheme and host, with or without a slash at the end.
            let bare = text.trim_end_matches('/');
            if text.len() - bare.len() <= 1 {
                prop_assert_eq!(normalise(bare), form.clone(), "{}", text);
                prop_assert_eq!(normalise(&format!("{bare}/")), form, "{}", text);
            }
        }
    }

    #[test]
    fn paths_that_differ_are_different_resources(one in "[a-zA-Z0-9]{1,6}", two in "[a-zA-Z0-9]{1,6}") {
        let of = |path: &str| normalise(&format!("https://a.example/{path}"));
        prop_assert_eq!(of(&one) == of(&two), one == two);
    }

    #[test]
    fn nothing_but_https_or_loopback_is_registered(text in prop_oneof![near_uri(), any::<String>()]) {
        if let Ok(url) = check(&text) {
            let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
            prop_assert!(url.scheme() == "https" || (url.scheme() == "http" && loopback), "{text}");
            prop_assert!(url.fragment().is_none() && url.query().is_none());
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }
    }
}
