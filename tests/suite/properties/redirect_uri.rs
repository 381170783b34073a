//! Redirect URIs a client may register.

use proptest::prelude::*;
use url::Url;
use writ::oauth::redirect_uri::{ApplicationType, check};

fn near_uri() -> impl Strategy<Value = String> {
    let scheme = proptest::sample::select(vec![
        "https",
        "http",
        "HTTP",
        "javascript",
        "data",
        "file",
        "vbscript",
        "about",
        "blob",
        "ftp",
        "com.example.app",
        "ws",
        "intent",
        "x-y",
        "javascript.",
    ]);
    let separator = proptest::sample::select(vec![":", "://", ":/", ":///"]);
    let host = proptest::sample::select(vec![
        "",
        "a.example",
        "127.0.0.1:1",
        "127.0.0.1.evil.example",
        "localhost",
        "localhost.evil.example",
        "[::1]",
        "u@127.0.0.1",
        "127.1",
        "0.0.0.0",
        "2130706433",
    ]);
    let rest = proptest::sample::select(vec!["", "/cb", "/cb#x", "/cb?x=1", "#", "/cb%23"]);
    (scheme, separator, host, rest).prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn only_https_loopback_and_the_schemes_of_apps(text in prop_oneof![near_uri(), any::<String>()]) {
        for kind in [ApplicationType::Web, ApplicationType::Native] {
            if check(&text, kind).is_err() {
                continue;
            }
            let url = Url::parse(&text).unwrap();
            // RFC 6749 §3.1.2: absolute, no fragment.
            prop_assert!(url.fragment().is_none() && !text.contains('#'), "{text}");
            prop_assert!(url.username().is_empty() && url.password().is_none(), "{text}");
            match url.scheme() {
                "https" => {}
                "http" => {
                    let host = url.host_str().unwrap();
                    let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
                    prop_assert!(loopback && host.parse::<std::net::Ipv4Addr>().is_ok()
                        || matches!(host, "localhost" | "[::1]"), "{text}");
                }
                // RFC 8252 §7.1: a reversed domain name.
                scheme => prop_assert!(kind == ApplicationType::Native && scheme.contains('.'), "{text}"),
            }
        }
    }

    #[test]
    fn what_a_web_client_may_a_native_one_may_too(text in near_uri()) {
        if check(&text, ApplicationType::Web).is_ok() {
            prop_assert!(check(&text, ApplicationType::Native).is_ok());
        }
    }
}
