//! OpenID Connect Back-Channel Logout 1.0.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use writ::{store::people::Sessions, users::session};

use super::{client, tokens};
use crate::support::{Person, TestApp, parts, refusal};

/// Where a client is told, on loopback.
#[derive(Clone)]
struct Host {
    url: String,
    told: Arc<Mutex<Vec<String>>>,
    answer: Arc<AtomicU16>,
}

impl Host {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            url: format!("http://{}/logout", listener.local_addr().unwrap()),
            told: Arc::default(),
            answer: Arc::new(AtomicU16::new(200)),
        };
        let tell = |State(host): State<Self>, headers: HeaderMap, body: String| async move {
            assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
            host.told.lock().unwrap().push(body);
            StatusCode::from_u16(host.answer.load(Ordering::SeqCst)).unwrap()
        };
        let router = Router::new()
            .route("/logout", post(tell))
            .with_state(host.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        host
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// The token of the request with this number, which may be on its way.
    async fn token(&self, number: usize) -> String {
        for _ in 0..400 {
            if let Some(body) = self.told.lock().unwrap().get(number) {
                return body.strip_prefix("logout_token=").unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the client was told {} times", self.count());
    }
}

async fn scene() -> (TestApp, Host) {
    let app = TestApp::with(|c| c.fetch.allow_private_addresses_for_tests = true).await;
    let host = Host::start().await;
    let settings = json!({ "backchannel_logout_uri": host.url });
    client(&app, "rp", settings).await;
    (app, host)
}

async fn end(app: &TestApp, person: &Person<'_>, which: Sessions) {
    let tenant = app.tenant(None);
    session::end(&app.state, &tenant, &person.user, which)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_is_told_that_a_session_has_ended() {
    let (app, host) = scene().await;
    let quiet = Host::start().await;
    client(
        &app,
        "quiet",
        json!({ "backchannel_logout_uri": quiet.url }),
    )
    .await;
    client(&app, "deaf", json!({})).await;
    let person = app.signed_in("ann").await;
    let id_token = tokens(&app, &person, "rp").await["id_token"].clone();
    tokens(&app, &person, "deaf").await;
    let elsewhere = app.sign_in(person.user.clone()).await;
    tokens(&app, &elsewhere, "quiet").await;
    end(&app, &person, Sessions::One(person.sid.clone())).await;
    let token = host.token(0).await;
    // Back-Channel Logout §2.4.
    let (header, _) = parts(&token);
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("logout+jwt"), &json!("RS256"))
    );
    let mut claims = app.claims(&token).await;
    assert!(claims["jti"].as_str().unwrap().len() >= 22);
    claims.as_object_mut().unwrap().remove("jti");
    let expected = json!({
        "iss": app.issuer, "aud": "rp", "iat": app.now(), "exp": app.now() + 120,
        "sub": person.user.id, "sid": person.sid,
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    assert_eq!(claims, expected);
    let of_id_token = parts(id_token.as_str().unwrap()).1;
    assert_eq!(
        (&of_id_token["sid"], &of_id_token["sub"]),
        (&claims["sid"], &claims["sub"])
    );
    // AC-310: it is no ID token.
    let hint = json!({ "client_id": "rp", "id_token_hint": token });
    assert_eq!(refusal(&elsewhere.open(&hint).await), "invalid_request");
    // The other session goes on, and nobody is told anything twice.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!((host.count(), quiet.count()), (1, 0));
    end(&app, &elsewhere, Sessions::Of(person.user.id.clone())).await;
    let claims = app.claims(&quiet.token(0).await).await;
    assert_eq!(claims["sid"], elsewhere.sid);
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_told_again_also_by_the_next_start() {
    let (app, host) = scene().await;
    host.answer.store(503, Ordering::SeqCst);
    let person = app.signed_in("ann").await;
    tokens(&app, &person, "rp").await;
    end(&app, &person, Sessions::One(person.sid.clone())).await;
    let first = host.token(0).await;
    // Not before its time.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(host.count(), 1);
    let app = app.restart().await;
    app.advance(16);
    let second = host.token(1).await;
    host.answer.store(204, Ordering::SeqCst);
    app.advance(31);
    let third = host.token(2).await;
    let [first, second, third] = [first, second, third].map(|token| parts(&token).1);
    assert_eq!(first["sid"], second["sid"]);
    assert_eq!(second["sid"], third["sid"]);
    // Each token is one of its own, and fresh.
    assert_ne!(first["jti"], second["jti"]);
    assert_eq!(third["iat"], app.now());
    app.advance(100_000);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(host.count(), 3);
}

#[tokio::test]
async fn a_session_ends_with_its_person() {
    let (app, host) = scene().await;
    let person = app.signed_in("ann").await;
    tokens(&app, &person, "rp").await;
    let remove = writ::store::people::Change::RemoveUser {
        tenant: "default".into(),
        id: person.user.id.clone(),
    };
    app.commit(vec![writ::store::Change::People(remove)])
        .await
        .unwrap();
    assert_eq!(parts(&host.token(0).await).1["sid"], person.sid);
    // A code may be redeemed after the session has ended: then the client is told at once.
    let person = app.signed_in("bob").await;
    let over = json!({
        "client_id": "rp", "scope": "openid offline_access", "resource": null, "prompt": "consent",
    });
    let code = person.code(&over).await;
    end(&app, &person, Sessions::One(person.sid.clone())).await;
    let redeemed = app.redeem(&code, &json!({ "client_id": "rp" })).await;
    assert_eq!(redeemed.status, 200, "{}", redeemed.text());
    assert_eq!(parts(&host.token(1).await).1["sid"], person.sid);
}

#[tokio::test]
#[ignore = "two nodes need PostgreSQL"]
async fn only_one_of_two_nodes_tells() {
    let (app, host) = scene().await;
    let other = app.another_node("b").await;
    for number in 0..4 {
        let person = app.signed_in(&format!("person-{number}")).await;
        tokens(&app, &person, "rp").await;
        end(&app, &person, Sessions::One(person.sid.clone())).await;
    }
    host.token(3).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let told = host.told.lock().unwrap().clone();
    let sids: std::collections::BTreeSet<String> = told
        .iter()
        .map(|body| parts(&body["logout_token=".len()..]).1["sid"].to_string())
        .collect();
    assert_eq!((told.len(), sids.len()), (4, 4));
    drop(other);
}

#[tokio::test]
async fn where_a_client_is_told_has_to_be_said_well() {
    let app = TestApp::new().await;
    let register = |uri: &str| {
        let body = json!({
            "redirect_uris": ["https://app.example/cb"], "backchannel_logout_uri": uri,
            "backchannel_logout_session_required": true,
            "post_logout_redirect_uris": ["https://app.example/out"],
        });
        app.post("/register").json(&body)
    };
    let registered = register("https://app.example/told").await;
    let registered: Value = registered.with(StatusCode::CREATED);
    assert_eq!(
        registered["backchannel_logout_uri"],
        "https://app.example/told"
    );
    assert_eq!(registered["backchannel_logout_session_required"], true);
    assert_eq!(
        registered["post_logout_redirect_uris"],
        json!(["https://app.example/out"])
    );
    for bad in [
        "http://app.example/told",
        "https://app.example/told#x",
        "told",
        "http://127.0.0.1/",
    ] {
        register(bad).await.refused(400, "invalid_client_metadata");
    }
    let body = json!({
        "redirect_uris": ["https://app.example/cb"],
        "post_logout_redirect_uris": ["javascript:alert(1)"],
    });
    let refused = app.post("/register").json(&body).await;
    refused.refused(400, "invalid_client_metadata");
}

/// Takes connections and never answers.
async fn tarpit() -> (String, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://127.0.0.1:{}/",
        listener.local_addr().unwrap().port()
    );
    let taken = Arc::new(AtomicU16::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    (url, taken)
}

#[tokio::test]
async fn a_host_that_does_not_answer_holds_up_nobody_else() {
    let (app, host) = scene().await;
    let (url, taken) = tarpit().await;
    client(&app, "stuck", json!({ "backchannel_logout_uri": url })).await;
    // By another name it is another host.
    let own = host.url.replace("127.0.0.1", "localhost");
    client(&app, "rp", json!({ "backchannel_logout_uri": own })).await;
    let bob = app.signed_in("bob").await;
    for _ in 0..40 {
        let person = app.sign_in(bob.user.clone()).await;
        tokens(&app, &person, "stuck").await;
    }
    let ann = app.signed_in("ann").await;
    tokens(&app, &ann, "rp").await;
    end(&app, &bob, Sessions::Of(bob.user.id.clone())).await;
    while taken.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    end(&app, &ann, Sessions::One(ann.sid.clone())).await;
    let token = host.token(0).await;
    assert_eq!(parts(&token).1["sid"], ann.sid);
    // Those that are held wait out their time, and few are.
    assert!(taken.load(Ordering::SeqCst) <= 8);
}
