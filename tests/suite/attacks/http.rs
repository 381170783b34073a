//! U. HTTP itself, on real sockets: limits, slowness, broken framing.

use std::time::Duration;

use crate::support::{Connection, LiveServer, TestApp, short_limits, status};

const TOKEN: &str =
    "POST /token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";

/// One request on its own connection, and the status it got.
async fn ask(server: &LiveServer, request: &str) -> u16 {
    status(&server.send(request).await)
}

/// The statuses of the answers on one connection, in order.
fn statuses(text: &str) -> Vec<u16> {
    text.match_indices("HTTP/1.1 ")
        .map(|(at, _)| status(&text[at..]))
        .collect()
}

// AC-315
#[tokio::test]
async fn a_body_over_the_limit_is_not_read() {
    let server = LiveServer::start(short_limits).await;
    for path in ["/token", "/register"] {
        let media_type = if path == "/token" {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\n");
        // What Content-Length says is enough: no byte of the body is sent.
        for length in ["4097", "1000000000", "9223372036854775807"] {
            let request = format!("{head}content-length: {length}\r\n\r\n");
            assert_eq!(ask(&server, &request).await, 413, "{path} {length}");
        }
        // Without it, the server stops at the limit.
        let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096));
        let request = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
        assert_eq!(ask(&server, &request).await, 413, "{path} chunked");
        // And at the limit it still reads.
        let body = "a".repeat(4096);
        let request = format!("{head}connection: close\r\ncontent-length: 4096\r\n\r\n{body}");
        assert_eq!(
            ask(&server, &request).await,
            if path == "/token" { 401 } else { 400 },
            "{path}"
        );
    }
    assert_eq!(server.honest().await, 200);
}

// AC-316
#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let server = LiveServer::start(short_limits).await;
    let long = format!(
        "GET /jwks.json HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    assert_eq!(ask(&server, &long).await, 431);
    let many: String = (0..500).map(|i| format!("x-{i}: 1\r\n")).collect();
    let many = format!("GET /jwks.json HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert_eq!(ask(&server, &many).await, 431);
    // A block that never ends.
    let endless = format!(
        "GET /jwks.json HTTP/1.1\r\nhost: x\r\nx: {}",
        "a".repeat(300_000)
    );
    assert_eq!(ask(&server, &endless).await, 431);
    assert_eq!(server.honest().await, 200);
}

// AC-316
#[tokio::test]
async fn a_uri_over_the_limit_is_refused() {
    let server = LiveServer::start(|config| {
        short_limits(config);
        config.limits.headers = 200_000;
    })
    .await;
    let long = format!(
        "GET /jwks.json?{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "a".repeat(70_000)
    );
    assert_eq!(ask(&server, &long).await, 414);
    assert_eq!(server.honest().await, 200);
}

#[tokio::test]
async fn programs_in_browsers_may_know_that_it_is_too_long() {
    let app = TestApp::weather().await;
    let answer = app.post(&format!("/token?{}", "a".repeat(25_000))).await;
    assert_eq!(answer.status, 414);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

// AC-317
#[tokio::test]
async fn slow_senders_are_cut_off_and_hold_nobody_up() {
    let server = LiveServer::start(short_limits).await;
    let mut slow: Vec<(Connection, &str)> = Vec::new();
    for _ in 0..30 {
        let mut headers = server.connect().await;
        headers
            .write("GET /jwks.json HTTP/1.1\r\nhost: x\r\nx-slow: ")
            .await;
        slow.push((headers, "headers"));
        let mut body = server.connect().await;
        body.write(format!("{TOKEN}content-length: 1000\r\n\r\ngrant_type="))
            .await;
        slow.push((body, "body"));
    }
    // While all of them hang, everyone else is served.
    for _ in 0..5 {
        assert_eq!(server.honest().await, 200);
    }
    // A byte now and then does not keep them alive: the deadline is for the whole.
    for _ in 0..2 {
        for (connection, _) in &mut slow {
            connection.write("a").await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // `rest` returns when the server closes, and fails when it does not.
    for (mut connection, what) in slow {
        let answer = status(&connection.rest().await);
        assert!(matches!(answer, 0 | 408), "{what}: {answer}");
    }
}

// AC-318
#[tokio::test]
async fn idle_connections_are_closed_and_bounded() {
    let server = LiveServer::start(|config| {
        short_limits(config);
        config.limits.connections = 8;
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..24 {
        idle.push(server.connect().await);
    }
    // More than may be open at once: whoever comes waits for a place, and gets one.
    assert_eq!(server.honest().await, 200);
    for mut connection in idle {
        connection.rest().await;
    }
}

// AC-319
#[tokio::test]
async fn methods_nobody_serves_are_refused() {
    let server = LiveServer::start(short_limits).await;
    for method in ["TRACE", "BREW", "PROPFIND", "get", "LINK", "M-SEARCH"] {
        for path in ["/token", "/jwks.json", "/register", "/admin/clients"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let answer = server.send(&request).await;
            assert!(
                matches!(status(&answer), 405 | 501),
                "{method} {path}: {answer}"
            );
            assert!(!answer.contains("BREW"), "{answer}");
        }
    }
    for target in ["example.org:443", "x:443", "/token"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = ask(&server, &request).await;
        assert!(
            matches!(answer, 400 | 404 | 405 | 501),
            "CONNECT {target}: {answer}"
        );
    }
    assert_eq!(server.honest().await, 200);
}

// AC-319
#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = LiveServer::start(short_limits).await;
    for path in [
        "/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/healthz",
    ] {
        let request = |method: &str| {
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        };
        let (got, head) = (
            server.send(request("GET")).await,
            server.send(request("HEAD")).await,
        );
        let (got_headers, got_body) = got.split_once("\r\n\r\n").unwrap();
        let (head_headers, head_body) = head.split_once("\r\n\r\n").unwrap();
        assert!(!got_body.is_empty());
        assert_eq!(head_body, "");
        let without_date_and_id = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|l| !l.starts_with("date:") && !l.starts_with("x-request-id:"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(
            without_date_and_id(got_headers),
            without_date_and_id(head_headers)
        );
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order_and_apart() {
    let server = LiveServer::start(short_limits).await;
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let post = format!("{TOKEN}content-length: 1\r\n\r\nx");
    let last = "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = server.send(format!("{get}{post}{get}{last}")).await;
    assert_eq!(statuses(&answers), [200, 401, 200, 404]);
}

#[tokio::test]
async fn framing_that_can_be_read_two_ways_is_refused() {
    let server = LiveServer::start(short_limits).await;
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for framing in [
        "content-length: -1\r\n",
        "content-length: x\r\n",
        "content-length: 1, 2\r\n",
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: +1\r\n",
        "content-length: 0x1\r\n",
        "content-length: 99999999999999999999999999\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: identity\r\n",
        " content-length: 1\r\n",
        "content-length : 1\r\n",
    ] {
        let answers = server.send(format!("{TOKEN}{framing}\r\n{smuggled}")).await;
        let statuses = statuses(&answers);
        // One refusal, and what follows is never taken for a request.
        assert!(statuses.len() <= 1, "{framing}: {statuses:?}");
        assert!(
            statuses.iter().all(|s| (400..500).contains(s) || *s == 501),
            "{framing}: {statuses:?}"
        );
    }
    for chunks in [
        "x\r\n",
        "-1\r\n",
        "ffffffffffffffffff\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "5\r\nab",
    ] {
        let mut connection = server.connect().await;
        connection
            .write(format!("{TOKEN}transfer-encoding: chunked\r\n\r\n{chunks}"))
            .await;
        connection.finish().await;
        let answers = connection.rest().await;
        let statuses = statuses(&answers);
        assert!(
            statuses.iter().all(|s| (400..500).contains(s)),
            "{chunks}: {statuses:?}"
        );
    }
    assert_eq!(server.honest().await, 200);
}

#[tokio::test]
async fn length_and_chunks_together_never_smuggle_a_request() {
    let server = LiveServer::start(short_limits).await;
    // RFC 9112 §6.3: Transfer-Encoding wins, or the message is refused; Content-Length never does.
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let request = format!(
        "{TOKEN}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    let mut connection = server.connect().await;
    connection.write(request).await;
    connection.finish().await;
    let answers = connection.rest().await;
    assert!((400..500).contains(&status(&answers)), "{answers}");
}

#[tokio::test]
async fn what_is_no_http_is_answered_once_or_not_at_all() {
    let server = LiveServer::start(short_limits).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nho st: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
    ] {
        let mut connection = server.connect().await;
        connection.write(bytes).await;
        connection.finish().await;
        let answers = connection.rest().await;
        let statuses = statuses(&answers);
        assert!(statuses.len() <= 1, "{statuses:?}");
        assert!(
            statuses.iter().all(|s| (400..500).contains(s) || *s == 505),
            "{answers}"
        );
    }
    assert_eq!(server.honest().await, 200);
}

#[tokio::test]
async fn the_request_target_may_be_absolute_and_the_host_anything() {
    let server = LiveServer::start(short_limits).await;
    for (target, host) in [
        (
            "http://evil.example/.well-known/oauth-authorization-server",
            "evil.example",
        ),
        ("/.well-known/oauth-authorization-server", "evil.example"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = server.send(request).await;
        assert_eq!(status(&answer), 200, "{target}");
        assert!(
            answer.contains(&server.server.issuer) && !answer.contains("evil"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_request_without_one_plain_host_is_refused() {
    let server = LiveServer::start(short_limits).await;
    // RFC 9112 §3.2.
    for host in [
        "",
        "host: \r\n",
        "host: a\r\nhost: a\r\n",
        "host: a\r\nhost: b\r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: user@a\r\n",
        "host: a:b\r\n",
        "host: [::1\r\n",
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\n{host}connection: close\r\n\r\n");
        assert_eq!(ask(&server, &request).await, 400, "{host}");
    }
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    assert!(server.send(old).await.starts_with("HTTP/1.0 200 "));
}

#[tokio::test]
async fn an_encoded_body_is_not_unpacked() {
    let server = LiveServer::start(short_limits).await;
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip"] {
        let request = format!(
            "{TOKEN}connection: close\r\ncontent-encoding: {coding}\r\ncontent-length: 1\r\n\r\nx"
        );
        assert_eq!(ask(&server, &request).await, 415, "{coding}");
    }
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_it_began() {
    let server = LiveServer::start(short_limits).await;
    let mut connection = server.connect().await;
    connection
        .write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    // The answer is there, or on its way; the connection ends with the server.
    let stopping = server.server.stop();
    let (text, ()) = tokio::join!(connection.rest(), stopping);
    assert!(matches!(status(&text), 0 | 200), "{text}");
}
