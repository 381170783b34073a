//! Streams that are declared with their resource.

use http::StatusCode;
use serde_json::{Value, json};

use super::{POLL, PUSH, SERVER, SESSION_REVOKED};
use crate::support::{TestApp, WEATHER, secret_of};

/// The weather server, which is told at this URL with this header.
fn declaration(url: &str, header: Option<&str>) -> Value {
    let mut delivery = json!({ "method": PUSH, "endpoint_url": url });
    if let Some(header) = header {
        delivery["authorization_header"] = json!(header);
    }
    json!({
        "resources": [{
            "id": "weather", "resource": WEATHER, "tools": [{ "name": "forecast" }],
            "stream": { "delivery": delivery },
        }],
        "clients": [{
            "client_id": SERVER, "client_secret": secret_of(SERVER), "serves": "weather",
        }],
    })
}

async fn applied(app: &TestApp, declaration: Value) -> Vec<String> {
    let lines = app.apply(declaration).await;
    let lines = lines
        .iter()
        .map(|line| format!("{} {:?}", line.kind, line.action));
    lines.collect()
}

/// The streams of the weather server, as it reads them.
async fn read(app: &TestApp) -> Vec<Value> {
    let token = app.ask(SERVER, &[("scope", "ssf.read")]).await.token();
    let all = app.get("/ssf/streams").bearer(&token).await.ok();
    all.as_array().unwrap().clone()
}

const URL: &str = "https://weather.example/events";

#[tokio::test]
async fn a_declared_stream_is_made_once_and_follows_its_declaration() {
    let app = TestApp::new().await;
    let first = applied(&app, declaration(URL, Some("Bearer a"))).await;
    assert_eq!(
        first,
        ["resource Created", "client Created", "stream Created"]
    );
    let again = applied(&app, declaration(URL, Some("Bearer a"))).await;
    assert_eq!(
        again,
        ["resource Unchanged", "client Unchanged", "stream Unchanged"]
    );
    let streams = read(&app).await;
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0]["delivery"]["endpoint_url"], URL);
    assert_eq!(streams[0]["aud"], WEATHER);
    assert_eq!(streams[0]["description"], "declared");
    assert_eq!(
        streams[0]["events_delivered"],
        streams[0]["events_supported"]
    );
    for (url, header) in [
        (URL, Some("Bearer b")),
        (URL, None),
        ("https://weather.example/other", None),
    ] {
        let changed = applied(&app, declaration(url, header)).await;
        assert_eq!(changed[2], "stream Changed", "{url} {header:?}");
        let again = applied(&app, declaration(url, header)).await;
        assert_eq!(again[2], "stream Unchanged", "{url} {header:?}");
    }
    let after = read(&app).await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0]["stream_id"], streams[0]["stream_id"]);
    // With a change of its client, too.
    let mut signed = declaration(URL, None);
    signed["clients"][0]["receiver"] = json!({ "signing_algorithm": "ES256" });
    let changed = applied(&app, signed.clone()).await;
    assert_eq!(
        changed,
        ["resource Unchanged", "client Changed", "stream Changed"]
    );
    assert_eq!(applied(&app, signed).await[2], "stream Unchanged");
    assert!(app.count("stream.changed").await >= 2);
}

#[tokio::test]
async fn nobody_elses_stream_is_declared() {
    let app = TestApp::new().await;
    let mut none = declaration(URL, None);
    none["clients"] = json!([]);
    let mut several = declaration(URL, None);
    let other = json!({
        "client_id": "other", "client_secret": secret_of("other"), "serves": "weather",
    });
    several["clients"].as_array_mut().unwrap().push(other);
    let mut private = declaration("https://127.0.0.1/events", None);
    private["resources"][0]["stream"]["events_requested"] = json!([SESSION_REVOKED]);
    for (declaration, why) in [
        (none, "declare one client"),
        (several, "several clients"),
        (private, "not reachable"),
    ] {
        let refused = app.apply_in(None, declaration).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let mut typo = declaration(URL, None);
    typo["resources"][0]["stream"] = json!({ "event_requested": [] });
    let call = app.admin("POST", "/apply").await.json(&typo);
    let answer = call.await;
    answer.refused(400, "invalid_request");
    assert!(
        answer.text().contains("event_requested"),
        "{}",
        answer.text()
    );
    assert!(app.tenant(None).streams().is_empty());
}

#[tokio::test]
async fn the_admin_api_declares_it_with_its_resource() {
    let app = TestApp::weather().await;
    app.client(SERVER, json!({ "serves": "weather" })).await;
    let mut body = declaration(URL, Some("Bearer of-the-receiver"))["resources"][0].clone();
    body["stream"]["events_requested"] = json!([SESSION_REVOKED]);
    let answer = app
        .admin("PUT", "/resources/weather")
        .await
        .json(&body)
        .await;
    assert_eq!(answer.ok().get("stream"), None);
    assert!(!answer.text().contains("of-the-receiver"));
    assert_eq!(
        read(&app).await[0]["events_delivered"],
        json!([SESSION_REVOKED])
    );
}

#[tokio::test]
async fn a_server_that_registers_itself_gets_its_stream_with_its_credentials() {
    let app = TestApp::weather().await;
    let access = json!([{ "resource": "writ-admin", "scopes": ["resource:register"] }]);
    app.client("registrar", json!({ "access": access })).await;
    let admin = "https://as.example/admin";
    let token = app.token("registrar", admin, "resource:register").await;
    let uri = "https://news.example/mcp";
    let mut body = json!({
        "resource": uri, "name": "News", "tools": [{ "name": "read" }],
        "stream": { "delivery": { "method": POLL } },
    });
    let register = async |body: &Value| app.post("/resources").bearer(&token).json(body).await;
    let answer = register(&body).await.with(StatusCode::CREATED);
    let stream = &answer["stream"];
    assert_eq!(stream["aud"], uri);
    assert_eq!(stream["delivery"]["method"], POLL);
    assert_eq!(stream["events_delivered"], stream["events_supported"]);
    let (id, secret) = (&answer["client_id"], &answer["client_secret"]);
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", "ssf.manage"),
    ];
    let call = app
        .post("/token")
        .basic(id.as_str().unwrap(), secret.as_str().unwrap());
    let own = call.form(&form).await.token();
    let read = app.get("/ssf/streams").bearer(&own).await.ok();
    assert_eq!(read, json!([stream]));

    body["id"] = answer["id"].clone();
    body["stream"] = json!({ "events_requested": [SESSION_REVOKED] });
    let again = register(&body).await.ok();
    assert_eq!(again["stream"]["stream_id"], stream["stream_id"]);
    assert_eq!(
        again["stream"]["events_delivered"],
        json!([SESSION_REVOKED])
    );
    // Who says nothing of it changes nothing.
    body.as_object_mut().unwrap().remove("stream");
    assert_eq!(register(&body).await.ok().get("stream"), None);
    assert_eq!(
        app.get("/ssf/streams")
            .bearer(&own)
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_declared_stream_stays_so_whatever_its_receiver_makes_of_it() {
    let app = TestApp::new().await;
    applied(&app, declaration(URL, None)).await;
    let first = read(&app).await;
    let token = app.ask(SERVER, &[("scope", "ssf.manage")]).await.token();
    let replace = async |description: Option<&str>| {
        let mut body = json!({
            "stream_id": first[0]["stream_id"], "delivery": { "method": POLL },
            "events_requested": [SESSION_REVOKED],
        });
        if let Some(description) = description {
            body["description"] = json!(description);
        }
        let call = app.call("PUT", "/ssf/streams").bearer(&token);
        call.json(&body).await.ok();
    };
    for words in [None, Some("mine")] {
        replace(words).await;
        let changed = applied(&app, declaration(URL, None)).await;
        assert_eq!(changed[2], "stream Changed");
        let again = applied(&app, declaration(URL, None)).await;
        assert_eq!(again[2], "stream Unchanged");
        let [stream] = &read(&app).await[..] else {
            panic!("a stream more")
        };
        assert_eq!(stream["stream_id"], first[0]["stream_id"]);
        assert_eq!(stream["delivery"], first[0]["delivery"]);
        assert_eq!(stream.get("description"), words.map(|w| json!(w)).as_ref());
    }
    // Nor does the word make one.
    let body = json!({ "description": "declared" });
    let call = app.post("/ssf/streams").bearer(&token).json(&body);
    call.await.with(StatusCode::CREATED);
    let again = applied(&app, declaration(URL, None)).await;
    assert_eq!(again[2], "stream Unchanged");
}

#[tokio::test]
async fn what_somebody_declared_or_stopped_makes_no_room() {
    let app = TestApp::with(|config| config.events.streams_per_client = 2).await;
    let mut declared = declaration(URL, None);
    declared["resources"][0]["stream"] = json!({});
    applied(&app, declared).await;
    let call = async |method: &str, path: &str, body: Value| {
        let token = app.ask(SERVER, &[("scope", "ssf.manage")]).await.token();
        let call = app.call(method, path).bearer(&token);
        call.json(&body).await
    };
    let another = call("POST", "/ssf/streams", json!({})).await;
    let id = another.with(StatusCode::CREATED)["stream_id"].clone();
    let set = async |status: &str| {
        let body = json!({ "stream_id": id, "status": status });
        call("POST", "/ssf/status", body).await.ok();
        app.advance(3601);
    };
    for status in ["paused", "disabled"] {
        set(status).await;
        let one_more = call("POST", "/ssf/streams", json!({})).await;
        one_more.refused(403, "access_denied");
    }
    set("enabled").await;
    let one_more = call("POST", "/ssf/streams", json!({})).await;
    one_more.with(StatusCode::CREATED);
    let left = read(&app).await;
    assert!(left.len() == 2 && left.iter().all(|stream| stream["stream_id"] != id));
}
