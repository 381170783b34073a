//! F. The token endpoint.

use crate::support::{TestApp, WEATHER, encode, secret_of};

const FORM: &str = "application/x-www-form-urlencoded";

// AC-100
#[tokio::test]
async fn only_post_is_answered() {
    let app = TestApp::weather().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD"] {
        let answer = app
            .call(method, "/token?grant_type=client_credentials")
            .basic("agent", &secret_of("agent"))
            .await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
}

// AC-100
#[tokio::test]
async fn only_a_form_is_read() {
    let app = TestApp::weather().await;
    let form = encode(&[("grant_type", "client_credentials"), ("resource", WEATHER)]);
    let json = r#"{"grant_type":"client_credentials"}"#;
    for (media_type, body) in [
        ("application/json", json),
        ("application/json", &form),
        ("text/plain", &form),
        ("multipart/form-data; boundary=x", &form),
        ("application/x-www-form-urlencodedx", &form),
        ("", &form),
    ] {
        app.post("/token")
            .basic("agent", &secret_of("agent"))
            .raw(media_type, body)
            .await
            .refused(400, "invalid_request");
    }
    let bare = app.post("/token").basic("agent", &secret_of("agent")).await;
    bare.refused(400, "invalid_request");
}

// AC-101
#[tokio::test]
async fn a_grant_type_that_is_missing_or_unknown_is_refused() {
    let app = TestApp::weather().await;
    let post = |body: String| {
        app.post("/token")
            .basic("agent", &secret_of("agent"))
            .raw(FORM, body)
    };
    post("resource=x".into())
        .await
        .refused(400, "invalid_request");
    post("grant_type=".into())
        .await
        .refused(400, "invalid_request");
    for unknown in [
        "password",
        "implicit",
        "CLIENT_CREDENTIALS",
        "client_credentials ",
        "client_credentials,x",
        "Authorization_Code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "\0",
        "\u{e9}",
    ] {
        post(encode(&[("grant_type", unknown)]))
            .await
            .refused(400, "unsupported_grant_type");
    }
}

// AC-102
#[tokio::test]
async fn a_grant_type_the_client_is_not_registered_for_is_refused() {
    let app = TestApp::weather().await;
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    app.ask("agent", &[("grant_type", exchange)])
        .await
        .refused(400, "unauthorized_client");
}

// AC-103
#[tokio::test]
async fn a_parameter_given_twice_is_refused() {
    let app = TestApp::weather().await;
    let honest = [
        ("grant_type", "client_credentials"),
        ("scope", "tool:forecast"),
        ("client_id", "agent"),
        ("client_secret", "x"),
        ("client_assertion", "x"),
        ("client_assertion_type", "x"),
        ("subject_token", "x"),
        ("subject_token_type", "x"),
        ("actor_token", "x"),
        ("actor_token_type", "x"),
        ("requested_token_type", "x"),
        ("never_heard_of", "x"),
    ];
    for (name, value) in honest {
        let mut form = vec![("grant_type", "client_credentials"), ("resource", WEATHER)];
        if name != "grant_type" {
            form.push((name, value));
        }
        for second in [value, "", "other"] {
            let mut form = form.clone();
            form.push((name, second));
            app.post("/token")
                .basic("agent", &secret_of("agent"))
                .form(&form)
                .await
                .refused(400, "invalid_request");
        }
    }
    // However the name is written.
    app.post("/token")
        .basic("agent", &secret_of("agent"))
        .raw(FORM, "grant_type=client_credentials&%73cope=a&scope=b")
        .await
        .refused(400, "invalid_request");
}

// AC-104
#[tokio::test]
async fn the_query_string_neither_asks_nor_authenticates() {
    let app = TestApp::weather().await;
    let secret = secret_of("agent");
    let credentials = encode(&[("client_id", "agent"), ("client_secret", &secret)]);
    app.post(&format!("/token?{credentials}"))
        .form(&[("grant_type", "client_credentials"), ("resource", WEATHER)])
        .await
        .refused(401, "invalid_client");
    app.post("/token?grant_type=client_credentials")
        .basic("agent", &secret)
        .form(&[("resource", WEATHER)])
        .await
        .refused(400, "invalid_request");
    // What stands there changes nothing.
    let body = app
        .post("/token?scope=tool:history&resource=https://evil.example")
        .basic("agent", &secret)
        .form(&[("grant_type", "client_credentials"), ("resource", WEATHER)])
        .await
        .ok();
    assert_eq!(body["scope"], "tool:forecast");
}

// AC-110
#[tokio::test]
async fn a_client_id_beside_other_credentials_is_that_clients() {
    let app = TestApp::weather().await;
    app.ask("agent", &[("client_id", "admin"), ("resource", WEATHER)])
        .await
        .refused(400, "invalid_request");
}

// AC-111
#[tokio::test]
async fn refusals_are_never_kept_either() {
    let app = TestApp::weather().await;
    for answer in [
        app.ask("agent", &[("resource", "https://nowhere.example")])
            .await,
        app.post("/token").await,
        app.post("/token")
            .basic("agent", "wrong-secret")
            .form(&[])
            .await,
    ] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.json().get("access_token").is_none());
    }
}

// AC-115
#[tokio::test]
async fn whatever_is_sent_the_description_keeps_to_its_alphabet() {
    let app = TestApp::weather().await;
    // The oracle of the harness looks at every answer; here is what to quote back.
    for nasty in [
        "a\r\nset-cookie: x",
        "\"quoted\"",
        "back\\slash",
        "tab\t",
        "\u{0}",
        "\u{202e}\u{e9}\u{1f600}",
        "<script>",
        "%0d%0a",
    ] {
        for name in ["grant_type", "scope", "resource", "client_id", nasty] {
            let form = encode(&[("resource", WEATHER), (name, nasty)]);
            let answer = app
                .post("/token")
                .basic("agent", &secret_of("agent"))
                .raw(FORM, form)
                .await;
            assert_eq!(answer.status, 400, "{name}={nasty}");
            assert!(answer.headers.get("set-cookie").is_none());
        }
    }
}

// AC-103, AC-115
#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let app = TestApp::weather().await;
    for body in [
        &b"%"[..],
        b"a=%4",
        b"grant_type=%zz",
        b"scope=%ff",
        b"\xff\xfe",
        b"a=%c3",
    ] {
        app.post("/token")
            .basic("agent", &secret_of("agent"))
            .raw(FORM, body)
            .await
            .refused(400, "invalid_request");
    }
    for harmless in ["", "&&&", "=", "=&=", ";"] {
        let answer = app
            .post("/token")
            .basic("agent", &secret_of("agent"))
            .raw(FORM, harmless)
            .await;
        answer.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn thousands_of_parameters_are_no_work() {
    let app = TestApp::weather().await;
    // All that fits into a body: comparing each with each must stay cheap, and does not fail.
    let many: String = (0..6000).map(|i| format!("&p{i}=")).collect();
    let answer = app
        .post("/token")
        .basic("agent", &secret_of("agent"))
        .raw(FORM, format!("grant_type=client_credentials{many}"))
        .await;
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
}
