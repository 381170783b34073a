//! The authorization server is asked whether a token still holds (RFC 7662).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use writ_resource::{Introspect, ProtectBuilder};

use crate::support::{ED, Issuer, NOW, Scene, jwks, signers};

const SIGNED: &str = "application/token-introspection+jwt";

/// An introspection endpoint that says what it is told to say.
#[derive(Clone)]
struct Endpoint {
    url: String,
    state: Arc<EndpointState>,
}

struct EndpointState {
    says: Mutex<(StatusCode, String)>,
    delay: Mutex<Duration>,
    asked: AtomicUsize,
    /// Token, Authorization and Accept of the last question.
    last: Mutex<(String, String, String)>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let state = Arc::new(EndpointState {
            says: Mutex::new((StatusCode::OK, json!({ "active": true }).to_string())),
            delay: Mutex::default(),
            asked: AtomicUsize::new(0),
            last: Mutex::default(),
        });
        let router = Router::new()
            .route("/introspect", post(answer))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    fn says(&self, answer: &Value) {
        self.says_text(StatusCode::OK, &answer.to_string());
    }

    fn says_text(&self, status: StatusCode, text: &str) {
        *self.state.says.lock().unwrap() = (status, text.to_owned());
    }

    fn answers_after(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    fn last(&self) -> (String, String, String) {
        self.state.last.lock().unwrap().clone()
    }

    fn per_call(&self) -> Introspect {
        Introspect::per_call("rs 1", "s+1").endpoint(&self.url)
    }

    fn cached(&self, keep: u64) -> Introspect {
        Introspect::cached("rs 1", "s+1", Duration::from_secs(keep), 100).endpoint(&self.url)
    }
}

async fn answer(
    State(state): State<Arc<EndpointState>>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Response {
    state.asked.fetch_add(1, Ordering::SeqCst);
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let token = form.into_iter().find(|(name, _)| name == "token").unwrap();
    *state.last.lock().unwrap() = (token.1, header("authorization"), header("accept"));
    // What was true when it was asked, however long that takes to arrive.
    let (status, text) = state.says.lock().unwrap().clone();
    let delay = *state.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    (status, text).into_response()
}

async fn scene(introspect: Introspect) -> Scene {
    Scene::with(|protect: ProtectBuilder| protect.introspect(introspect)).await
}

#[tokio::test]
async fn every_call_asks_and_a_revoked_token_is_refused_at_once() {
    let endpoint = Endpoint::start().await;
    let scene = scene(endpoint.per_call()).await;
    let token = scene.token("tool:forecast");
    for count in 1..=2 {
        scene.call_tool(&token, "forecast").await.is_ok();
        assert_eq!(endpoint.asked(), count);
    }
    // RFC 6749 §2.3.1: identifier and secret are form-encoded inside.
    let basic = "Basic cnMrMTpzJTJCMQ==".to_owned();
    assert_eq!(
        endpoint.last(),
        (token.clone(), basic, "application/json".into())
    );
    endpoint.says(&json!({ "active": false }));
    scene
        .ping(&token)
        .await
        .is_invalid_token("has been revoked");
}

#[tokio::test]
async fn what_does_not_verify_here_is_not_asked_about() {
    let endpoint = Endpoint::start().await;
    let scene = scene(endpoint.per_call()).await;
    let mut claims = scene.claims("tool:forecast");
    claims["aud"] = json!("https://other.example");
    for token in ["junk", &ED.token(&claims)] {
        assert_eq!(scene.ping(token).await.status, 401);
    }
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_was_said_and_never_past_the_token() {
    let endpoint = Endpoint::start().await;
    let scene = scene(endpoint.cached(600)).await;
    let token = scene.token("tool:forecast");
    scene.ping(&token).await.is_ok();
    scene.clock.advance(299);
    scene.ping(&token).await.is_ok();
    assert_eq!(endpoint.asked(), 1);
    // The token is over, but for the leeway: what was said of it is over too.
    scene.clock.advance(1);
    scene.ping(&token).await.is_ok();
    assert_eq!(endpoint.asked(), 2);

    let other = Endpoint::start().await;
    let scene = self::scene(other.cached(10)).await;
    let token = scene.token("tool:forecast");
    scene.ping(&token).await.is_ok();
    other.says(&json!({ "active": false }));
    scene.clock.advance(9);
    scene.ping(&token).await.is_ok();
    scene.clock.advance(2);
    scene.ping(&token).await.is_invalid_token("revoked");
    // A no is kept as well.
    scene.ping(&token).await.is_invalid_token("revoked");
    assert_eq!(other.asked(), 2);
}

#[tokio::test]
async fn what_the_server_says_of_the_end_counts_too() {
    let endpoint = Endpoint::start().await;
    endpoint.says(&json!({ "active": true, "exp": NOW + 5 }));
    let scene = scene(endpoint.cached(600)).await;
    let token = scene.token("tool:forecast");
    scene.ping(&token).await.is_ok();
    scene.clock.advance(5);
    scene.ping(&token).await.is_ok();
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test]
async fn calls_that_come_together_ask_once() {
    let endpoint = Endpoint::start().await;
    endpoint.answers_after(Duration::from_millis(100));
    let scene = scene(endpoint.cached(60)).await;
    let token = scene.token("tool:forecast");
    let (a, b, c) = tokio::join!(scene.ping(&token), scene.ping(&token), scene.ping(&token));
    for reply in [a, b, c] {
        reply.is_ok();
    }
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test]
async fn an_answer_is_as_old_as_its_question() {
    let endpoint = Endpoint::start().await;
    let keep = Duration::from_millis(300);
    let introspect = Introspect::cached("rs 1", "s+1", keep, 100).endpoint(&endpoint.url);
    let scene = scene(introspect).await;
    let token = scene.token("tool:forecast");
    // It travels for longer than it counts: the next request asks anew.
    endpoint.answers_after(Duration::from_millis(400));
    scene.ping(&token).await.is_ok();
    scene.ping(&token).await.is_ok();
    assert_eq!(endpoint.asked(), 2);

    // And so does one that found a question under way which is too old for it.
    tokio::time::sleep(keep).await;
    endpoint.answers_after(Duration::from_millis(1000));
    let late = async {
        tokio::time::sleep(2 * keep).await;
        endpoint.says(&json!({ "active": false }));
        endpoint.answers_after(Duration::ZERO);
        scene.ping(&token).await
    };
    let (_, late) = tokio::join!(scene.ping(&token), late);
    late.is_invalid_token("revoked");
    assert_eq!(endpoint.asked(), 4);
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_vouches_for_nothing() {
    let endpoint = Endpoint::start().await;
    let introspect = endpoint.cached(60).timeout(Duration::from_millis(200));
    let scene = scene(introspect).await;
    let token = scene.token("tool:forecast");
    let unavailable = async |why: &str| {
        let reply = scene.ping(&token).await;
        // Not 401: the client would throw away a token that may be good.
        assert_eq!(reply.status, 503, "{why}");
        assert_eq!(reply.headers["retry-after"], "2", "{why}");
        assert!(!reply.headers.contains_key("www-authenticate"), "{why}");
    };
    for (status, text) in [
        (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#),
        (StatusCode::INTERNAL_SERVER_ERROR, ""),
        (StatusCode::FOUND, r#"{"active":true}"#),
        (StatusCode::OK, "<html>"),
        (StatusCode::OK, "{}"),
        (StatusCode::OK, r#"{"active":"true"}"#),
        (StatusCode::OK, r#"{"active":false,"active":true}"#),
        (
            StatusCode::OK,
            &format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(600 * 1024)),
        ),
    ] {
        endpoint.says_text(status, text);
        unavailable(text.get(..40).unwrap_or(text)).await;
    }
    endpoint.says(&json!({ "active": true }));
    endpoint.answers_after(Duration::from_secs(2));
    unavailable("slow").await;
    // A failure is not remembered.
    endpoint.answers_after(Duration::ZERO);
    scene.ping(&token).await.is_ok();
}

#[tokio::test]
async fn scopes_that_the_server_does_not_name_are_gone() {
    let endpoint = Endpoint::start().await;
    endpoint.says(&json!({ "active": true, "scope": "tool:forecast tool:other" }));
    let scene = scene(endpoint.per_call()).await;
    let token = scene.token("tool:forecast tool:alert");
    scene.call_tool(&token, "forecast").await.is_ok();
    assert_eq!(scene.call_tool(&token, "alert").await.status, 403);
    // And none are added.
    let small = scene.token("tool:alert");
    assert_eq!(scene.call_tool(&small, "forecast").await.status, 403);
}

#[tokio::test]
async fn the_endpoint_is_found_in_the_metadata() {
    let endpoint = Endpoint::start().await;
    let issuer = Issuer::start(jwks(&signers())).await;
    issuer.say_metadata(Some(json!({
        "issuer": issuer.url, "jwks_uri": format!("{}/jwks.json", issuer.url),
    })));
    let scene = Scene::behind(issuer, |protect| {
        protect.introspect(Introspect::per_call("rs", "secret"))
    })
    .await;
    let token = scene.token("tool:forecast");
    assert_eq!(scene.ping(&token).await.status, 503);
    scene.issuer.say_metadata(Some(json!({
        "issuer": scene.issuer.url, "jwks_uri": format!("{}/jwks.json", scene.issuer.url),
        "introspection_endpoint": endpoint.url,
    })));
    scene.ping(&token).await.is_ok();
    let fetches = scene.issuer.metadata_fetches();
    scene.ping(&token).await.is_ok();
    assert_eq!(scene.issuer.metadata_fetches(), fetches);
}

#[tokio::test]
async fn a_signed_answer_must_be_signed_for_us_and_now() {
    let endpoint = Endpoint::start().await;
    let scene = scene(endpoint.per_call().signed()).await;
    let own = scene.claims("tool:forecast");
    let token = ED.token(&own);
    let header = json!({ "alg": "EdDSA", "kid": ED.kid, "typ": "token-introspection+jwt" });
    let named = json!({
        "active": true, "jti": own["jti"], "sub": own["sub"], "client_id": own["client_id"],
    });
    let claims = |active: bool| {
        json!({
            "iss": scene.issuer.url, "aud": "rs 1", "iat": NOW,
            "token_introspection": if active { named.clone() } else { json!({ "active": false }) },
        })
    };
    let says = |header: &Value, claims: &Value| {
        let text = ED.raw(&header.to_string(), &claims.to_string());
        endpoint.says_text(StatusCode::OK, &text);
    };
    says(&header, &claims(true));
    scene.ping(&token).await.is_ok();
    assert_eq!(endpoint.last().2, SIGNED);
    says(&header, &claims(false));
    scene.ping(&token).await.is_invalid_token("revoked");
    // Unsigned, for another one, of another time, of another kind.
    endpoint.says(&json!({ "active": true }));
    assert_eq!(scene.ping(&token).await.status, 503);
    for (member, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("rs 2")),
        ("iat", json!(NOW - 61)),
        ("iat", json!(NOW + 61)),
        ("token_introspection", Value::Null),
    ] {
        let mut wrong = claims(true);
        wrong[member] = value;
        says(&header, &wrong);
        assert_eq!(scene.ping(&token).await.status, 503, "{wrong}");
    }
    // Of another token: each of these names it, and must be there.
    for member in ["jti", "sub", "client_id"] {
        for value in [json!("another"), Value::Null] {
            let mut wrong = claims(true);
            wrong["token_introspection"][member] = value;
            says(&header, &wrong);
            assert_eq!(scene.ping(&token).await.status, 503, "{wrong}");
        }
    }
    let mut access_token = header.clone();
    access_token["typ"] = json!("at+jwt");
    says(&access_token, &claims(true));
    assert_eq!(scene.ping(&token).await.status, 503);
}

#[test]
fn the_secret_is_not_printed() {
    let introspect = Introspect::per_call("rs", "very secret");
    assert_eq!(format!("{introspect:?}"), "Introspect(rs)");
}
