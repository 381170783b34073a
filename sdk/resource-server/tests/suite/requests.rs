//! Where a token may be, what is asked of one that is missing, and the
//! metadata that says where to get one.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::stream::pending;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use writ_resource::{Protect, SetupError};

use crate::support::{Issuer, NOW, Scene, jwks, signers, tool_call};

#[tokio::test]
async fn without_a_token_the_challenge_says_only_where_to_get_one() {
    let scene = Scene::fixed().await;
    let reply = scene
        .send(scene.http.post(&scene.resource).body("{}"))
        .await;
    assert_eq!(reply.status, 401);
    // RFC 6750 §3.1: no error code; RFC 9728 §5.1; MCP: the scope to ask for.
    assert_eq!(
        reply.challenge(),
        format!(
            "Bearer scope=\"tool:alert tool:forecast\", \
             resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
            scene.origin
        )
    );
    assert_eq!(reply.headers["content-type"], "application/json");
    for method in [
        Method::GET,
        Method::DELETE,
        Method::PUT,
        Method::OPTIONS,
        Method::PATCH,
    ] {
        let reply = scene
            .send(scene.http.request(method, &scene.resource))
            .await;
        assert_eq!(reply.status, 401);
        assert!(!reply.challenge().contains("error"));
    }
    // Any other path of the same service is behind the layer as well.
    let other = scene
        .send(scene.http.get(format!("{}/other", scene.origin)))
        .await;
    assert_eq!(other.status, 401);
}

#[tokio::test]
async fn the_challenge_can_begin_small() {
    let scene = Scene::with(|protect| protect.challenge_scopes(["tool:forecast"])).await;
    let reply = scene.send(scene.http.get(&scene.resource)).await;
    assert!(
        reply
            .challenge()
            .starts_with("Bearer scope=\"tool:forecast\", resource_metadata=")
    );
    let none: [&str; 0] = [];
    let scene = Scene::with(|protect| protect.challenge_scopes(none)).await;
    let reply = scene.send(scene.http.get(&scene.resource)).await;
    assert!(reply.challenge().starts_with("Bearer resource_metadata="));
}

#[tokio::test]
async fn the_token_comes_in_one_authorization_header() {
    let scene = Scene::fixed().await;
    let token = scene.token("tool:forecast");
    let cases: [(Vec<String>, u16); 14] = [
        (vec![format!("Bearer {token}")], 200),
        (vec![format!("bearer {token}")], 200),
        (vec![format!("BEARER   {token}")], 200),
        (
            vec![format!("Bearer {token}"), format!("Bearer {token}")],
            400,
        ),
        (vec!["Basic YTpi".into(), format!("Bearer {token}")], 400),
        (vec!["Bearer".into()], 400),
        (vec!["Bearer ".into()], 400),
        (vec![format!("Bearer {token} {token}")], 401),
        (vec![format!("Bearer {token},Bearer {token}")], 401),
        (vec![format!("Bearer \"{token}\"")], 401),
        (vec![format!("Bearer\t{token}")], 401),
        (vec![token.clone()], 401),
        (vec!["Basic YTpi".into()], 401),
        (vec![format!("DPoP {token}")], 401),
    ];
    for (headers, status) in cases {
        let mut request = scene.http.post(&scene.resource).body(tool_call("forecast"));
        for header in &headers {
            request = request.header("authorization", header);
        }
        let reply = scene.send(request).await;
        assert_eq!(reply.status, status, "{headers:?}");
        if status == 400 {
            assert!(
                reply
                    .challenge()
                    .starts_with("Bearer error=\"invalid_request\"")
            );
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_or_a_form_is_never_accepted() {
    let scene = Scene::fixed().await;
    let token = scene.token("tool:forecast");
    for query in [
        format!("access_token={token}"),
        format!("a=b&access%5Ftoken={token}"),
        "access_token=".to_owned(),
        "access_token".to_owned(),
    ] {
        let url = format!("{}?{query}", scene.resource);
        for request in [
            scene.http.get(&url),
            scene.http.get(&url).bearer_auth(&token),
            scene
                .http
                .post(&url)
                .bearer_auth(&token)
                .body(tool_call("forecast")),
        ] {
            let reply = scene.send(request).await;
            assert_eq!(reply.status, 400, "{url}");
            assert!(
                reply
                    .challenge()
                    .starts_with("Bearer error=\"invalid_request\"")
            );
            assert!(!reply.body.contains(&token));
        }
    }
    let form = || {
        scene
            .http
            .post(&scene.resource)
            .form(&[("access_token", &token)])
    };
    assert_eq!(scene.send(form()).await.status, 401);
    assert_eq!(scene.send(form().bearer_auth(&token)).await.status, 400);
    // Other queries are none of our business.
    let url = format!("{}?session=access_token", scene.resource);
    scene
        .send(scene.http.get(url).bearer_auth(&token))
        .await
        .is_ok();
}

#[tokio::test]
async fn garbage_tokens_are_invalid() {
    let scene = Scene::fixed().await;
    for garbage in ["x", "...", "a.b.c", "null", "{}", &"a".repeat(7000), "é"] {
        scene.ping(garbage).await.is_invalid_token("");
    }
    // Too long to be looked at, whatever it is.
    let reply = scene.ping(&"a".repeat(20_000)).await;
    reply.is_invalid_token("too long");
}

#[tokio::test]
async fn the_handler_gets_the_claims_and_not_the_header() {
    let scene = Scene::fixed().await;
    let mut claims = scene.claims("tool:forecast");
    claims["sub"] = "alice".into();
    claims["act"] = json!({"sub": "sub-agent", "act": {"sub": "agent"}});
    let token = crate::support::EC.token(&claims);
    let reply = scene.call_tool(&token, "forecast").await;
    reply.is_ok();
    let seen = reply.json();
    assert_eq!(seen["sub"], "alice");
    assert_eq!(seen["caller"], "sub-agent");
    assert_eq!(seen["actors"], json!(["sub-agent", "agent"]));
    assert_eq!(seen["token"], token);
    assert_eq!(seen["token_debug"], "PresentedToken(…)");
    assert_eq!(seen["authorization"], false);
}

#[tokio::test]
async fn streams_and_session_ends_need_a_valid_token_and_carry_no_body() {
    let scene = Scene::fixed().await;
    let token = scene.token("");
    for method in [Method::GET, Method::DELETE] {
        let request = || scene.http.request(method.clone(), &scene.resource);
        scene.send(request().bearer_auth(&token)).await.is_ok();
        scene
            .send(request().bearer_auth("x.y.z"))
            .await
            .is_invalid_token("");
        // A call that hides in a method the layer does not read.
        let smuggled = request().bearer_auth(&token).body(tool_call("alert"));
        let reply = scene.send(smuggled).await;
        reply.is_ok();
        assert_eq!(reply.json()["body"], "");
    }
    // Whatever else has a body is read like POST.
    for method in [
        Method::PUT,
        Method::PATCH,
        Method::from_bytes(b"QUERY").unwrap(),
    ] {
        let request = scene
            .http
            .request(method, &scene.resource)
            .bearer_auth(&token);
        assert_eq!(
            scene.send(request.body(tool_call("alert"))).await.status,
            403
        );
    }
}

#[tokio::test]
async fn an_open_answer_ends_with_its_token() {
    let endless = || async { Body::from_stream(pending::<Result<Bytes, Infallible>>()) };
    let server = Router::new().route("/mcp", get(endless));
    let issuer = Issuer::start(jwks(&signers())).await;
    let scene = Scene::in_front_of(issuer, server, |protect| protect).await;
    let request = scene.http.get(&scene.resource);
    let response = request.bearer_auth(scene.token("")).send().await;
    let mut response = response.unwrap();
    assert_eq!(response.status(), 200);
    scene.clock.advance(329);
    let still = tokio::time::timeout(Duration::from_millis(200), response.chunk()).await;
    assert!(still.is_err());
    scene.clock.advance(1);
    let last = tokio::time::timeout(Duration::from_secs(5), response.chunk()).await;
    assert_eq!(last.unwrap().unwrap(), None);
}

#[tokio::test]
async fn bodies_the_layer_cannot_read_are_refused() {
    let scene = Scene::with(|protect| protect.max_body(1000)).await;
    let token = scene.token("tool:forecast");
    let post = || scene.http.post(&scene.resource).bearer_auth(&token);
    for (header, value, status) in [
        ("content-encoding", "gzip", 415),
        ("content-encoding", "br, identity", 415),
        ("content-encoding", "identity", 200),
        ("content-type", "application/json; charset=utf-16", 415),
        ("content-type", "application/json; charset=\"UTF-8\"", 200),
        ("content-type", "text/plain", 200),
    ] {
        let request = post().header(header, value).body(tool_call("forecast"));
        assert_eq!(
            scene.send(request).await.status,
            status,
            "{header}: {value}"
        );
    }

    let padded = |length: usize| {
        let body = tool_call("forecast");
        body.clone() + &" ".repeat(length - body.len())
    };
    scene.send(post().body(padded(1000))).await.is_ok();
    assert_eq!(scene.send(post().body(padded(1001))).await.status, 413);
    // In chunks of unknown total length.
    let chunks = std::iter::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(" ".repeat(400))));
    let body = reqwest::Body::wrap(StreamOf(chunks.take(9)));
    assert_eq!(scene.send(post().body(body)).await.status, 413);
    // Announced to be too long: answered before any of it comes.
    let mut socket = tokio::net::TcpStream::connect(&scene.origin["http://".len()..])
        .await
        .unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 1001\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(5), socket.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Nothing is read for someone without a token.
    let request = scene.http.post(&scene.resource).body(padded(2000));
    assert_eq!(scene.send(request).await.status, 401);
}

/// A body of these chunks, without a length.
struct StreamOf<I>(I);

impl<I> http_body::Body for StreamOf<I>
where
    I: Iterator<Item = std::io::Result<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Ready(self.0.next().map(|chunk| chunk.map(http_body::Frame::data)))
    }
}

#[tokio::test]
async fn metadata_at_both_paths() {
    let scene = Scene::with(|protect| {
        protect
            .method("resources/read", "docs:read")
            .documentation("https://example.com/docs")
    })
    .await;
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ] {
        let url = format!("{}{path}", scene.origin);
        let reply = scene
            .send(
                scene
                    .http
                    .get(&url)
                    .header("mcp-protocol-version", "2026-07-28"),
            )
            .await;
        reply.is_ok();
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
        assert_eq!(
            reply.json(),
            json!({
                "resource": scene.resource,
                "authorization_servers": [scene.issuer.url],
                "scopes_supported": ["docs:read", "tool:alert", "tool:forecast"],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["EdDSA", "Ed25519", "ES256", "PS256", "RS256"],
                "resource_name": "Weather",
                "resource_documentation": "https://example.com/docs",
            })
        );
        let head = scene.send(scene.http.head(&url)).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        let preflight = scene.send(scene.http.request(Method::OPTIONS, &url)).await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.headers["access-control-allow-headers"], "*");
        for method in [Method::POST, Method::DELETE, Method::PUT, Method::TRACE] {
            let reply = scene.send(scene.http.request(method, &url)).await;
            assert_eq!(reply.status, 405);
            assert_eq!(reply.headers["allow"], "GET, HEAD, OPTIONS");
        }
    }
    for path in [
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource/other",
    ] {
        let reply = scene
            .send(scene.http.get(format!("{}{path}", scene.origin)))
            .await;
        assert_eq!(reply.status, 401, "{path}");
    }
}

#[test]
fn metadata_urls_follow_the_resource() {
    for (resource, path) in [
        (
            "https://mcp.example",
            "/.well-known/oauth-protected-resource",
        ),
        (
            "https://mcp.example/",
            "/.well-known/oauth-protected-resource",
        ),
        (
            "https://mcp.example/a/b",
            "/.well-known/oauth-protected-resource/a/b",
        ),
        (
            "https://mcp.example/a/",
            "/.well-known/oauth-protected-resource/a",
        ),
    ] {
        let layer = Protect::resource(resource)
            .issuer("https://auth.example")
            .build()
            .unwrap();
        assert_eq!(layer.metadata_paths()[0], path);
        let document: Value = serde_json::from_slice(layer.metadata()).unwrap();
        assert_eq!(document["resource"], resource);
        assert_eq!(document.get("scopes_supported"), None);
    }
}

#[test]
fn wrong_settings_name_themselves() {
    let url = |result: Result<_, SetupError>| match result.unwrap_err() {
        SetupError::Url { name, .. } => name,
        other => panic!("{other}"),
    };
    let good = || Protect::resource("https://mcp.example/mcp").issuer("https://auth.example");
    assert!(good().build().is_ok());
    for resource in [
        "",
        "/mcp",
        "http://mcp.example/mcp",
        "https://mcp.example/mcp#x",
        "https://mcp.example/mcp?x",
        "https://u:p@mcp.example/",
        "ftp://mcp.example/",
    ] {
        let result = Protect::resource(resource)
            .issuer("https://auth.example")
            .build();
        assert_eq!(url(result), "resource", "{resource}");
    }
    for issuer in [
        "",
        "auth.example",
        "http://auth.example",
        "https://auth.example?x",
        "https://auth.example#",
    ] {
        assert_eq!(url(good().issuer(issuer).build()), "issuer", "{issuer}");
    }
    assert_eq!(
        url(good().jwks_uri("http://auth.example/k").build()),
        "jwks_uri"
    );
    assert_eq!(url(good().documentation("x").build()), "documentation");
    for scope in ["", "a b", "a\"b", "a\\b", "é"] {
        assert!(
            matches!(good().scopes([scope]).build(), Err(SetupError::Scope(_))),
            "{scope}"
        );
    }
    assert!(matches!(
        good().challenge_scopes(["offline_access"]).build(),
        Err(SetupError::OfflineAccess)
    ));
    assert!(matches!(
        good().algorithms([]).build(),
        Err(SetupError::Algorithms)
    ));
}

#[tokio::test]
async fn times_have_a_leeway_and_no_more() {
    let scene = Scene::fixed().await;
    let cases = [
        ("exp", NOW - 29, 200),
        ("exp", NOW - 30, 401),
        ("exp", 0, 401),
        ("iat", NOW + 30, 200),
        ("iat", NOW + 31, 401),
        ("nbf", NOW + 30, 200),
        ("nbf", NOW + 31, 401),
        ("nbf", NOW - 1000, 200),
    ];
    for (claim, value, status) in cases {
        let mut claims = scene.claims("");
        claims[claim] = value.into();
        let reply = scene.ping(&crate::support::ED.token(&claims)).await;
        assert_eq!(reply.status, status, "{claim} {value}");
    }
    // An old `nbf` does not excuse a token from the future.
    let mut claims = scene.claims("");
    claims["nbf"] = (NOW - 1000).into();
    claims["iat"] = (NOW + 31).into();
    scene
        .ping(&crate::support::ED.token(&claims))
        .await
        .is_invalid_token("not valid yet");
    let token = scene.token("");
    scene.clock.advance(329);
    scene.ping(&token).await.is_ok();
    scene.clock.advance(1);
    scene.ping(&token).await.is_invalid_token("expired");
}
