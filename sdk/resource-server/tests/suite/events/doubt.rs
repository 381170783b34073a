//! While it is not known whether a token was revoked.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use writ_resource::events::Trouble;
use writ_resource::{Events, VerifyError, WhenStale};

use super::stage::{Stage, Way, eventually};
use super::transmitter::{caep, risc, ssf};
use crate::support::{ED, NOW, RSA, Signer, jwks};

/// Lets verification events be asked for at the intervals they are.
async fn pass(stage: &Stage, seconds: i64) {
    let asked = stage.transmitter.world().verifications;
    let mut left = seconds;
    while left > 0 {
        // A feed that said nothing for 45 seconds would not be believed.
        stage.clock.advance(left.min(15));
        left -= 15;
        stage.transmitter.changed();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually(
        || stage.transmitter.world().verifications > asked,
        || "no verification event was asked for".to_owned(),
    )
    .await;
}

#[tokio::test]
async fn without_an_echo_every_token_is_asked_about() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events).await;
        stage.lives(&json!({})).await;
        assert_eq!(stage.transmitter.world().introspections, 0);
        stage.transmitter.world().mute = true;
        pass(&stage, 60).await;
        // Ten seconds have not passed.
        stage.clock.advance(9);
        stage.lives(&json!({})).await;
        assert_eq!(stage.transmitter.world().introspections, 0);
        stage.clock.advance(1);
        stage.is_troubled_by(Some(Trouble::NoEcho)).await;
        for asked in 1..3 {
            stage.lives(&json!({})).await;
            assert_eq!(stage.transmitter.world().introspections, asked);
        }
        stage.transmitter.world().active = false;
        stage.is_dead(&json!({})).await;
        // One echo, and nobody is asked any more.
        stage.transmitter.world().mute = false;
        pass(&stage, 5).await;
        stage.is_troubled_by(None).await;
        let asked = stage.transmitter.world().introspections;
        stage.lives(&json!({})).await;
        assert_eq!(stage.transmitter.world().introspections, asked);
    }
}

#[tokio::test]
async fn nobody_to_ask_is_an_answer_of_503() {
    let stage = Stage::with(Way::Feed, |events| events).await;
    stage.transmitter.world().broken = Some(StatusCode::BAD_GATEWAY);
    stage.transmitter.changed();
    stage.is_troubled_by(Some(Trouble::Unreachable)).await;
    let reply = stage.ping(&stage.token(&json!({}))).await;
    assert_eq!(reply.status, 503);
    assert!(reply.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn the_author_may_refuse_instead_of_asking() {
    let stage = Stage::with(Way::Push, |events| events.when_stale(WhenStale::Refuse)).await;
    stage.transmitter.world().mute = true;
    pass(&stage, 60).await;
    stage.clock.advance(10);
    stage.is_troubled_by(Some(Trouble::NoEcho)).await;
    let reply = stage.ping(&stage.token(&json!({}))).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("not known"));
    assert_eq!(stage.transmitter.world().introspections, 0);
    // A token that is wrong in itself is refused as ever.
    let old = json!({ "exp": NOW - 100, "iat": NOW - 200 });
    assert_eq!(stage.ping(&stage.token(&old)).await.status, 401);
}

#[tokio::test]
async fn the_age_of_a_proof_is_the_authors_choice() {
    let age = |events: Events| events.max_age(Duration::from_secs(15));
    let stage = Stage::with(Way::Push, age).await;
    assert_eq!(stage.health().verified_at, Some(NOW));
    assert!(stage.health().lag.is_some());
    pass(&stage, 5).await;
    stage
        .until(|health| health.verified_at == Some(NOW + 5))
        .await;
}

#[tokio::test]
async fn a_process_that_was_frozen_does_not_rely_on_what_it_knew() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        stage.lives(&json!({})).await;
        for (seconds, stale) in [(69, false), (1, true)] {
            stage.clock.advance(seconds);
            // At once, before any timer.
            let token = stage.token(&json!({}));
            let verified = stage.layer.verifier().verify(&token).await;
            let expected = stale.then_some(VerifyError::Stale);
            assert_eq!(verified.err(), expected, "{way:?}");
        }
        assert_eq!(stage.health().trouble, Some(Trouble::NoEcho));
        stage.is_troubled_by(None).await;
        stage.lives(&json!({})).await;
    }
}

#[tokio::test]
async fn a_proof_may_be_put_off_but_not_for_long() {
    let stage = Stage::with(Way::Push, |events| events.when_stale(WhenStale::Refuse)).await;
    stage.transmitter.world().too_soon = Some(5);
    pass(&stage, 60).await;
    for seconds in [5, 5] {
        assert_eq!(stage.health().trouble, None);
        pass(&stage, seconds).await;
    }
    stage.is_troubled_by(Some(Trouble::NoEcho)).await;
    stage.is_unknown(&json!({})).await;
    stage.transmitter.world().too_soon = None;
    pass(&stage, 5).await;
    stage.is_troubled_by(None).await;
    stage.lives(&json!({})).await;
}

#[tokio::test]
async fn only_the_state_that_was_asked_for_proves_anything() {
    let stage = Stage::new().await;
    let id = json!({ "format": "opaque", "id": "stream0" });
    stage.transmitter.world().mute = true;
    pass(&stage, 60).await;
    stage.clock.advance(10);
    stage.is_troubled_by(Some(Trouble::NoEcho)).await;
    // The transmitter's own has no state, and proves nothing.
    stage.hears(&id, &ssf("verification"), &json!({})).await;
    let guessed = stage
        .transmitter
        .set(&id, &ssf("verification"), &json!({ "state": "x" }));
    let (status, body) = stage
        .transmitter
        .push(&stage.transmitter.sign(&RSA, &guessed))
        .await;
    assert_eq!((status, &body["err"]), (400, &json!("invalid_state")));
    assert_eq!(stage.health().trouble, Some(Trouble::Starting));
    stage.is_unknown(&json!({})).await;
}

#[tokio::test]
async fn an_event_about_nobody_known_puts_everybody_in_doubt() {
    let subjects = [
        json!({ "format": "email", "email": "alice@example.com" }),
        json!({ "format": "opaque", "id": "x" }),
        json!({ "format": "unheard-of" }),
        json!({ "format": "complex", "device": { "format": "opaque", "id": "d" } }),
        json!({ "format": "aliases", "identifiers": [{ "format": "uri", "uri": "a:b" }] }),
    ];
    for subject in subjects {
        let stage = Stage::new().await;
        stage.lives(&json!({})).await;
        stage.hears_revoked(&subject, NOW).await;
        assert_eq!(stage.health().trouble, Some(Trouble::Doubt), "{subject}");
        stage.is_unknown(&json!({})).await;
        stage.clock.advance(3659);
        stage.is_unknown(&json!({})).await;
        stage.clock.advance(1);
        stage.is_troubled_by(None).await;
        stage.lives(&json!({})).await;
    }
    // Of whom nothing is revoked, nothing is in doubt.
    let stage = Stage::new().await;
    let email = json!({ "format": "email", "email": "alice@example.com" });
    stage
        .hears(&email, &risc("account-enabled"), &json!({}))
        .await;
    stage
        .hears(&email, &caep("session-presented"), &json!({}))
        .await;
    stage.lives(&json!({})).await;
    stage
        .hears(&email, &risc("account-disabled"), &json!({}))
        .await;
    stage.is_unknown(&json!({})).await;
}

#[tokio::test]
async fn a_fetched_set_of_an_unknown_key_waits_for_the_key_or_puts_all_in_doubt() {
    for way in [Way::Feed, Way::Poll] {
        for comes in [true, false] {
            let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
            let new = Signer::new("EdDSA", "new");
            let claims =
                stage
                    .transmitter
                    .set(&stage.user("alice"), &caep("session-revoked"), &json!({}));
            let set = stage.transmitter.sign(&new, &claims);
            stage.transmitter.queue(&set);
            stage.until(|health| health.refused == 1).await;
            if comes {
                stage.transmitter.world().keys = jwks(&[&RSA, &ED, &new]);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            stage.clock.advance(10);
            let token = json!({ "iat": NOW });
            if comes {
                stage.until(|health| health.remembered == 1).await;
                stage.is_dead(&token).await;
                stage.lives(&json!({ "sub": "bob" })).await;
            } else {
                stage.is_troubled_by(Some(Trouble::Doubt)).await;
                stage.is_unknown(&token).await;
            }
        }
    }
}

#[tokio::test]
async fn a_critical_member_must_be_understood() {
    let arrange = |transmitter: &super::transmitter::Transmitter| {
        transmitter.world().critical = vec!["tenant".to_owned(), "device".to_owned()];
    };
    let refuse = |events: Events| events.when_stale(WhenStale::Refuse);
    let stage = Stage::before(Way::Push, arrange, refuse)
        .await
        .ready()
        .await;
    let with = |name: &str| {
        json!({
            "format": "complex", "application": stage.user("a1"),
            name: { "format": "opaque", "id": "x" },
        })
    };
    // One that is not critical widens, one that is understood does nothing.
    for name in ["group", "tenant"] {
        stage.hears_revoked(&with(name), NOW).await;
        stage.is_dead(&json!({ "client_id": "a1" })).await;
        stage.lives(&json!({})).await;
    }
    stage.hears_revoked(&with("device"), NOW).await;
    stage.is_unknown(&json!({})).await;
    // The event itself is discarded.
    assert_eq!(stage.health().remembered, 1);
}

#[tokio::test]
async fn what_there_is_no_room_for_is_not_forgotten() {
    let full = |events: Events| events.memory(3).when_stale(WhenStale::Refuse);
    let stage = Stage::with(Way::Push, full).await;
    for sub in ["a", "b", "c"] {
        stage.hears_revoked(&stage.user(sub), NOW).await;
    }
    stage.lives(&json!({})).await;
    // The same again takes no room.
    stage.hears_revoked(&stage.user("a"), NOW + 1).await;
    stage.lives(&json!({})).await;
    stage.hears_revoked(&stage.user("d"), NOW).await;
    assert_eq!(stage.health().remembered, 3);
    assert_eq!(stage.health().trouble, Some(Trouble::Doubt));
    for sub in ["a", "b", "c"] {
        stage.is_dead(&json!({ "sub": sub })).await;
    }
    stage.is_unknown(&json!({ "sub": "d" })).await;
    stage.is_unknown(&json!({})).await;
    stage.clock.advance(3660);
    stage.is_troubled_by(None).await;
    stage.lives(&json!({ "sub": "d" })).await;
    // There is room again.
    stage.until(|health| health.remembered < 3).await;
    stage.hears_revoked(&stage.user("e"), NOW + 3660).await;
    stage.is_dead(&json!({ "sub": "e" })).await;
}

#[tokio::test]
async fn a_token_that_outlives_what_is_remembered_is_asked_about() {
    let brief = |events: Events| {
        events
            .token_lifetime(Duration::from_secs(600))
            .when_stale(WhenStale::Refuse)
    };
    let stage = Stage::with(Way::Push, brief).await;
    stage.lives(&json!({ "exp": NOW + 600 })).await;
    stage.is_unknown(&json!({ "exp": NOW + 601 })).await;
    assert_eq!(stage.transmitter.world().replays, [660]);
}

#[tokio::test]
async fn an_account_is_the_users_whatever_else_is_named() {
    let stage = Stage::new().await;
    let subject = json!({
        "format": "complex", "user": stage.user("u"), "application": stage.user("other"),
    });
    stage
        .hears(&subject, &risc("account-disabled"), &json!({}))
        .await;
    stage.is_dead(&json!({ "sub": "u" })).await;
    stage.lives(&json!({})).await;
}
