//! The three ways events get here.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use writ_resource::WhenStale;
use writ_resource::events::Trouble;

use super::stage::{Stage, Way, eventually};
use super::transmitter::{caep, risc, ssf};
use crate::support::{ED, NOW, RSA};

#[tokio::test]
async fn what_is_queued_is_felt_and_acknowledged() {
    for way in [Way::Feed, Way::Poll] {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        stage.lives(&json!({})).await;
        let before = stage.health().received;
        stage.transmitter.emit(
            &stage.grant("g1"),
            &caep("session-revoked"),
            &json!({ "event_timestamp": NOW }),
        );
        stage.until(|health| health.received > before).await;
        stage.is_dead(&json!({})).await;
        stage.lives(&json!({ "grant_id": "g2" })).await;
        let all_taken = || stage.transmitter.stream().sets.iter().all(|set| set.2);
        eventually(all_taken, || format!("{way:?}: not acknowledged")).await;
        assert_eq!(
            stage.transmitter.world().refusals,
            Vec::<serde_json::Value>::new()
        );
    }
}

#[tokio::test]
async fn what_is_refused_is_told_and_does_not_stop_the_others() {
    for way in [Way::Feed, Way::Poll] {
        let stage = Stage::with(way, |events| events).await;
        let subject = stage.user("alice");
        let mut wrong = stage
            .transmitter
            .set(&subject, &caep("session-revoked"), &json!({}));
        wrong["aud"] = json!("https://other.example");
        stage
            .transmitter
            .queue(&stage.transmitter.sign(&ED, &wrong));
        stage.transmitter.queue("garbage");
        let mut long = stage
            .transmitter
            .set(&subject, &caep("session-revoked"), &json!({}));
        long["pad"] = json!("x".repeat(200_000));
        stage.transmitter.queue(&stage.transmitter.sign(&ED, &long));
        stage
            .transmitter
            .emit(&stage.grant("g1"), &caep("session-revoked"), &json!({}));
        stage.until(|health| health.remembered == 1).await;
        stage.is_dead(&json!({})).await;
        stage.lives(&json!({ "grant_id": "g2" })).await;
        assert_eq!(stage.health().refused, 3);
        let told = || -> serde_json::Map<_, _> {
            let world = stage.transmitter.world();
            let refusals = world.refusals.iter();
            refusals
                .flat_map(|refusal| refusal.as_object().unwrap().clone())
                .collect()
        };
        eventually(|| told().len() == 3, || format!("{way:?}: {:?}", told())).await;
        let told = told();
        assert_eq!(
            told[wrong["jti"].as_str().unwrap()]["err"],
            "invalid_audience"
        );
        assert_eq!(
            told[long["jti"].as_str().unwrap()]["err"],
            "invalid_request"
        );
        assert_eq!(told["unreadable"]["err"], "invalid_request");
    }
}

#[tokio::test]
async fn a_feed_that_ends_is_opened_again_where_it_was() {
    let stage = Stage::with(Way::Feed, |events| events.when_stale(WhenStale::Refuse)).await;
    let first = stage
        .transmitter
        .emit(&stage.user("a"), &caep("session-revoked"), &json!({}));
    stage.until(|health| health.remembered == 1).await;
    // As when its token has ended: the answer ends, and a new one works.
    let id = stage.transmitter.stream().object["stream_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let status = |status: &str| {
        status.clone_into(
            &mut stage
                .transmitter
                .world()
                .streams
                .get_mut(&id)
                .unwrap()
                .status,
        );
        stage.transmitter.changed();
    };
    status("paused");
    let feeds = stage.transmitter.world().feeds;
    eventually(
        || stage.transmitter.world().feeds > feeds,
        || "not again".to_owned(),
    )
    .await;
    status("enabled");
    stage
        .transmitter
        .emit(&stage.user("b"), &caep("session-revoked"), &json!({}));
    stage.until(|health| health.remembered == 2).await;
    stage.is_dead(&json!({ "sub": "b" })).await;
    assert_eq!(stage.transmitter.world().last_event_ids[0], first);
    assert_eq!(stage.health().trouble, None);
}

#[tokio::test]
async fn an_api_token_that_is_refused_is_renewed() {
    let stage = Stage::with(Way::Poll, |events| events).await;
    let tokens = stage.transmitter.world().tokens;
    stage.transmitter.world().valid.clear();
    stage
        .transmitter
        .emit(&stage.user("a"), &caep("session-revoked"), &json!({}));
    stage.until(|health| health.remembered == 1).await;
    eventually(
        || stage.transmitter.world().tokens > tokens,
        || "no token".to_owned(),
    )
    .await;
    assert_eq!(stage.health().trouble, None);
}

#[tokio::test]
async fn a_transmitter_that_breaks_is_noticed_and_found_again() {
    for way in [Way::Feed, Way::Poll] {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        stage
            .transmitter
            .emit(&stage.user("a"), &caep("session-revoked"), &json!({}));
        stage.until(|health| health.remembered == 1).await;
        stage.transmitter.world().broken = Some(StatusCode::SERVICE_UNAVAILABLE);
        stage.transmitter.changed();
        stage
            .transmitter
            .emit(&stage.user("b"), &caep("session-revoked"), &json!({}));
        stage.is_troubled_by(Some(Trouble::Unreachable)).await;
        // What is known to be over is; of all else nobody knows.
        stage.is_dead(&json!({ "sub": "a" })).await;
        stage.is_unknown(&json!({})).await;
        stage.transmitter.world().broken = None;
        stage.is_troubled_by(None).await;
        stage.is_dead(&json!({ "sub": "a" })).await;
        stage.is_dead(&json!({ "sub": "b" })).await;
        stage.lives(&json!({})).await;
        // What was told once more was known.
        assert_eq!(stage.health().remembered, 2);
    }
}

#[tokio::test]
async fn a_stream_that_is_stopped_by_the_transmitter_is_not_relied_on() {
    let stage = Stage::with(Way::Push, |events| events.when_stale(WhenStale::Refuse)).await;
    let id = json!({ "format": "opaque", "id": "stream0" });
    let updated = ssf("stream-updated");
    let status = |status: &str| {
        let mut world = stage.transmitter.world();
        status.clone_into(&mut world.streams.get_mut("stream0").unwrap().status);
        world.mute = status != "enabled";
    };
    status("paused");
    stage
        .hears(&id, &updated, &json!({ "status": "paused" }))
        .await;
    assert_eq!(stage.health().trouble, Some(Trouble::Unreachable));
    stage.is_unknown(&json!({})).await;
    // It is set going again, and proved.
    eventually(
        || stage.transmitter.stream().status == "enabled",
        || "still paused".to_owned(),
    )
    .await;
    stage.is_unknown(&json!({})).await;
    status("enabled");
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.clock.advance(5);
    }
    stage.is_troubled_by(None).await;
    stage.lives(&json!({})).await;
}

#[tokio::test]
async fn a_feed_that_says_nothing_is_not_believed() {
    let stage = Stage::with(Way::Feed, |events| events.when_stale(WhenStale::Refuse)).await;
    let feeds = stage.transmitter.world().feeds;
    // Within 45 seconds it says that it is there, or it is not.
    stage.clock.advance(44);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.health().trouble, None);
    stage.clock.advance(1);
    eventually(
        || stage.transmitter.world().feeds > feeds,
        || "not opened".to_owned(),
    )
    .await;
    stage.is_troubled_by(None).await;
}

#[tokio::test]
async fn what_cannot_be_checked_now_comes_again() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        let new = crate::support::Signer::new("EdDSA", "new");
        let (subject, revoked) = (stage.user("alice"), caep("session-revoked"));
        let set = stage.transmitter.set(&subject, &revoked, &json!({}));
        let set = stage.transmitter.sign(&new, &set);
        // The key is new, and the keys cannot be fetched.
        stage.transmitter.world().keys = json!("broken");
        for _ in 0..4 {
            stage.clock.advance(15);
            stage.transmitter.changed();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if way == Way::Push {
            assert_eq!(stage.transmitter.push(&set).await.0, 503);
        } else {
            stage.transmitter.queue(&set);
            stage.is_troubled_by(Some(Trouble::Unreachable)).await;
        }
        stage.transmitter.world().keys = crate::support::jwks(&[&RSA, &new]);
        stage.clock.advance(60);
        if way == Way::Push {
            assert_eq!(stage.transmitter.push(&set).await.0, 202);
        }
        stage.until(|health| health.remembered == 1).await;
        stage.is_troubled_by(None).await;
        assert_eq!(
            stage.transmitter.world().refusals,
            Vec::<serde_json::Value>::new()
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_in_a_burst() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events).await;
        for number in 0..300 {
            let subject = stage.user(&format!("u{number}"));
            if way == Way::Push {
                stage
                    .hears(&subject, &risc("account-disabled"), &json!({}))
                    .await;
            } else {
                stage
                    .transmitter
                    .emit(&subject, &risc("account-disabled"), &json!({}));
            }
        }
        stage.until(|health| health.remembered == 300).await;
        stage.is_dead(&json!({ "sub": "u0" })).await;
        stage.is_dead(&json!({ "sub": "u299" })).await;
        stage.lives(&json!({ "sub": "u300" })).await;
    }
}

#[tokio::test]
async fn what_a_stopped_stream_threw_away_is_told_again() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        stage.lives(&json!({})).await;
        // Disabled and enabled again, with nobody looking; in between, this.
        let set = stage
            .transmitter
            .set(&stage.user("alice"), &caep("session-revoked"), &json!({}));
        let lost = stage.transmitter.sign(&RSA, &set);
        let jti = set["jti"].as_str().unwrap().to_owned();
        {
            let mut world = stage.transmitter.world();
            let stream = world.streams.values_mut().next().unwrap();
            stream.sets.push((jti, lost, true));
        }
        let id = json!({ "format": "opaque", "id": "stream0" });
        let (updated, enabled) = (ssf("stream-updated"), json!({ "status": "enabled" }));
        if way == Way::Push {
            stage.hears(&id, &updated, &enabled).await;
        } else {
            stage.transmitter.emit(&id, &updated, &enabled);
        }
        stage.until(|health| health.remembered == 1).await;
        stage.is_troubled_by(None).await;
        stage.is_dead(&json!({})).await;
        stage.lives(&json!({ "sub": "bob" })).await;
        assert_eq!(stage.transmitter.world().replays, [3660, 3660], "{way:?}");
    }
}
