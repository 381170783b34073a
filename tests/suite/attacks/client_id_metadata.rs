//! Client ID metadata documents, and what a server can be made to fetch.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use writ::{clients::find, error::OAuthError};

use crate::{
    clients::cimd::{look_for, reading_here},
    support::{DocumentHost, Key, TestApp},
};

fn says(error: &OAuthError, words: &str) -> bool {
    error.code.as_str() == "invalid_request" && error.description().contains(words)
}

// AC-256
#[tokio::test]
async fn a_url_that_is_no_client_identifier_is_not_fetched() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let (origin, authority) = (&host.origin, host.origin.strip_prefix("http://").unwrap());
    let port = authority.split_once(':').unwrap().1;
    for (id, words) in [
        (origin.clone(), "path"),
        (format!("{origin}/client.json#"), "fragment"),
        (format!("{origin}/client.json#x"), "fragment"),
        (
            format!("http://a@{authority}/client.json"),
            "user information",
        ),
        (
            format!("http://a:b@{authority}/client.json"),
            "user information",
        ),
        (
            format!("http://@{authority}/client.json"),
            "user information",
        ),
        (format!("{origin}/../client.json"), "segments"),
        (format!("{origin}/a/%2e%2E/client.json"), "segments"),
        (format!("{origin}/./client.json"), "segments"),
        (format!("http://127.0.0.1:0{port}/client.json"), "port"),
        (format!("http://127.0.0.1:/client.json?{port}"), "port"),
        (format!("http://127.0.0.1:0/client.json?{port}"), "port"),
        (format!("http://127.1:{port}/client.json"), "absolute URL"),
        (
            format!("http://2130706433:{port}/client.json"),
            "absolute URL",
        ),
        (
            format!("http:\\\\{authority}\\client.json"),
            "no such client",
        ),
        (format!("file://{authority}/client.json"), "absolute URL"),
        (format!("ftp://{authority}/client.json"), "https"),
        (format!("{origin}/client.json {origin}"), "absolute URL"),
        (format!("{origin}/{}", "x".repeat(2000)), "absolute URL"),
    ] {
        let error = look_for(&app, &id).await.unwrap_err();
        assert!(says(&error, words), "{id}: {error}");
    }
    assert_eq!(host.connections(), 0);
    // The switch for tests opens loopback, and nothing else, to http.
    let error = look_for(&app, "http://app.example/c").await.unwrap_err();
    assert!(says(&error, "https"), "{error}");
}

// AC-257
#[tokio::test]
async fn a_document_speaks_for_its_own_url_and_no_other() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    for id in [
        format!("{}/", host.url()),
        format!("{}?", host.url()),
        host.url().replace("client", "Client"),
        host.url().replace("127.0.0.1", "localhost"),
        host.url().replace("http:", "HTTP:"),
        host.url().replace("client", "%63lient"),
        "https://app.example/client.json".to_owned(),
        String::new(),
    ] {
        host.publish(&host.document(&json!({ "client_id": id })));
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, "client_id"), "{id}: {error}");
    }
    host.publish(&host.document(&json!({})));
    look_for(&app, &host.url()).await.unwrap();
}

// AC-258
#[tokio::test]
async fn what_is_no_document_makes_no_client() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let good = host.document(&json!({})).to_string();
    for status in [
        "201 Created",
        "204 No Content",
        "206 Partial Content",
        "304 Not Modified",
    ] {
        host.answer(status, "application/json", good.as_bytes());
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, &status[..3]), "{status}: {error}");
    }
    let elsewhere = DocumentHost::start().await;
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Moved",
        "308 Moved",
    ] {
        host.answer(status, "application/json", good.as_bytes());
        host.header("location", &elsewhere.url());
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, "redirects are not followed"), "{error}");
    }
    assert_eq!(elsewhere.connections(), 0);
    for media_type in ["text/html", "text/plain", "application/javascript", ""] {
        host.answer("200 OK", media_type, good.as_bytes());
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, "Content-Type"), "{media_type}: {error}");
    }
    for body in ["", "null", "[]", "\"x\"", "{", "<html>", "\u{feff}{}"] {
        host.answer("200 OK", "application/json", body.as_bytes());
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, "JSON object"), "{body}: {error}");
    }
    let private = json!({ "keys": [{
        "kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    }] });
    let symmetric = json!({ "keys": [{ "kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODw" }] });
    let method = "token_endpoint_auth_method";
    for (change, words) in [
        (json!({ "redirect_uris": null }), "redirect_uris"),
        (json!({ "redirect_uris": [] }), "redirect_uris"),
        (
            json!({ "redirect_uris": ["http://app.example/cb"] }),
            "https",
        ),
        (
            json!({ "redirect_uris": ["javascript:alert(1)"] }),
            "redirect target",
        ),
        (json!({ "client_name": null }), "client_name"),
        (json!({ "client_secret": "hunter2" }), "client_secret"),
        (
            json!({ "client_secret_expires_at": 0 }),
            "client_secret_expires_at",
        ),
        (json!({ method: "client_secret_basic" }), method),
        (json!({ method: "client_secret_post" }), method),
        (json!({ method: "client_secret_jwt" }), method),
        (json!({ method: "private_key_jwt" }), "jwks"),
        (
            json!({ method: "private_key_jwt", "jwks": private }),
            "jwks",
        ),
        (
            json!({ method: "private_key_jwt", "jwks": symmetric }),
            "jwks",
        ),
        (
            json!({ "jwks": { "keys": [] }, "jwks_uri": "https://a.example/j" }),
            "jwks_uri",
        ),
        (
            json!({ method: "private_key_jwt", "jwks_uri": "http://a.example/j" }),
            "jwks_uri",
        ),
    ] {
        host.publish(&host.document(&change));
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, words), "{change}: {error}");
        assert!(!error.description().contains("hunter2"));
    }
}

// AC-259
#[tokio::test]
async fn a_document_is_read_as_far_as_the_limit_and_no_further() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    let padded = |length: usize| {
        let empty = host.document(&json!({ "padding": "" })).to_string().len();
        let padding = "x".repeat(length - empty);
        host.document(&json!({ "padding": padding })).to_string()
    };
    // Its length is not announced, so it is counted.
    host.answer("200 OK", "application/json", padded(5121).as_bytes());
    let error = look_for(&app, &host.url()).await.unwrap_err();
    assert!(says(&error, "too long"), "{error}");
    // One that is announced is not begun.
    host.answer("200 OK", "application/json", b"{}");
    host.header("content-length", "99999999999");
    let error = look_for(&app, &host.url()).await.unwrap_err();
    assert!(says(&error, "too long"), "{error}");
    host.answer("200 OK", "application/json", padded(5120).as_bytes());
    look_for(&app, &host.url()).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_slow_holds_nobody_up_for_long() {
    let app = TestApp::with(|config| {
        config.fetch.allow_private_addresses_for_tests = true;
        config.metadata_documents.timeout = 1;
    })
    .await;
    let host = DocumentHost::start().await;
    host.delay(Duration::from_secs(60));
    let url = host.url();
    let answer = tokio::time::timeout(Duration::from_secs(10), look_for(&app, &url)).await;
    let error = answer.unwrap().unwrap_err();
    assert!(says(&error, "in time"), "{error}");
}

// AC-261
#[tokio::test]
async fn nothing_inside_is_connected_to() {
    let app = TestApp::new().await;
    let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = v4.local_addr().unwrap().port();
    let others = TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
    let any = others.local_addr().unwrap().port();
    let inside = [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("a.localhost:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:7f00:1]:{port}"),
        format!("[64:ff9b::7f00:1]:{port}"),
        format!("[2002:7f00:1::]:{port}"),
        format!("0.0.0.0:{any}"),
        format!("0.1.2.3:{any}"),
        format!("127.255.255.254:{any}"),
        "169.254.169.254".to_owned(),
        "10.0.0.1".to_owned(),
        "172.31.255.255".to_owned(),
        "192.168.0.1".to_owned(),
        "100.64.0.1".to_owned(),
        "198.18.0.1".to_owned(),
        "224.0.0.1".to_owned(),
        "255.255.255.255".to_owned(),
        "[fe80::1]".to_owned(),
        "[fd00:ec2::254]".to_owned(),
        "[ff02::1]".to_owned(),
        "[::]".to_owned(),
        // A name that resolves to the machine itself, or not at all.
        format!("ip6-localhost:{port}"),
        "nothing.invalid".to_owned(),
    ];
    for authority in inside {
        let url = format!("https://{authority}/client.json");
        let error = look_for(&app, &url).await.unwrap_err();
        assert!(says(&error, "not reachable from here"), "{url}: {error}");
    }
    // Nobody connected: the first connection to arrive is our own.
    for listener in [v4, others] {
        let port = listener.local_addr().unwrap().port();
        let own = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        let first = listener.accept().await.unwrap().1;
        assert_eq!(first, own.unwrap().local_addr().unwrap());
    }
}

#[tokio::test]
async fn only_hosts_that_are_let_in_are_asked() {
    let host = DocumentHost::start().await;
    for (allow, deny, words) in [
        (
            vec![],
            vec!["127.0.0.1"],
            "does not take clients of 127.0.0.1",
        ),
        (
            vec!["127.0.0.1"],
            vec!["127.0.0.1"],
            "does not take clients",
        ),
        (
            vec!["app.example", "*.example.com"],
            vec![],
            "only clients of certain hosts",
        ),
    ] {
        let texts = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect();
        let app = TestApp::with(|config| {
            config.fetch.allow_private_addresses_for_tests = true;
            config.metadata_documents.allow = texts(&allow);
            config.metadata_documents.deny = texts(&deny);
        })
        .await;
        let error = look_for(&app, &host.url()).await.unwrap_err();
        assert!(says(&error, words), "{error}");
    }
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn an_address_that_names_ever_new_documents_is_told_to_stop() {
    let app = TestApp::with(|config| {
        config.fetch.allow_private_addresses_for_tests = true;
        (config.limits.document_rate, config.limits.document_burst) = (1, 3);
    })
    .await;
    let host = DocumentHost::start().await;
    let name = async |from: &str, path: &str| {
        let id = format!("{}/{path}", host.origin);
        let form = [("token", "x"), ("client_id", &*id)];
        app.post("/revoke").from(from).form(&form).await.status
    };
    for path in ["a", "b", "c"] {
        assert_eq!(name("192.0.2.1", path).await, 401);
    }
    assert_eq!(name("192.0.2.1", "d").await, 429);
    assert_eq!(host.asked(), 3);
    // One that is known costs nothing, and others are not refused.
    find(&app.state, &app.tenant(None), &host.url())
        .await
        .unwrap();
    assert_eq!(name("192.0.2.1", "client.json").await, 200);
    assert_eq!(name("192.0.2.2", "d").await, 401);
}

#[tokio::test]
async fn a_client_of_a_document_has_no_secret_to_guess() {
    let (app, host) = (reading_here().await, DocumentHost::start().await);
    for (id, secret) in [(&*host.url(), "x"), ("https://app.example/c", "x")] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
        ];
        app.post("/token")
            .form(&form)
            .await
            .refused(401, "invalid_client");
    }
    // Nobody is asked about what cannot hold.
    assert_eq!(host.connections(), 0);
    let key = Key::ed(1);
    let assertion = app.assertion(&key, &host.url(), &json!({}));
    app.ask_with(&assertion, &[])
        .await
        .refused(401, "invalid_client");
}
