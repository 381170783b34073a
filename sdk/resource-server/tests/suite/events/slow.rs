//! Bodies that take their time: what counts is whether the token holds when
//! all is there.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use writ_resource::WhenStale;
use writ_resource::events::Trouble;

use super::stage::{Stage, Way};
use crate::support::{NOW, Scene};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// A ping of which the first half was sent.
async fn begun(origin: &str, token: &str) -> TcpStream {
    let first = &PING[..10];
    let address = origin.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{first}",
        PING.len(),
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    connection
}

/// The answer to a ping of which the second half is sent after this.
async fn answer(origin: &str, token: &str, meanwhile: impl Future<Output = ()>) -> String {
    let mut connection = begun(origin, token).await;
    meanwhile.await;
    connection.write_all(&PING.as_bytes()[10..]).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[track_caller]
fn is(answer: &str, status: u16, words: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{answer}"
    );
    assert!(answer.contains(words), "{answer}");
}

#[tokio::test]
async fn a_token_that_is_revoked_meanwhile_is_refused() {
    let stage = Stage::new().await;
    let token = stage.token(&json!({}));
    is(&answer(&stage.origin, &token, async {}).await, 200, "alice");
    let revoked = async { stage.hears_revoked(&stage.grant("g1"), NOW).await };
    let answer = answer(&stage.origin, &token, revoked).await;
    is(&answer, 401, "revoked");
}

#[tokio::test]
async fn a_token_that_ends_meanwhile_is_refused() {
    let scene = Scene::fixed().await;
    let token = scene.token("");
    // To the end of its leeway, and on it.
    for (seconds, status, words) in [(329, 200, "agent"), (330, 401, "expired")] {
        let passes = async { scene.clock.advance(seconds) };
        is(&answer(&scene.origin, &token, passes).await, status, words);
        scene.clock.advance(-seconds);
    }
}

#[tokio::test]
async fn when_nobody_knows_any_more_it_is_asked_or_refused() {
    for refuse in [true, false] {
        let stage = Stage::with(Way::Push, |events| {
            if refuse {
                events.when_stale(WhenStale::Refuse)
            } else {
                events
            }
        })
        .await;
        let token = stage.token(&json!({}));
        let asked = || stage.transmitter.world().introspections;
        let silence = async {
            {
                let mut world = stage.transmitter.world();
                (world.mute, world.active) = (true, false);
            }
            stage.clock.advance(60);
            tokio::time::sleep(Duration::from_millis(50)).await;
            stage.clock.advance(10);
            stage.is_troubled_by(Some(Trouble::NoEcho)).await;
            assert_eq!(asked(), 0);
        };
        let answer = answer(&stage.origin, &token, silence).await;
        if refuse {
            is(&answer, 503, "not known");
        } else {
            is(&answer, 401, "revoked");
        }
        assert_eq!(asked(), usize::from(!refuse));
    }
}

#[tokio::test]
async fn a_body_has_to_be_here_in_time() {
    let scene = Scene::with(|protect| protect.body_timeout(Duration::from_millis(300))).await;
    let token = scene.token("");
    is(&answer(&scene.origin, &token, async {}).await, 200, "agent");
    let mut late = String::new();
    let mut connection = begun(&scene.origin, &token).await;
    connection.read_to_string(&mut late).await.unwrap();
    is(&late, 408, "in time");
}
