//! What arrives as text or bytes: never a panic, never a guess.

use proptest::prelude::*;
use writ::{
    clients::metadata,
    error::OAuthError,
    oauth::{
        params::{Params, decode_component},
        scope::{Scope, is_scope_token},
    },
};

fn near_form() -> impl Strategy<Value = Vec<u8>> {
    let piece = proptest::sample::select(vec![
        "scope", "resource", "=", "&", "a", "%", "%4", "%41", "%ff", "%00", "+", ";", "\u{e9}", "",
    ]);
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes_are_read_or_refused(
        body in prop_oneof![near_form(), proptest::collection::vec(any::<u8>(), 0..200)],
    ) {
        if let Ok(params) = Params::parse(&body) {
            // RFC 6749 §3.2: one value, or none.
            for name in ["scope", "a", ""] {
                let count = params.all(name).count();
                prop_assert!(count <= 1, "{name} {count} times");
                prop_assert_eq!(params.get(name), params.all(name).next());
            }
        }
    }

    #[test]
    fn what_is_encoded_is_read_back(
        pairs in proptest::collection::btree_map("[a-z]{1,6}", any::<String>(), 0..6),
    ) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        let params = Params::parse(body.as_bytes()).unwrap();
        for (name, value) in &pairs {
            let expected = Some(value.as_str()).filter(|v| !v.is_empty());
            prop_assert_eq!(params.get(name), expected);
        }
    }

    #[test]
    fn a_component_is_read_back(text in any::<String>()) {
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        prop_assert_eq!(decode_component(&encoded).unwrap(), text);
    }

    #[test]
    fn a_scope_holds_only_its_alphabet(text in any::<String>()) {
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert!(scope.iter().all(is_scope_token), "{text:?}");
        }
    }

    #[test]
    fn every_tool_name_makes_one_scope_of_its_own(one in any::<String>(), two in any::<String>()) {
        let (a, b) = (writ::oauth::scope::tool_scope(&one), writ::oauth::scope::tool_scope(&two));
        prop_assert!(is_scope_token(&a), "{a}");
        prop_assert_eq!(a == b, one == two);
    }

    #[test]
    fn a_description_holds_only_its_alphabet(text in any::<String>()) {
        // RFC 6749 §5.2.
        let error = OAuthError::invalid_request(text);
        for c in error.description().chars() {
            prop_assert!(matches!(c, ' ' | '!' | '#'..='[' | ']'..='~'), "{c:?}");
        }
    }

    #[test]
    fn any_registration_body_is_read_or_refused(
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = metadata::read(&body, false);
    }

    #[test]
    fn any_member_of_any_type_is_read_or_refused(
        name in proptest::sample::select(vec![
            "redirect_uris", "grant_types", "response_types", "scope", "jwks", "jwks_uri",
            "token_endpoint_auth_method", "client_name", "contacts", "application_type", "logo_uri",
        ]),
        value in proptest::sample::select(vec![
            "null", "0", "-1", "1e400", "true", "\"\"", "\"x\"", "[]", "[null]", "[[]]", "{}",
            "{\"keys\":[{}]}", "[\"\"]", "\"\\u0000\"", "[\"https://a.example\",1]",
        ]),
    ) {
        let body = format!("{{\"{name}\":{value}}}");
        let _ = metadata::read(body.as_bytes(), false);
    }
}
