//! How a receiver begins: its stream, and what was revoked before.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use writ_resource::events::Trouble;
use writ_resource::{Events, ManualClock, Protect, SetupError, Verifier, WhenStale};

use super::stage::{PATH, Stage, Way, eventually};
use super::transmitter::{Transmitter, caep, ssf};
use crate::support::NOW;

#[tokio::test]
async fn a_stream_from_before_is_found_again() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events).await;
        assert_eq!(stage.transmitter.world().created, 0, "{way:?}");
        assert_eq!(stage.health().stream_id.as_deref(), Some("stream0"));
        assert_eq!(stage.health().unknown_before, None);
        assert_eq!(stage.transmitter.world().replays, [3660]);
    }
}

#[tokio::test]
async fn a_stream_is_made_where_there_is_none_of_ones_own() {
    for way in Way::ALL {
        let arrange = |transmitter: &Transmitter| {
            let mut world = transmitter.world();
            let stream = world.streams.get_mut("stream0").unwrap();
            stream.object["description"] = json!("somebody else's");
        };
        let stage = Stage::before(way, arrange, |events| events.instance("pod-1"))
            .await
            .ready()
            .await;
        let world = stage.transmitter.world();
        assert_eq!((world.created, world.streams.len()), (1, 2), "{way:?}");
        let made = &world.streams["stream1"].object;
        assert_eq!(made["description"], "writ-resource pod-1");
        assert_eq!(made["delivery"]["method"], way.method());
        assert!(made["events_requested"].as_array().unwrap().len() >= 10);
        if way == Way::Push {
            assert_eq!(
                made["delivery"]["endpoint_url"],
                format!("{}{PATH}", stage.origin)
            );
        }
    }
}

#[tokio::test]
async fn a_stream_is_kept_when_events_are_to_come_in_another_way() {
    for (before, after) in [(Way::Feed, Way::Push), (Way::Push, Way::Poll)] {
        let stage = Stage::with(before, |events| events).await;
        let events = after.events().when_stale(WhenStale::Refuse);
        let stage = stage.restarted(events).await.ready().await;
        assert_eq!(stage.transmitter.world().created, 0);
        let stream = stage.transmitter.stream();
        assert_eq!(stream.object["delivery"]["method"], after.method());
        assert_eq!(stream.secret.is_some(), after == Way::Push);
        stage.lives(&json!({})).await;
    }
}

#[tokio::test]
async fn what_was_revoked_before_a_start_is_known_after_it() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        let subject = stage.user("alice");
        let payload = json!({ "event_timestamp": NOW });
        if way == Way::Push {
            let claims = stage
                .transmitter
                .set(&subject, &caep("session-revoked"), &payload);
            let set = stage.transmitter.sign(&crate::support::RSA, &claims);
            stage.transmitter.queue(&set);
            assert_eq!(stage.transmitter.push(&set).await.0, 202);
        } else {
            stage
                .transmitter
                .emit(&subject, &caep("session-revoked"), &payload);
            stage.until(|health| health.remembered == 1).await;
            let all_taken = || stage.transmitter.stream().sets.iter().all(|set| set.2);
            eventually(all_taken, || "not acknowledged".to_owned()).await;
        }
        let old_secret = stage.transmitter.stream().secret;
        let events = way.events().when_stale(WhenStale::Refuse);
        let stage = stage.restarted(events).await.ready().await;
        stage.is_dead(&json!({})).await;
        stage.lives(&json!({ "sub": "bob" })).await;
        assert_eq!(stage.transmitter.world().created, 0);
        assert_eq!(stage.health().unknown_before, None);
        if way == Way::Push {
            let secret = stage.transmitter.stream().secret;
            assert!(secret.is_some() && secret != old_secret);
        }
    }
}

#[tokio::test]
async fn until_all_of_it_is_here_nothing_is_relied_on() {
    let arrange = |transmitter: &Transmitter| transmitter.world().mute = true;
    let refuse = |events: Events| events.when_stale(WhenStale::Refuse);
    let stage = Stage::before(Way::Feed, arrange, refuse).await;
    eventually(
        || stage.transmitter.world().verifications == 1,
        || "none".to_owned(),
    )
    .await;
    assert_eq!(stage.health().trouble, Some(Trouble::Starting));
    stage.is_unknown(&json!({})).await;
    stage.transmitter.world().mute = false;
    // The answer to the first never comes; another is asked for.
    stage.clock.advance(10);
    stage
        .until(|health| health.trouble == Some(Trouble::Starting))
        .await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        stage.clock.advance(5);
    }
    stage.is_troubled_by(None).await;
    stage.lives(&json!({})).await;
}

#[tokio::test]
async fn a_past_that_was_not_told_to_its_end_is_told_again() {
    let refuse = |events: Events| events.when_stale(WhenStale::Refuse);
    for way in [Way::Feed, Way::Poll] {
        for broken in [true, false] {
            let arrange = |transmitter: &Transmitter| transmitter.world().mute = true;
            let stage = Stage::before(way, arrange, refuse).await;
            let replays = || stage.transmitter.world().replays.len();
            eventually(|| replays() == 1, || "not asked for".to_owned()).await;
            let open = || stage.transmitter.listening() == 1;
            eventually(open, || "not open".to_owned()).await;
            // The answer ends, or nothing works for a moment.
            let status = |status: &str, code| {
                let mut world = stage.transmitter.world();
                status.clone_into(&mut world.streams.get_mut("stream0").unwrap().status);
                world.broken = code;
                drop(world);
                stage.transmitter.changed();
            };
            if broken {
                status("enabled", Some(StatusCode::BAD_GATEWAY));
                stage
                    .until(|health| health.trouble == Some(Trouble::Starting))
                    .await;
                eventually(|| !open(), || "still open".to_owned()).await;
            } else {
                status("paused", None);
                eventually(|| !open(), || "still open".to_owned()).await;
            }
            stage.transmitter.world().mute = false;
            status("enabled", None);
            stage.is_troubled_by(None).await;
            assert!(replays() >= 2, "{way:?} {broken}");
            assert_eq!(stage.health().unknown_before, None);
            stage.lives(&json!({})).await;
        }
    }
}

#[tokio::test]
async fn a_past_that_is_cut_short_is_not_all_of_it() {
    let arrange = |transmitter: &Transmitter| {
        for sub in ["one", "two"] {
            let subject = json!({ "format": "iss_sub", "iss": transmitter.url, "sub": sub });
            transmitter.emit(&subject, &caep("session-revoked"), &json!({}));
        }
        transmitter.world().cut_after = Some(1);
    };
    let refuse = |events: Events| events.when_stale(WhenStale::Refuse);
    let stage = Stage::before(Way::Push, arrange, refuse).await;
    let replays = || stage.transmitter.world().replays.len();
    eventually(|| replays() >= 2, || "not asked for again".to_owned()).await;
    assert_eq!(stage.health().remembered, 1);
    assert_eq!(stage.health().trouble, Some(Trouble::Starting));
    stage.is_unknown(&json!({ "sub": "two" })).await;
    stage.transmitter.world().cut_after = None;
    stage.is_troubled_by(None).await;
    stage.is_dead(&json!({ "sub": "two" })).await;
    assert_eq!(stage.health().unknown_before, None);
}

#[tokio::test]
async fn without_history_older_tokens_are_asked_about() {
    for (way, has_feed, has_replay) in [
        (Way::Push, false, false),
        (Way::Push, true, false),
        (Way::Poll, false, false),
        (Way::Poll, true, false),
        (Way::Feed, true, false),
    ] {
        let arrange = |transmitter: &Transmitter| {
            let mut world = transmitter.world();
            (world.has_feed, world.has_replay) = (has_feed, has_replay);
        };
        let refuse = |events: Events| events.when_stale(WhenStale::Refuse);
        let stage = Stage::before(way, arrange, refuse).await.ready().await;
        assert_eq!(stage.health().unknown_before, Some(NOW + 1), "{way:?}");
        stage.is_unknown(&json!({})).await;
        stage.lives(&json!({ "iat": NOW + 1 })).await;
        // What it is told counts at once, also for those.
        stage.clock.advance(3659);
        let old = json!({ "iat": NOW, "exp": NOW + 3600 + 90 });
        stage.is_unknown(&old).await;
        stage.clock.advance(1);
        stage.until(|health| health.unknown_before.is_none()).await;
        stage.is_troubled_by(None).await;
        stage
            .lives(&json!({ "iat": NOW + 100, "exp": NOW + 3690 }))
            .await;
    }
}

#[tokio::test]
async fn a_stream_that_is_gone_is_made_again_and_told_the_past() {
    for has_replay in [true, false] {
        let stage = Stage::with(Way::Feed, |events| events.when_stale(WhenStale::Refuse)).await;
        stage.lives(&json!({})).await;
        stage.transmitter.world().has_replay = has_replay;
        stage.transmitter.world().streams.clear();
        stage.transmitter.changed();
        stage
            .until(|health| health.stream_id.as_deref() != Some("stream0"))
            .await;
        stage.is_troubled_by(None).await;
        if has_replay {
            assert_eq!(stage.transmitter.world().replays, [3660, 3660]);
            stage.lives(&json!({})).await;
        } else {
            stage.is_unknown(&json!({})).await;
            stage.lives(&json!({ "iat": NOW + 1 })).await;
        }
    }
}

#[tokio::test]
async fn a_new_process_learns_the_past_from_a_stream_of_its_own() {
    let stage = Stage::with(Way::Feed, |events| events.when_stale(WhenStale::Refuse)).await;
    let payload = json!({ "event_timestamp": NOW });
    stage
        .transmitter
        .emit(&stage.user("alice"), &caep("session-revoked"), &payload);
    // That the stream was stopped once is of the past as well.
    let paused = json!({ "status": "paused" });
    stage.transmitter.emit(
        &json!({ "format": "opaque", "id": "stream0" }),
        &ssf("stream-updated"),
        &paused,
    );
    stage.until(|health| health.remembered == 1).await;
    let events = Way::Feed.events().instance("another");
    let stage = stage.restarted(events.when_stale(WhenStale::Refuse)).await;
    let stage = stage.ready().await;
    assert_eq!(stage.transmitter.world().created, 1);
    stage.is_dead(&json!({})).await;
    stage.lives(&json!({ "sub": "bob" })).await;
}

#[tokio::test]
async fn a_paused_stream_is_set_going() {
    let arrange = |transmitter: &Transmitter| {
        let mut world = transmitter.world();
        "paused".clone_into(&mut world.streams.get_mut("stream0").unwrap().status);
    };
    let stage = Stage::before(Way::Feed, arrange, |events| events)
        .await
        .ready()
        .await;
    assert_eq!(stage.transmitter.stream().status, "enabled");
}

#[tokio::test]
async fn a_stream_for_another_resource_is_not_used() {
    let arrange = |transmitter: &Transmitter| {
        let mut world = transmitter.world();
        world.streams.clear();
        world.resource = "https://other.example/mcp".to_owned();
    };
    let stage = Stage::before(Way::Feed, arrange, |events| events).await;
    stage.is_troubled_by(Some(Trouble::Stopped)).await;
    let world = stage.transmitter.world();
    assert_eq!((world.created, world.streams.len()), (1, 0));
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let arrange = |transmitter: &Transmitter| {
        transmitter.world().issuer = Some("https://other.example".to_owned());
    };
    let stage = Stage::before(Way::Feed, arrange, |events| events).await;
    stage.is_troubled_by(Some(Trouble::Starting)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(stage.health().trouble, Some(Trouble::Starting));
    assert_eq!(stage.transmitter.world().tokens, 0);
}

#[tokio::test]
async fn a_transmitter_without_a_feed_is_said_to_have_none() {
    let arrange = |transmitter: &Transmitter| {
        transmitter.world().has_feed = false;
    };
    let stage = Stage::before(Way::Feed, arrange, |events| events).await;
    stage.is_troubled_by(Some(Trouble::Stopped)).await;
}

/// A verifier without a server, and the transmitter that it hears.
async fn verifier(leeway: u64) -> (Verifier, Transmitter) {
    let clock = ManualClock::at(NOW);
    let transmitter = Transmitter::start(clock.clone()).await;
    "https://mcp.example/mcp".clone_into(&mut transmitter.world().resource);
    transmitter.has_stream(Way::Feed.method());
    let verifier = Verifier::for_resource("https://mcp.example/mcp")
        .issuer(&transmitter.url)
        .clock(clock)
        .leeway(Duration::from_secs(leeway))
        .events(Way::Feed.events())
        .build()
        .unwrap();
    (verifier, transmitter)
}

#[tokio::test]
async fn the_past_is_as_long_as_tokens_are_accepted() {
    for (leeway, past) in [(30, 3660), (300, 4200)] {
        let (verifier, transmitter) = verifier(leeway).await;
        let ready = || verifier.health().unwrap().trouble.is_none();
        eventually(ready, || "not ready".to_owned()).await;
        assert_eq!(transmitter.world().replays, [past]);
    }
}

#[tokio::test]
async fn the_receiver_ends_with_its_verifier() {
    let (verifier, transmitter) = verifier(30).await;
    let clone = verifier.clone();
    let listening = || transmitter.listening();
    eventually(|| listening() == 1, || "no feed".to_owned()).await;
    drop(verifier);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(listening(), 1);
    drop(clone);
    eventually(|| listening() == 0, || "still there".to_owned()).await;
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let build = |events: Events| {
        Protect::resource("https://mcp.example/mcp")
            .issuer("https://auth.example")
            .events(events)
            .build()
    };
    let events = || Events::with_credentials("rs", "very secret");
    let seconds = Duration::from_secs;
    for wrong in [
        events().max_age(seconds(14)),
        events().token_lifetime(seconds(0)),
        events().token_lifetime(seconds(518_401)),
        events().push("/mcp"),
        events().push("/events?x=1"),
        events().push("http://mcp.example/events"),
        events().push("https://u:p@mcp.example/events"),
        events().push("events"),
    ] {
        assert!(matches!(
            build(wrong),
            Err(SetupError::Events(_) | SetupError::Url { .. })
        ),);
    }
    for right in [
        events(),
        events().poll().max_age(seconds(15)),
        events().push("/events").token_lifetime(seconds(518_400)),
        events().push("https://inside.example:8443/events"),
    ] {
        assert!(!format!("{right:?}").contains("very secret"));
        // Built where there is no runtime: nothing begins yet.
        let layer = build(right).unwrap();
        assert_eq!(layer.health().unwrap().trouble, Some(Trouble::Starting));
    }
}
