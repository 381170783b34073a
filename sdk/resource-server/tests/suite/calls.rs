//! Which call needs which scope, and bodies that try to be read twice.

use serde_json::{Value, json};

use crate::support::{Scene, tool_call};

#[tokio::test]
async fn a_tool_call_needs_the_scope_of_that_tool() {
    let scene = Scene::fixed().await;
    let token = scene.token("tool:forecast");
    scene.call_tool(&token, "forecast").await.is_ok();

    // RFC 6750 §3.1, MCP 2026-07-28: what this call needs, and where to get it.
    let refused = scene.call_tool(&token, "alert").await;
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.challenge(),
        format!(
            "Bearer error=\"insufficient_scope\", \
             error_description=\"the access token does not allow this\", \
             scope=\"tool:alert\", \
             resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
            scene.origin
        )
    );
    assert_eq!(refused.json()["error"], "insufficient_scope");
    assert_eq!(refused.json()["scope"], "tool:alert");
    assert_eq!(refused.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn scopes_are_whole_words_in_one_letter_case() {
    let scene = Scene::fixed().await;
    for scope in [
        "",
        "tool:forecasts",
        "tool:Forecast",
        "xtool:forecast",
        "tool:",
        "tool:*",
        "forecast",
        "tool:alert\ttool:forecast",
        "tool:alert,tool:forecast",
    ] {
        let reply = scene.call_tool(&scene.token(scope), "forecast").await;
        assert_eq!(reply.status, 403, "{scope:?}");
    }
    let scope = "openid tool:alert tool:forecast";
    scene
        .call_tool(&scene.token(scope), "forecast")
        .await
        .is_ok();
}

#[tokio::test]
async fn a_tool_nobody_declared_needs_its_scope_too() {
    let scene = Scene::fixed().await;
    for (tool, scope) in [
        ("erase", "tool:erase"),
        ("two words", "tool:two%20words"),
        ("100%", "tool:100%25"),
        ("a\"b\\c", "tool:a%22b%5Cc"),
        ("día\n", "tool:d%C3%ADa%0A"),
    ] {
        let refused = scene.call_tool(&scene.token("tool:forecast"), tool).await;
        assert_eq!(refused.status, 403);
        assert!(
            refused.challenge().contains(&format!("scope=\"{scope}\"")),
            "{refused:?}"
        );
        scene.call_tool(&scene.token(scope), tool).await.is_ok();
    }
    // The mapping keeps names apart.
    let token = scene.token("tool:100%25");
    assert_eq!(scene.call_tool(&token, "100%25").await.status, 403);
}

#[tokio::test]
async fn other_methods_need_what_the_author_declared() {
    let scene = Scene::with(|protect| {
        protect
            .method("resources/read", "docs:read")
            .tool_scope("alert", "weather:write")
    })
    .await;
    let token = scene.token("docs:read");
    let read = json!({"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"x:y"}});
    scene.post(&token, read.to_string()).await.is_ok();
    let refused = scene
        .post(&scene.token("tool:forecast"), read.to_string())
        .await;
    assert_eq!(refused.status, 403);
    assert!(refused.challenge().contains("scope=\"docs:read\""));

    assert_eq!(
        scene
            .call_tool(&scene.token("tool:alert"), "alert")
            .await
            .status,
        403
    );
    scene
        .call_tool(&scene.token("weather:write"), "alert")
        .await
        .is_ok();

    for method in [
        "initialize",
        "ping",
        "tools/list",
        "notifications/initialized",
        "server/discover",
    ] {
        let body = json!({"jsonrpc":"2.0","id":1,"method":method}).to_string();
        scene.post(&scene.token(""), body).await.is_ok();
    }
    let answer = json!({"jsonrpc":"2.0","id":1,"result":{}}).to_string();
    scene.post(&scene.token(""), answer).await.is_ok();
}

#[tokio::test]
async fn a_scope_may_include_others() {
    let scene = Scene::with(|protect| {
        protect
            .scope_includes("weather:all", ["weather:read", "tool:alert"])
            .scope_includes("weather:read", ["tool:forecast"])
            // A circle is odd, not endless.
            .scope_includes("tool:forecast", ["weather:read"])
    })
    .await;
    for tool in ["forecast", "alert"] {
        scene
            .call_tool(&scene.token("weather:all"), tool)
            .await
            .is_ok();
    }
    scene
        .call_tool(&scene.token("weather:read"), "forecast")
        .await
        .is_ok();
    assert_eq!(
        scene
            .call_tool(&scene.token("weather:read"), "alert")
            .await
            .status,
        403
    );
    // Narrow never stands for wide.
    assert_eq!(
        scene
            .call_tool(&scene.token("tool:forecast"), "alert")
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn a_batch_needs_everything_in_it() {
    let scene = Scene::fixed().await;
    let call = |tool| serde_json::from_str::<Value>(&tool_call(tool)).unwrap();
    let batch = json!([call("forecast"), {"jsonrpc":"2.0","id":2,"method":"ping"}, call("alert")]);
    let refused = scene
        .post(&scene.token("tool:forecast"), batch.to_string())
        .await;
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .challenge()
            .contains("scope=\"tool:alert tool:forecast\"")
    );
    let both = scene.token("tool:forecast tool:alert");
    scene.post(&both, batch.to_string()).await.is_ok();
    // A notification has no `id`, and runs the tool all the same.
    let notification =
        json!({"jsonrpc":"2.0","method":"tools/call","params":{"name":"alert"}}).to_string();
    assert_eq!(
        scene
            .post(&scene.token("tool:forecast"), notification)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn what_a_challenge_would_repeat_is_bounded() {
    let scene = Scene::fixed().await;
    let token = scene.token("");
    let batch = |length: usize, name: &str| {
        let calls: Vec<String> = (0..length)
            .map(|at| tool_call(&format!("{name}{at:03}")))
            .collect();
        format!("[{}]", calls.join(","))
    };
    let longest = "t".repeat(125);
    let reply = scene.post(&token, batch(64, &longest)).await;
    assert_eq!(reply.status, 403);
    assert!(reply.challenge().contains(&format!("tool:{longest}063")));
    for (body, words) in [
        (batch(65, "t"), "at most 64 messages"),
        (batch(20_000, "t"), "at most 64 messages"),
        (tool_call(&"t".repeat(129)), "at most 128 characters"),
        (tool_call(&"\u{e9}".repeat(129)), "at most 128 characters"),
    ] {
        let reply = scene.post(&token, body).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["code"], -32600);
        let message = reply.json()["error"]["message"].to_string();
        assert!(message.contains(words), "{message}");
        assert_eq!(reply.challenge(), "");
    }
    let reply = scene.call_tool(&token, &"\u{e9}".repeat(128)).await;
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn the_server_sees_the_very_octets() {
    let scene = Scene::fixed().await;
    let body = "\n {\"params\" :{\"arguments\":{\"a\":1,\"a\":2.50},\"n\\u0061me\":\"f\\u006frecast\"},\
                \"method\":\"tools\\/call\",\"id\":1,\"jsonrpc\":\"2.0\"} \r\n";
    let reply = scene.post(&scene.token("tool:forecast"), body).await;
    reply.is_ok();
    assert_eq!(reply.json()["body"], body);
    assert_eq!(
        scene.post(&scene.token("tool:alert"), body).await.status,
        403
    );
}

#[tokio::test]
async fn ambiguous_bodies_are_refused() {
    let scene = Scene::fixed().await;
    let token = scene.token("tool:forecast");
    let cases = [
        // Repeated members: which one counts depends on who reads.
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast","name":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"alert","name":"forecast"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast"},"params":{"name":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast","n\u0061me":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"alert"}}]"#,
        // Letter case, which some readers ignore.
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast","NAME":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast"},"PARAMS":{"name":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"alert"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":" tools/call","params":{"name":"alert"}}"#,
        // A request and a response at once.
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        // Tool calls without a tool.
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["alert"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["alert"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"]}"#,
        // Not messages.
        r#"{"jsonrpc":"2.0","id":1}"#,
        "{}",
        "[]",
        "[[]]",
        "[1]",
        "1",
        "null",
        r#""ping""#,
    ];
    for body in cases {
        let reply = scene.post(&token, body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.json()["error"]["code"], -32600, "{body}");
        assert_eq!(reply.json()["id"], Value::Null);
    }
    let not_json = [
        "",
        "ping",
        "{",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {"method":"tools/call"}"#,
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
    ];
    for body in not_json {
        let reply = scene.post(&token, body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.json()["error"]["code"], -32700, "{body}");
    }
}

#[tokio::test]
async fn headers_that_contradict_the_body_are_refused() {
    let scene = Scene::fixed().await;
    let token = scene.token("tool:forecast tool:día");
    let cases = [
        (
            vec![("mcp-method", "tools/call"), ("mcp-name", "forecast")],
            "forecast",
            200,
        ),
        (
            vec![
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?Zm9yZWNhc3Q=?="),
            ],
            "forecast",
            200,
        ),
        (vec![("mcp-method", "ping")], "forecast", 400),
        (
            vec![("mcp-method", "tools/list"), ("mcp-name", "forecast")],
            "forecast",
            400,
        ),
        (vec![("mcp-name", "alert")], "forecast", 400),
        (vec![("mcp-name", "=?base64?YWxlcnQ=?=")], "forecast", 400),
        (vec![("mcp-name", "=?base64?!?=")], "forecast", 400),
        (
            vec![("mcp-name", "forecast"), ("mcp-name", "alert")],
            "forecast",
            400,
        ),
        // Saying in a header what the token allows changes nothing.
        (
            vec![("mcp-method", "tools/call"), ("mcp-name", "alert")],
            "alert",
            403,
        ),
        (
            vec![("mcp-method", "tools/call"), ("mcp-name", "forecast")],
            "alert",
            400,
        ),
    ];
    for (headers, tool, status) in cases {
        let mut request = scene
            .http
            .post(&scene.resource)
            .bearer_auth(&token)
            .body(tool_call(tool));
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        assert_eq!(
            scene.send(request).await.status,
            status,
            "{headers:?} {tool}"
        );
    }
}
