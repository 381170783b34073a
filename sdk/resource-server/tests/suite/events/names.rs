//! A stream belongs to one receiver.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span;
use writ_resource::events::Trouble;
use writ_resource::{Events, Protect, ProtectLayer, WhenStale};

use super::stage::{Stage, Way, eventually};
use super::transmitter::{Transmitter, caep, ssf};
use crate::support::{NOW, RSA};

/// One more receiver of the same server, whose author gave it no name.
fn nameless(stage: &Stage) -> ProtectLayer {
    Protect::resource(&stage.resource)
        .issuer(&stage.transmitter.url)
        .clock(stage.clock.clone())
        .events(Events::with_credentials("rs", "secret"))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_drawn_name_is_nobody_elses_and_its_stream_goes_with_it() {
    let stage = Stage::with(Way::Feed, |events| events).await;
    let (one, other) = (nameless(&stage), nameless(&stage));
    for layer in [&one, &other] {
        let ready = || layer.health().unwrap().trouble.is_none();
        eventually(ready, || "not ready".to_owned()).await;
    }
    let id = |layer: &ProtectLayer| layer.health().unwrap().stream_id.unwrap();
    let names = || -> Vec<String> {
        let world = stage.transmitter.world();
        let streams = world.streams.values();
        streams
            .map(|stream| stream.object["description"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = names();
    assert_eq!(first.len(), 3);
    assert!(first[1] != first[2] && first[1].starts_with("writ-resource "));
    assert_ne!(id(&one), id(&other));
    // Each hears of everything.
    for id in [id(&one), id(&other)] {
        let subject = stage.user("alice");
        stage
            .transmitter
            .emit_on(&id, &subject, &caep("session-revoked"), &json!({}));
    }
    for layer in [&one, &other] {
        let told = || layer.health().unwrap().remembered == 1;
        eventually(told, || "not told".to_owned()).await;
    }

    one.verifier().close().await;
    assert_eq!(names().len(), 2);
    assert_eq!(one.health().unwrap().trouble, Some(Trouble::Stopped));
    one.verifier().close().await;
    drop(other);
    eventually(|| names().len() == 1, || format!("{:?}", names())).await;
    // The one with a name of its own stays, for the next process.
    stage.layer.verifier().close().await;
    assert_eq!(names(), ["writ-resource rs"]);
}

#[tokio::test]
async fn a_stream_that_somebody_else_reads_is_told_again() {
    for way in Way::ALL {
        let stage = Stage::with(way, |events| events.when_stale(WhenStale::Refuse)).await;
        stage.lives(&json!({})).await;
        let subject = stage.user("alice");
        let taken = stage
            .transmitter
            .set(&subject, &caep("session-revoked"), &json!({}));
        let state = json!({ "state": "f00d00.somebody-elses" });
        let id = json!({ "format": "opaque", "id": "stream0" });
        let echo = stage.transmitter.set(&id, &ssf("verification"), &state);
        let signed = |claims| stage.transmitter.sign(&RSA, claims);
        {
            // What another receiver of this stream has acknowledged.
            let mut world = stage.transmitter.world();
            let stream = world.streams.get_mut("stream0").unwrap();
            let jti = taken["jti"].as_str().unwrap().to_owned();
            stream.sets.push((jti, signed(&taken), true));
        }
        if way == Way::Push {
            let (status, body) = stage.transmitter.push(&signed(&echo)).await;
            assert_eq!((status, &body["err"]), (400, &json!("invalid_state")));
        } else {
            stage.transmitter.queue(&signed(&echo));
        }
        stage.until(|health| health.remembered == 1).await;
        stage.is_troubled_by(None).await;
        stage.is_dead(&json!({})).await;
        stage.lives(&json!({ "sub": "bob" })).await;
        assert_eq!(stage.transmitter.world().replays, [3660, 3660], "{way:?}");
    }
}

#[tokio::test]
async fn two_with_one_name_do_not_have_each_other_begin_again_for_ever() {
    let stage = Stage::with(Way::Feed, |events| events).await;
    let other = Protect::resource(&stage.resource)
        .issuer(&stage.transmitter.url)
        .clock(stage.clock.clone())
        .events(Way::Feed.events())
        .build()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(other.health().unwrap().stream_id, stage.health().stream_id);
    let replays = stage.transmitter.world().replays.len();
    assert!((3..=12).contains(&replays), "{replays}");
}

#[tokio::test]
async fn a_verification_event_of_before_the_start_says_nothing() {
    let stage = Stage::new().await;
    let id = json!({ "format": "opaque", "id": "stream0" });
    let state = json!({ "state": "f00d00.of-the-process-before" });
    let mut echo = stage.transmitter.set(&id, &ssf("verification"), &state);
    echo["iat"] = json!(NOW - 1);
    let echo = stage.transmitter.sign(&RSA, &echo);
    assert_eq!(stage.transmitter.push(&echo).await.0, 202);
    stage.lives(&json!({})).await;
}

#[tokio::test]
async fn a_stream_is_used_before_the_transmitter_gives_it_up() {
    let arrange = |transmitter: &Transmitter| {
        let mut world = transmitter.world();
        let stream = world.streams.get_mut("stream0").unwrap();
        stream.object["inactivity_timeout"] = json!(20);
    };
    let stage = Stage::before(Way::Push, arrange, |events| events)
        .await
        .ready()
        .await;
    stage.clock.advance(10);
    stage
        .until(|health| health.verified_at == Some(NOW + 10))
        .await;
}

#[tokio::test]
async fn the_log_says_what_to_do_when_there_are_too_many() {
    let said = Log::default();
    let _guard = tracing::subscriber::set_default(said.clone());
    let arrange = |transmitter: &Transmitter| transmitter.world().most = 1;
    let named = |events: Events| events.instance("one more");
    let stage = Stage::before(Way::Feed, arrange, named).await;
    eventually(
        || {
            ["streams_per_client", "writ stream list", "Events::instance"]
                .iter()
                .all(|words| said.has("ERROR", words))
        },
        || said.0.lock().unwrap().join("\n"),
    )
    .await;
    stage.transmitter.world().most = 2;
    stage.is_troubled_by(None).await;
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn has(&self, level: &str, words: &str) -> bool {
        let lines = self.0.lock().unwrap();
        let mut lines = lines.iter();
        lines.any(|line| line.starts_with(level) && line.contains(words))
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
