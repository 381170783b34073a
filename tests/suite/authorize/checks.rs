//! The checks of an authorization request: attack groups A, B and C.

use serde_json::{Value, json};

use crate::support::{
    CALLBACK, CHALLENGE, TestApp, WEATHER, encode, pairs, refusal, request, told,
};

/// The code on the page of a request that is redirected nowhere.
async fn page(app: &TestApp, query: &str) -> String {
    let answer = app.get(&format!("/authorize?{query}")).await;
    assert_eq!(answer.status, 400, "{query}");
    assert_eq!(answer.header("location"), None, "{query}");
    let text = answer.text();
    let code = text.split("id=\"error\">").nth(1).unwrap();
    code.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn nobody_is_redirected_before_client_and_redirect_uri_are_known_to_be_good() {
    let app = TestApp::apps().await;
    let two = json!({ "redirect_uris": [CALLBACK, "https://app.example/other?foo=bar"] });
    app.client("two", two).await;
    // AC-001 to AC-009, AC-024.
    for over in [
        json!({ "client_id": null }),
        json!({ "client_id": "nobody" }),
        json!({ "client_id": "<script>" }),
        json!({ "redirect_uri": "https://evil.example/cb" }),
        json!({ "redirect_uri": "javascript:alert(1)" }),
        json!({ "redirect_uri": format!("{CALLBACK}/") }),
        json!({ "redirect_uri": format!("{CALLBACK}?x=1") }),
        json!({ "redirect_uri": format!("{CALLBACK}#x") }),
        json!({ "redirect_uri": "https://app.example/CB" }),
        json!({ "redirect_uri": "https://app.example:443/cb" }),
        json!({ "redirect_uri": "https://user@app.example/cb" }),
        json!({ "redirect_uri": "cb" }),
        json!({ "client_id": "two", "redirect_uri": null }),
        json!({ "client_id": "two", "redirect_uri": "https://app.example/other?foo=baz" }),
        json!({ "client_id": "two", "redirect_uri": "https://app.example/other" }),
        json!({ "client_id": "agent", "redirect_uri": CALLBACK }),
    ] {
        for prompt in [Value::Null, json!("none")] {
            let mut request = request(&over);
            if prompt != Value::Null {
                request["prompt"] = prompt;
            }
            let code = page(&app, &encode(&pairs(&request))).await;
            assert_eq!(code, "invalid_request", "{over}");
        }
    }
    // AC-021: of two there is no telling which one is meant.
    let honest = encode(&pairs(&request(&json!({}))));
    for again in [("redirect_uri", CALLBACK), ("client_id", "app")] {
        let query = format!("{honest}&{}", encode(&[again]));
        assert_eq!(page(&app, &query).await, "invalid_request");
    }
    assert_eq!(page(&app, "client_id=%ff").await, "invalid_request");
}

#[tokio::test]
async fn the_query_that_was_registered_stays() {
    let app = TestApp::apps().await;
    let uri = "https://app.example/other?foo=bar";
    app.client("other", json!({ "redirect_uris": [uri] })).await;
    let person = app.signed_in("ann").await;
    let over = json!({ "client_id": "other", "redirect_uri": uri });
    let page = person.open(&over).await;
    let answer = person.press(&page, "allow", &[]).await;
    // AC-008.
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{uri}&code=")), "{location}");
    // RFC 6749 §3.1.2.3: the only one need not be named.
    let over = json!({ "client_id": "other", "redirect_uri": null });
    let answer = person.open(&over).await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{uri}&code=")), "{location}");
}

#[tokio::test]
async fn a_native_program_may_listen_on_any_port() {
    let app = TestApp::apps().await;
    let uris = [
        "http://127.0.0.1/cb",
        "http://[::1]/cb",
        "http://localhost/callback",
    ];
    let native = json!({
        "redirect_uris": uris, "application_type": "native", "token_endpoint_auth_method": "none",
    });
    app.client("native", native).await;
    let person = app.signed_in("ann").await;
    // AC-015.
    for (name, sent) in [
        ("eve", "http://127.0.0.1:33418/cb"),
        ("fay", "http://[::1]:5/cb"),
        ("guy", "http://localhost:6274/callback"),
    ] {
        let over = json!({ "client_id": "native", "redirect_uri": sent });
        let asked = app.signed_in(name).await;
        let page = asked.open(&over).await;
        assert_eq!(page.status, 200, "{sent}");
        assert!(page.text().contains("consent-local"), "{sent}");
        let answer = asked.press(&page, "allow", &[]).await;
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(&format!("{sent}?code=")), "{location}");
    }
    // AC-016, and the path is exact.
    for sent in [
        "http://localhost:33418/cb",
        "http://127.0.0.1:33418/",
        "https://127.0.0.1:33418/cb",
        "http://127.0.0.2:33418/cb",
    ] {
        let over = json!({ "client_id": "native", "redirect_uri": sent });
        assert_eq!(person.open(&over).await.status, 400, "{sent}");
    }
}

#[tokio::test]
async fn a_native_program_may_have_a_scheme_of_its_own() {
    let app = TestApp::apps().await;
    let uri = "com.example.app:/cb";
    let native = json!({
        "redirect_uris": [uri], "application_type": "native", "token_endpoint_auth_method": "none",
    });
    app.client("native", native).await;
    let person = app.signed_in("ann").await;
    let page = person
        .open(&json!({ "client_id": "native", "redirect_uri": uri }))
        .await;
    assert!(page.text().contains("consent-local"), "{}", page.text());
    let answer = person.press(&page, "allow", &[]).await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{uri}?code=")), "{location}");
    // RFC 8252 §8.4: the same to the letter, path and all.
    for sent in [
        "com.example.app:/",
        "com.example.app:/cb2",
        "com.example.app://cb",
        "com.example.App:/cb",
        "com.example.other:/cb",
    ] {
        let over = json!({ "client_id": "native", "redirect_uri": sent });
        assert_eq!(person.open(&over).await.status, 400, "{sent}");
    }
    // §8.1: nor without PKCE.
    let over = json!({
        "client_id": "native", "redirect_uri": uri, "code_challenge": null,
        "code_challenge_method": null,
    });
    let answer = person.open(&over).await;
    let location = answer.header("location").unwrap();
    assert!(
        location.starts_with(&format!("{uri}?error=invalid_request&")),
        "{location}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_to_the_client() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let long = "x".repeat(5000);
    let short = &CHALLENGE[1..];
    let odd = CHALLENGE.replace('E', "+");
    let far = "a".repeat(129);
    for (over, error) in [
        // AC-028 to AC-031.
        (json!({ "response_type": null }), "invalid_request"),
        (
            json!({ "response_type": "token" }),
            "unsupported_response_type",
        ),
        (
            json!({ "response_type": "code token" }),
            "unsupported_response_type",
        ),
        (
            json!({ "response_type": "none" }),
            "unsupported_response_type",
        ),
        (json!({ "response_mode": "fragment" }), "invalid_request"),
        (json!({ "response_mode": "foo" }), "invalid_request"),
        // AC-035: nothing of it is known.
        (json!({ "scope": "nothing" }), "invalid_scope"),
        (json!({ "scope": "a\"b" }), "invalid_scope"),
        // AC-039, AC-041, AC-045, AC-052.
        (json!({ "prompt": "none login" }), "invalid_request"),
        (json!({ "prompt": "soon" }), "invalid_request"),
        (json!({ "max_age": "-1" }), "invalid_request"),
        (json!({ "max_age": "abc" }), "invalid_request"),
        (json!({ "max_age": "+1" }), "invalid_request"),
        (
            json!({ "max_age": "99999999999999999999" }),
            "invalid_request",
        ),
        (
            json!({ "request_uri": "https://app.example/r" }),
            "request_uri_not_supported",
        ),
        (
            json!({ "authorization_details": "[]" }),
            "invalid_authorization_details",
        ),
        (json!({ "id_token_hint": "x.y.z" }), "invalid_request"),
        (json!({ "claims": "[]" }), "invalid_request"),
        (json!({ "nonce": long }), "invalid_request"),
        // AC-053 to AC-057.
        (
            json!({ "code_challenge": null, "code_challenge_method": null }),
            "invalid_request",
        ),
        (
            json!({ "code_challenge_method": "plain" }),
            "invalid_request",
        ),
        (json!({ "code_challenge_method": null }), "invalid_request"),
        (
            json!({ "code_challenge_method": "S512" }),
            "invalid_request",
        ),
        (
            json!({ "code_challenge_method": "s256" }),
            "invalid_request",
        ),
        (json!({ "code_challenge": short }), "invalid_request"),
        (json!({ "code_challenge": far }), "invalid_request"),
        (json!({ "code_challenge": odd }), "invalid_request"),
        (
            json!({ "client_id": "web", "code_challenge": null, "code_challenge_method": null }),
            "invalid_request",
        ),
        (json!({ "dpop_jkt": "short" }), "invalid_request"),
        // AC-202.
        (
            json!({ "resource": "https://unknown.example/mcp" }),
            "invalid_target",
        ),
        (json!({ "resource": "relative" }), "invalid_target"),
        (
            json!({ "resource": format!("{WEATHER}#x") }),
            "invalid_target",
        ),
        (
            json!({ "resource": "https://as.example/admin", "scope": "writ:admin" }),
            "invalid_target",
        ),
        (
            json!({ "resource": "https://as.example/ssf", "scope": "ssf.manage" }),
            "invalid_target",
        ),
        (
            json!({ "resource": null, "scope": "writ:admin" }),
            "invalid_target",
        ),
    ] {
        let answer = person.open(&over).await;
        assert_eq!(refusal(&answer), error, "{over}");
    }
    // AC-032: also what may be wrong twice.
    let honest = encode(&pairs(&request(&json!({}))));
    for again in ["scope=a", "state=b", "code_challenge=c", "prompt=none"] {
        let twice = format!("{honest}&prompt=login&{again}");
        let answer = person.get(&format!("/authorize?{twice}")).await;
        assert_eq!(refusal(&answer), "invalid_request", "{again}");
    }
    // AC-205: one at a time, unless an administrator says otherwise.
    let two = format!(
        "{honest}&{}",
        encode(&[("resource", crate::support::CALENDAR)])
    );
    let answer = person.get(&format!("/authorize?{two}")).await;
    assert_eq!(refusal(&answer), "invalid_target");
    let answer = person.open(&json!({ "state": "s".repeat(5000) })).await;
    assert_eq!(told(&answer)["error"], "invalid_request");
}

#[tokio::test]
async fn what_does_not_matter_is_ignored() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    // AC-033, AC-034, and what several clients send.
    for over in [
        json!({ "unknown": "x", "audience": "y", "ui_locales": "de en", "display": "page" }),
        json!({ "scope": "", "nonce": "", "prompt": "" }),
        json!({ "scope": null }),
        json!({ "scope": "tool:forecast no:such read" }),
        json!({ "resource": null }),
        json!({ "resource": "HTTPS://Weather.Example:443/mcp/" }),
        json!({ "resource": null, "scope": null }),
        json!({ "acr_values": "1 2", "login_hint": "ann" }),
    ] {
        let told = person.allow(&over).await;
        assert!(told.contains_key("code"), "{over}: {told:?}");
    }
}

#[tokio::test]
async fn a_form_is_as_good_as_a_query_and_json_is_neither() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    // AC-046.
    let sent = request(&json!({}));
    let page = person.post("/authorize").form(&pairs(&sent)).await;
    assert_eq!(page.status, 200);
    assert!(told(&person.press(&page, "allow", &[]).await).contains_key("code"));
    let answer = person.post("/authorize").json(&sent).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("location"), None);
}
