//! Finding, keeping and renewing the issuer's keys.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use writ_resource::{ManualClock, Verifier};

use crate::support::{Issuer, NOW, Scene, Signer, jwks};

fn signer(kid: &str) -> Signer {
    Signer::new("EdDSA", kid)
}

/// A scene whose issuer begins with these keys.
async fn scene_with(keys: &[&Signer]) -> Scene {
    Scene::behind(Issuer::start(jwks(keys)).await, |protect| protect).await
}

#[tokio::test]
async fn keys_are_discovered_once() {
    let old = signer("old");
    let scene = scene_with(&[&old]).await;
    for _ in 0..5 {
        scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    }
    assert_eq!(
        (scene.issuer.metadata_fetches(), scene.issuer.key_fetches()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_new_kid_is_fetched_at_once_and_then_rarely() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();

    // Within the floor nothing is fetched, however often it is asked.
    scene.issuer.publish(&[&old, &new]);
    scene.clock.advance(9);
    for _ in 0..20 {
        scene
            .ping(&new.token(&scene.claims("")))
            .await
            .is_invalid_token("no such key");
    }
    assert_eq!(scene.issuer.key_fetches(), 1);

    scene.clock.advance(1);
    scene.ping(&new.token(&scene.claims(""))).await.is_ok();
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    assert_eq!(scene.issuer.key_fetches(), 2);

    // Unknown ones cost one fetch per floor, and none is tried in their stead.
    for wave in 1..=3 {
        scene.clock.advance(10);
        for attempt in 0..10 {
            let mut header = new.header();
            header["kid"] = format!("unknown-{wave}-{attempt}").into();
            let token = new.raw(&header.to_string(), &scene.claims("").to_string());
            scene.ping(&token).await.is_invalid_token("no such key");
        }
        assert_eq!(scene.issuer.key_fetches(), 2 + wave);
    }
    // Discovery was needed only once.
    assert_eq!(scene.issuer.metadata_fetches(), 1);
}

#[tokio::test]
async fn a_withdrawn_key_goes_with_the_next_fetch() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    scene.issuer.publish(&[&new]);
    scene.clock.advance(10);
    scene.ping(&new.token(&scene.claims(""))).await.is_ok();
    scene
        .ping(&old.token(&scene.claims("")))
        .await
        .is_invalid_token("no such key");
}

#[tokio::test]
async fn callers_share_one_fetch() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.issuer.answer_after(Duration::from_millis(200));
    let tokens = |signer: &Signer| {
        (0..30)
            .map(|_| signer.token(&scene.claims("")))
            .collect::<Vec<_>>()
    };

    // Nobody knows a key yet: all wait for the first fetch, and all succeed.
    for (signer, fetches) in [(&old, 1), (&new, 2)] {
        scene.issuer.publish(&[&old, &new]);
        let tokens = tokens(signer);
        let calls = tokens.iter().map(|token| scene.ping(token));
        for reply in join_all(calls).await {
            reply.is_ok();
        }
        assert!(scene.issuer.key_fetches() <= fetches);
        scene.clock.advance(10);
    }
}

#[tokio::test]
async fn a_rotation_under_load_fails_nobody() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    scene.issuer.publish(&[&old, &new]);
    scene.issuer.answer_after(Duration::from_millis(100));
    scene.clock.advance(10);
    let tokens: Vec<_> = (0..40)
        .map(|at| if at % 2 == 0 { &old } else { &new }.token(&scene.claims("")))
        .collect();
    for reply in join_all(tokens.iter().map(|token| scene.ping(token))).await {
        reply.is_ok();
    }
    assert_eq!(scene.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_the_fetch() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    scene.issuer.publish(&[&old, &new]);
    scene.issuer.answer_after(Duration::from_millis(300));
    scene.clock.advance(10);
    let token = new.token(&scene.claims(""));
    let gone = tokio::time::timeout(Duration::from_millis(100), scene.ping(&token)).await;
    assert!(gone.is_err());
    scene.ping(&token).await.is_ok();
    assert_eq!(scene.issuer.key_fetches(), 2);
}

#[tokio::test]
async fn keys_age_and_are_renewed_in_the_background() {
    for (cache_control, fresh) in [
        ("max-age=100", 100),
        ("public, Max-Age=\"200\"", 200),
        // Bounded below and above; the default when nothing usable is said.
        ("max-age=0", 60),
        ("no-store", 300),
        ("max-age=99999999", 86_400),
        ("max-age=soon", 300),
    ] {
        let (old, new) = (signer("old"), signer("new"));
        let scene = scene_with(&[&old]).await;
        scene.issuer.cache_control(cache_control);
        scene.ping(&old.token(&scene.claims(""))).await.is_ok();
        scene.clock.advance(fresh - 1);
        scene.ping(&old.token(&scene.claims(""))).await.is_ok();
        assert_eq!(scene.issuer.key_fetches(), 1, "{cache_control}");
        scene.issuer.publish(&[&old, &new]);
        scene.clock.advance(1);
        // This call is served by what is there; it starts the renewal.
        scene.ping(&old.token(&scene.claims(""))).await.is_ok();
        scene.issuer.wait_for_fetches(2).await;
    }
}

#[tokio::test]
async fn a_failed_fetch_leaves_the_old_keys() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    scene
        .issuer
        .break_keys(Some(StatusCode::INTERNAL_SERVER_ERROR));
    scene.clock.advance(3600);
    for _ in 0..5 {
        scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    }
    scene.issuer.wait_for_fetches(2).await;
    // A key that the issuer may have by now: the token is not to be thrown away.
    for _ in 0..5 {
        let reply = scene.ping(&new.token(&scene.claims(""))).await;
        assert_eq!(reply.status, 503);
        assert!(reply.headers.contains_key("retry-after"));
    }
    assert_eq!(scene.issuer.key_fetches(), 2);

    // But not for ever: whoever keeps us from the issuer cannot keep a
    // withdrawn key alive.
    scene.clock.advance(24 * 3600);
    let reply = scene.ping(&old.token(&scene.claims(""))).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"], "temporarily_unavailable");
    assert!(reply.headers.contains_key("retry-after"));

    scene.issuer.break_keys(None);
    scene.clock.advance(10);
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
}

#[tokio::test]
async fn a_key_made_while_the_issuer_was_away_is_found_when_it_is_back() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    scene.issuer.publish(&[&old, &new]);
    scene.issuer.break_keys(Some(StatusCode::BAD_GATEWAY));
    scene.clock.advance(10);
    let reply = scene.ping(&new.token(&scene.claims(""))).await;
    assert_eq!(reply.status, 503);
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();

    scene.issuer.break_keys(None);
    scene.clock.advance(10);
    scene.ping(&new.token(&scene.claims(""))).await.is_ok();
    let stranger = signer("stranger").token(&scene.claims(""));
    scene.ping(&stranger).await.is_invalid_token("no such key");
}

/// A renewal whose task dies must not be the last one.
#[test]
fn keys_are_renewed_after_a_runtime_went_away() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let old = signer("old");
    let issuing = runtime();
    let issuer = issuing.block_on(Issuer::start(jwks(&[&old])));
    let clock = ManualClock::at(NOW);
    let verifier = Verifier::for_resource("http://127.0.0.1/mcp")
        .issuer(&issuer.url)
        .clock(clock.clone())
        .build()
        .unwrap();
    let token = || {
        old.token(&json!({
            "iss": issuer.url, "sub": "agent", "aud": "http://127.0.0.1/mcp",
            "exp": clock.now() + 300, "iat": clock.now(), "jti": "1", "client_id": "agent",
        }))
    };
    let first = runtime();
    first.block_on(verifier.verify(&token())).unwrap();
    issuer.answer_after(Duration::from_secs(600));
    clock.advance(300);
    first.block_on(async {
        verifier.verify(&token()).await.unwrap();
        issuer.wait_for_fetches(2).await;
    });
    first.shutdown_background();

    issuer.answer_after(Duration::ZERO);
    clock.advance(300);
    runtime().block_on(async {
        // The connection that died with its runtime may cost one more attempt.
        for _ in 0..100 {
            verifier.verify(&token()).await.unwrap();
            if issuer.key_fetches() > 2 {
                return;
            }
            clock.advance(10);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing was fetched any more");
    });
}

#[tokio::test]
async fn an_issuer_that_starts_later_is_found() {
    let old = signer("old");
    let scene = scene_with(&[&old]).await;
    scene.issuer.break_keys(Some(StatusCode::NOT_FOUND));
    assert_eq!(scene.ping(&old.token(&scene.claims(""))).await.status, 503);
    // What is wrong by itself is told at any time.
    scene.ping("a.b.c").await.is_invalid_token("");
    scene.issuer.break_keys(None);
    scene.clock.advance(1);
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
}

#[tokio::test]
async fn redirects_are_not_followed_and_documents_are_bounded() {
    let old = signer("old");
    for status in [
        StatusCode::FOUND,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::NO_CONTENT,
    ] {
        let scene = scene_with(&[&old]).await;
        scene.issuer.break_keys(Some(status));
        assert_eq!(scene.ping(&old.token(&scene.claims(""))).await.status, 503);
    }
    let padding = "x".repeat(600 * 1024);
    let huge = json!({"keys": [old.jwk()], "padding": padding});
    let scene = Scene::behind(Issuer::start(huge).await, |protect| protect).await;
    assert_eq!(scene.ping(&old.token(&scene.claims(""))).await.status, 503);

    let slow = Issuer::start(jwks(&[&old])).await;
    slow.answer_after(Duration::from_secs(5));
    let scene = Scene::behind(slow, |protect| {
        protect.fetch_timeout(Duration::from_millis(200))
    })
    .await;
    assert_eq!(scene.ping(&old.token(&scene.claims(""))).await.status, 503);
}

#[tokio::test]
async fn a_key_set_with_private_material_is_not_trusted() {
    let old = signer("old");
    for private in [json!({"kty": "oct", "k": "c2VjcmV0"}), {
        let mut jwk = old.jwk();
        jwk["d"] = "AA".into();
        jwk
    }] {
        let keys = json!({"keys": [old.jwk(), private]});
        let scene = Scene::behind(Issuer::start(keys).await, |protect| protect).await;
        assert_eq!(scene.ping(&old.token(&scene.claims(""))).await.status, 503);
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    let old = signer("old");
    let scene = scene_with(&[&old]).await;
    let (issuer, jwks_uri) = (
        scene.issuer.url.clone(),
        format!("{}/jwks.json", scene.issuer.url),
    );
    for metadata in [
        Some(json!({"issuer": format!("{issuer}/"), "jwks_uri": jwks_uri})),
        Some(json!({"issuer": issuer.to_uppercase(), "jwks_uri": jwks_uri})),
        Some(json!({"jwks_uri": jwks_uri})),
        Some(json!({"issuer": issuer})),
        Some(json!({"issuer": issuer, "jwks_uri": "http://keys.example/jwks.json"})),
        Some(json!({"issuer": issuer, "jwks_uri": "file:///etc/passwd"})),
        Some(json!([])),
        None,
    ] {
        scene.issuer.say_metadata(metadata.clone());
        scene.clock.advance(1);
        let reply = scene.ping(&old.token(&scene.claims(""))).await;
        assert_eq!(reply.status, 503, "{metadata:?}");
    }
    assert_eq!(scene.issuer.key_fetches(), 0);
    scene.issuer.say_metadata(Some(
        json!({"issuer": issuer, "jwks_uri": jwks_uri, "x": 1}),
    ));
    scene.clock.advance(1);
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
}

/// RFC 8414 §3.1, OpenID Connect Discovery 1.0 §4, in the order of MCP.
#[tokio::test]
async fn metadata_is_found_in_every_form() {
    let old = signer("old");
    for (path, fetches) in [
        ("/.well-known/oauth-authorization-server/t/acme", 1),
        ("/.well-known/openid-configuration/t/acme", 2),
        ("/t/acme/.well-known/openid-configuration", 3),
    ] {
        let scene = scene_with(&[&old]).await;
        scene.issuer.metadata_at(path);
        scene.ping(&old.token(&scene.claims(""))).await.is_ok();
        assert_eq!(scene.issuer.metadata_fetches(), fetches);
    }
}

/// An address that reaches this machine without being a loopback address.
#[tokio::test]
async fn keys_are_not_fetched_in_the_clear() {
    let old = signer("old");
    let scene = scene_with(&[&old]).await;
    let jwks_uri = format!("{}/jwks.json", scene.issuer.url).replace("127.0.0.1", "0.0.0.0");
    scene.issuer.say_metadata(Some(
        json!({"issuer": scene.issuer.url, "jwks_uri": jwks_uri}),
    ));
    let reply = scene.ping(&old.token(&scene.claims(""))).await;
    assert_eq!((reply.status, scene.issuer.key_fetches()), (503, 0));
}

#[tokio::test]
async fn a_given_jwks_uri_needs_no_discovery() {
    let old = signer("old");
    let issuer = Issuer::start(jwks(&[&old])).await;
    let uri = format!("{}/jwks.json", issuer.url);
    let scene = Scene::behind(issuer, |protect| protect.jwks_uri(uri)).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    assert_eq!(scene.issuer.metadata_fetches(), 0);
}

#[tokio::test]
async fn fixed_keys_are_never_fetched() {
    let scene = Scene::fixed().await;
    let stranger = signer("stranger");
    scene.ping(&scene.token("")).await.is_ok();
    scene.clock.advance(100_000);
    scene
        .ping(&stranger.token(&scene.claims("")))
        .await
        .is_invalid_token("no such key");
    scene.ping(&scene.token("")).await.is_ok();
    assert_eq!(
        (scene.issuer.metadata_fetches(), scene.issuer.key_fetches()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_clock_set_back_does_not_stop_fetching() {
    let (old, new) = (signer("old"), signer("new"));
    let scene = scene_with(&[&old]).await;
    scene.ping(&old.token(&scene.claims(""))).await.is_ok();
    scene.issuer.publish(&[&old, &new]);
    scene.clock.advance(-10_000);
    scene.ping(&new.token(&scene.claims(""))).await.is_ok();
}

/// All at once, on the one thread the test has.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        let mut waiting = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(
            futures
                .iter_mut()
                .filter_map(|(_, output)| output.take())
                .collect(),
        )
    })
    .await
}
