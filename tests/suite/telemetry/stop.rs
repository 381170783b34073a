//! How a server ends: what it took on is finished.

use std::time::Duration;

use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::Running;
use crate::support::status;

async fn get(server: &Running, path: &str) -> u16 {
    let url = format!("{}{path}", server.issuer);
    let answer = reqwest::Client::new().get(url).send().await;
    answer.unwrap().status().as_u16()
}

/// A token request, of which `cut` bytes of the body are kept back.
fn token_request(server: &Running, cut: usize) -> (String, String) {
    let issuer = &server.issuer;
    let body = format!(
        "grant_type=client_credentials&client_id=admin&client_secret={}&resource={issuer}/admin&scope=writ:read",
        server.admin_secret()
    );
    let head = format!(
        "POST /token HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\ncontent-type: \
         application/x-www-form-urlencoded\r\n\r\n",
        body.len()
    );
    let (now, later) = body.split_at(body.len() - cut);
    (format!("{head}{now}"), later.to_owned())
}

#[tokio::test]
async fn requests_under_way_are_answered_and_kept() {
    let mut server = Running::start(&[]).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let (now, later) = token_request(&server, 5);
        connection.write_all(now.as_bytes()).await.unwrap();
        connections.push((connection, later));
    }
    sleep(Duration::from_millis(300)).await;
    server.terminate();
    sleep(Duration::from_millis(300)).await;
    assert!(TcpStream::connect(server.address()).await.is_err());
    for (mut connection, later) in connections {
        connection.write_all(later.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(answer.contains("access_token"));
    }
    assert!(server.ended().await.success());
    // What was answered is there at the next start.
    let kept = server.directory.path().join("data/writ.db");
    let kept = format!("sqlite://{}", kept.display());
    let db = sea_orm::Database::connect(kept).await.unwrap();
    let issued = entity::audit_event::Entity::find()
        .filter(entity::audit_event::Column::Kind.eq("token.issued"));
    assert_eq!(issued.count(&db).await.unwrap(), 20);
}

#[tokio::test]
async fn readiness_goes_before_the_door_closes() {
    let mut server = Running::start(&[("WRIT_SERVER__SHUTDOWN_DELAY", "600")]).await;
    assert_eq!(get(&server, "/readyz").await, 200);
    server.terminate();
    let mut ready = 200;
    for _ in 0..500 {
        ready = get(&server, "/readyz").await;
        if ready != 200 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ready, 503);
    // It answers as before to whoever has not heard yet; a second signal ends the wait.
    assert_eq!(get(&server, "/jwks.json").await, 200);
    server.terminate();
    assert!(server.ended().await.success());
}
