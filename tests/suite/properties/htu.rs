//! URLs in proofs (RFC 9449 §4.3, RFC 3986 §6.2).

use proptest::prelude::*;
use writ_resource::dpop::Htu;

/// Something like a URL, right or wrong.
fn near_url() -> impl Strategy<Value = String> {
    let scheme = proptest::sample::select(vec!["https", "HTTPS", "http", "ftp", "file", ""]);
    let host = proptest::sample::select(vec![
        "a.example",
        "A.Example",
        "a.example:443",
        "a.example:80",
        "a.example:8443",
        "[::1]:8000",
        "u:p@a.example",
        "",
    ]);
    let path = "(/(\\.|\\.\\.|[a-zA-Z0-9._~%-]{0,5})){0,4}/?";
    let rest = proptest::sample::select(vec!["", "?q", "#f", "?q=1#f", "\\", " ", "\t"]);
    (scheme, host, path, rest).prop_map(|(s, h, p, r)| format!("{s}://{h}{p}{r}"))
}

/// `text` with each character as it is or percent-encoded, in either letter case.
fn encoded(text: &str, how: &[u8]) -> String {
    let ways = how.iter().cycle();
    text.bytes()
        .zip(ways)
        .map(|(byte, way)| match way % 3 {
            0 => char::from(byte).to_string(),
            1 => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_normal_form_is_its_own(text in prop_oneof![near_url(), any::<String>()]) {
        if let Some(once) = Htu::parse(&text) {
            prop_assert_eq!(Htu::parse(once.as_str()), Some(once.clone()), "{}", text);
            prop_assert!(!once.as_str().contains(['?', '#', '@', '\\', ' ']), "{}", text);
        }
    }

    #[test]
    fn query_fragment_case_and_default_port_do_not_count(
        path in "(/[a-z0-9._~-]{1,5}){0,3}", query in "[a-z=&%/?]{0,9}", fragment in "[a-z/?]{0,9}",
    ) {
        let plain = Htu::parse(&format!("https://as.example{path}"));
        prop_assert!(plain.is_some());
        for other in [
            format!("HTTPS://AS.Example:443{path}"),
            format!("https://as.example{path}?{query}"),
            format!("https://as.example{path}#{fragment}"),
            format!("https://as.example:443{path}?{query}#{fragment}"),
        ] {
            prop_assert_eq!(&Htu::parse(&other), &plain, "{}", other);
        }
    }

    #[test]
    fn unreserved_characters_may_be_encoded(
        name in "[a-zA-Z0-9_~-]{1,8}", how in proptest::collection::vec(0..3_u8, 1..8),
    ) {
        let plain = Htu::parse(&format!("https://as.example/{name}"));
        let other = format!("https://as.example/{}", encoded(&name, &how));
        prop_assert_eq!(Htu::parse(&other), plain, "{}", other);
    }

    #[test]
    fn paths_that_differ_are_different(one in "[a-zA-Z0-9]{1,6}", two in "[a-zA-Z0-9]{1,6}") {
        let of = |path: &str| Htu::parse(&format!("https://as.example/{path}"));
        prop_assert_eq!(of(&one) == of(&two), one == two);
    }
}

#[test]
fn urls_that_are_the_same_and_urls_that_are_not() {
    let same = [
        ("https://as.example", "https://as.example/"),
        ("https://as.example/a/../token", "https://as.example/token"),
        ("https://as.example/./token", "https://as.example/token"),
        (
            "https://as.example/%2e%2E/token",
            "https://as.example/token",
        ),
        ("https://as.example/a%2fb", "https://as.example/a%2Fb"),
        ("http://as.example:80/a", "http://as.example/a"),
        ("https://[::1]:443/a", "https://[0:0::1]/a"),
    ];
    for (one, two) in same {
        assert!(Htu::parse(one).is_some(), "{one}");
        assert_eq!(Htu::parse(one), Htu::parse(two), "{one} {two}");
    }
    let different = [
        ("https://as.example/token", "https://as.example/token/"),
        ("https://as.example/token", "https://as.example/Token"),
        ("https://as.example/token", "http://as.example/token"),
        ("https://as.example/token", "https://as.example:8443/token"),
        ("https://as.example/token", "https://as.example./token"),
        ("https://as.example/a/b", "https://as.example/a%2Fb"),
        ("https://as.example/a//b", "https://as.example/a/b"),
    ];
    for (one, two) in different {
        assert_ne!(Htu::parse(one), Htu::parse(two), "{one} {two}");
    }
    for broken in [
        "",
        "/token",
        "token",
        "//as.example/token",
        "https:as.example/token",
        "https:/as.example/token",
        "https:///as.example/token",
        "https:\\\\as.example\\token",
        "https://as.example\\token",
        " https://as.example/token",
        "https://as.example/token\n",
        "https://as.example/to\tken",
        "https://user@as.example/token",
        "https://as.example/%",
        "https://as.example/%+1",
        "https://as.example/%zz",
        "https://as.example/\u{e9}",
        "ftp://as.example/token",
        "urn:token",
    ] {
        assert_eq!(Htu::parse(broken), None, "{broken:?}");
    }
}
