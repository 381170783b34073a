//! M. Token exchange and delegation.

use serde_json::{Value, json};

use crate::{
    grant_types::token_exchange::chain,
    support::{CALENDAR, DELEGATION, Key, ServerKey, TestApp, WEATHER, parts},
};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// `agent` lets `helper` act for it; `stranger` may exchange too, but nobody lets it.
async fn scene() -> (TestApp, String) {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    chain(&app, &["stranger"]).await;
    let subject = app
        .token("agent", WEATHER, "tool:forecast tool:history")
        .await;
    (app, subject)
}

async fn exchanged(app: &TestApp) -> usize {
    let events = app
        .admin("GET", "/audit?kind=token.exchanged&limit=1000")
        .await
        .await
        .ok();
    events.as_array().unwrap().len()
}

// AC-210
#[tokio::test]
async fn nobody_exchanges_without_saying_who_they_are() {
    let (app, subject) = scene().await;
    let form = [
        ("grant_type", DELEGATION),
        ("subject_token", subject.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    app.post("/token")
        .form(&form)
        .await
        .refused(401, "invalid_client");
    let mut with_name = form.to_vec();
    with_name.push(("client_id", "helper"));
    app.post("/token")
        .form(&with_name)
        .await
        .refused(401, "invalid_client");
    app.post("/token")
        .basic("helper", "wrong-secret")
        .form(&form)
        .await
        .refused(401, "invalid_client");
    // The token itself is no credential.
    app.post("/token")
        .bearer(&subject)
        .form(&form)
        .await
        .refused(401, "invalid_client");
    let public = json!({ "token_endpoint_auth_method": "none", "grant_types": [] });
    app.client("public", public).await;
    let mut as_public = form.to_vec();
    as_public.push(("client_id", "public"));
    app.post("/token")
        .form(&as_public)
        .await
        .refused(400, "unauthorized_client");
    assert_eq!(exchanged(&app).await, 0);
}

// AC-210
#[tokio::test]
async fn a_client_without_the_grant_is_refused() {
    let (app, subject) = scene().await;
    app.client(
        "plain",
        json!({ "access": [{ "resource": "weather", "scopes": ["*"] }] }),
    )
    .await;
    app.exchange("plain", &subject, &[])
        .await
        .refused(400, "unauthorized_client");
}

// AC-211
#[tokio::test]
async fn a_subject_token_that_does_not_hold_is_refused() {
    let (app, subject) = scene().await;
    let (header, claims) = parts(&subject);
    let foreign = Key::ed(8).sign(&header, &claims);
    let assertion_like = Key::ed(8).sign(&json!({ "alg": "EdDSA", "typ": "JWT" }), &claims);
    for token in [
        "x",
        "a.b.c",
        &foreign,
        &assertion_like,
        &subject[..subject.len() - 4],
    ] {
        app.exchange("helper", token, &[])
            .await
            .refused(400, "invalid_request");
    }
    app.advance(300);
    app.exchange("helper", &subject, &[])
        .await
        .refused(400, "invalid_request");
    assert_eq!(exchanged(&app).await, 0);
}

// AC-211
#[tokio::test]
async fn a_subject_token_of_the_wrong_type_is_refused() {
    let (app, subject) = scene().await;
    for kind in [
        "urn:ietf:params:oauth:token-type:id_token",
        "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:saml2",
        "urn:ietf:params:oauth:token-type:id-jag",
        "access_token",
        "x",
    ] {
        let form = [
            ("grant_type", DELEGATION),
            ("subject_token", subject.as_str()),
            ("subject_token_type", kind),
        ];
        app.ask("helper", &form)
            .await
            .refused(400, "invalid_request");
    }
}

// AC-211
#[tokio::test]
async fn a_token_whose_client_is_gone_is_worth_nothing() {
    let (app, subject) = scene().await;
    app.admin("DELETE", "/clients/agent").await.await;
    app.exchange("helper", &subject, &[])
        .await
        .refused(400, "invalid_request");
}

// AC-212
#[tokio::test]
async fn a_type_or_target_we_do_not_issue_is_refused() {
    let (app, subject) = scene().await;
    for kind in [
        "urn:ietf:params:oauth:token-type:id_token",
        "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:id-jag",
        "x",
    ] {
        app.exchange("helper", &subject, &[("requested_token_type", kind)])
            .await
            .refused(400, "invalid_request");
    }
    for target in [
        ("resource", CALENDAR),
        ("audience", "calendar"),
        ("resource", "https://nowhere.example"),
        ("audience", "nowhere"),
        ("resource", "https://as.example/admin"),
        ("audience", "writ-admin"),
        ("resource", "/mcp"),
    ] {
        app.exchange("helper", &subject, &[target])
            .await
            .refused(400, "invalid_target");
    }
    // One good one does not carry a bad one along.
    app.exchange(
        "helper",
        &subject,
        &[("resource", WEATHER), ("audience", "calendar")],
    )
    .await
    .refused(400, "invalid_target");
    assert_eq!(exchanged(&app).await, 0);
}

// AC-213
#[tokio::test]
async fn nothing_wider_is_ever_granted() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "tool:forecast").await;
    // Not what the helper itself could have, nor the agent, nor anybody.
    for scope in [
        "tool:history",
        "tool:forecast tool:history",
        "weather:read",
        "weather:all",
        "tool:alert",
        "*",
        "x",
    ] {
        for client in ["helper", "agent"] {
            app.exchange(client, &subject, &[("scope", scope)])
                .await
                .refused(400, "invalid_scope");
        }
    }
    assert_eq!(exchanged(&app).await, 0);
}

// AC-213
#[tokio::test]
async fn a_delegate_never_gets_more_than_its_own_rights() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let narrow = json!({
        "access": [{ "resource": "weather", "scopes": ["tool:forecast"] }],
        "grant_types": ["client_credentials", DELEGATION],
    });
    app.client("helper", narrow).await;
    let subject = app.token("agent", WEATHER, "weather:read").await;
    assert_eq!(
        app.exchange("helper", &subject, &[]).await.ok()["scope"],
        "tool:forecast"
    );
    app.exchange("helper", &subject, &[("scope", "tool:history")])
        .await
        .refused(400, "invalid_scope");
}

// AC-214
#[tokio::test]
async fn a_token_and_its_type_come_together() {
    let (app, subject) = scene().await;
    let actor = app.token("helper", WEATHER, "tool:forecast").await;
    for form in [
        &[("subject_token", subject.as_str())][..],
        &[("subject_token_type", ACCESS_TOKEN)],
        &[],
        &[
            ("subject_token", &subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token", &actor),
        ],
        &[
            ("subject_token", &subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("actor_token_type", ACCESS_TOKEN),
        ],
    ] {
        let mut form = form.to_vec();
        form.push(("grant_type", DELEGATION));
        app.ask("helper", &form)
            .await
            .refused(400, "invalid_request");
    }
}

// AC-215
#[tokio::test]
async fn who_was_not_let_may_not_act() {
    let (app, subject) = scene().await;
    app.exchange("stranger", &subject, &[])
        .await
        .refused(400, "invalid_grant");
    let actor = app.token("stranger", WEATHER, "tool:forecast").await;
    app.exchange_as_actor("stranger", &subject, &actor, &[])
        .await
        .refused(400, "invalid_grant");
    // A server of another resource did not receive this token.
    app.client(
        "calendar-server",
        json!({ "grant_types": [DELEGATION], "serves": "calendar" }),
    )
    .await;
    app.exchange("calendar-server", &subject, &[])
        .await
        .refused(400, "invalid_grant");
    assert_eq!(exchanged(&app).await, 0);
}

// AC-215
#[tokio::test]
async fn nobody_borrows_the_name_of_another_actor() {
    let (app, subject) = scene().await;
    let helper = app.token("helper", WEATHER, "tool:forecast").await;
    // The stranger shows the helper's token as its own.
    app.exchange_as_actor("stranger", &subject, &helper, &[])
        .await
        .refused(400, "invalid_grant");
    // An actor's token that is itself borrowed.
    let borrowed = app.exchange("helper", &subject, &[]).await.token();
    app.exchange_as_actor("helper", &subject, &borrowed, &[])
        .await
        .refused(400, "invalid_request");
}

// AC-215, RFC 8693 §4.4
#[tokio::test]
async fn may_act_names_one_actor_and_nothing_we_cannot_check() {
    let (app, _) = scene().await;
    // The client lets both; a token may say that it is only one of them.
    let members = json!({
        "access": [{ "resource": "weather", "scopes": ["*"] }],
        "delegates": ["helper", "stranger"],
    });
    app.client("agent", members).await;
    let subject = app.token("agent", WEATHER, "tool:forecast").await;
    let key = ServerKey::of(&app, &app.tenant(None));
    let honest = parts(&subject).1;
    app.exchange("stranger", &subject, &[]).await.ok();
    let with = |may_act: Value| {
        let mut claims = honest.clone();
        claims["may_act"] = may_act;
        key.token(&claims)
    };
    let named = with(json!({ "sub": "stranger", "iss": "https://as.example" }));
    let claims = parts(&app.exchange("stranger", &named, &[]).await.token()).1;
    assert_eq!(claims["act"], json!({ "sub": "stranger" }));
    // Then it is not the helper, though the client lets that too.
    app.exchange("helper", &named, &[])
        .await
        .refused(400, "invalid_grant");
    for may_act in [
        json!({ "sub": "stranger", "iss": "https://other.example" }),
        json!({ "sub": "stranger", "email": "stranger@example.org" }),
        json!({ "sub": "stranger", "client_id": "helper" }),
        json!({ "sub": ["stranger"] }),
        json!({ "iss": "https://as.example" }),
        json!({}),
        json!("stranger"),
        json!(["stranger"]),
        json!([{ "sub": "stranger" }]),
    ] {
        let answer = app.exchange("stranger", &with(may_act.clone()), &[]).await;
        assert_eq!(answer.status, 400, "{may_act}: {}", answer.text());
    }
}

// AC-215
#[tokio::test]
async fn a_delegation_that_is_taken_back_is_over_even_for_old_tokens() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "tool:forecast").await;
    app.exchange("helper", &subject, &[]).await.ok();
    chain(&app, &["agent"]).await;
    app.exchange("helper", &subject, &[])
        .await
        .refused(400, "invalid_grant");
}

// AC-216
#[tokio::test]
async fn the_fifth_actor_is_one_too_many() {
    let app = TestApp::weather().await;
    let names = ["agent", "a1", "a2", "a3", "a4", "a5"];
    chain(&app, &names).await;
    let mut token = app.token("agent", WEATHER, "tool:forecast").await;
    for name in &names[1..5] {
        token = app.exchange(name, &token, &[]).await.token();
    }
    assert_eq!(
        parts(&token).1["act"]["act"]["act"]["act"],
        json!({ "sub": "a1" })
    );
    app.exchange("a5", &token, &[])
        .await
        .refused(400, "invalid_request");
}

// AC-216
#[tokio::test]
async fn exchanging_again_does_not_launder_the_chain() {
    let app = TestApp::weather().await;
    chain(&app, &["agent", "helper"]).await;
    let subject = app.token("agent", WEATHER, "tool:forecast").await;
    let first = app.exchange("helper", &subject, &[]).await.token();
    // Its own token again: the actor stays named, the subject stays the subject.
    let second = parts(&app.exchange("helper", &first, &[]).await.token()).1;
    assert_eq!(second["act"], json!({ "sub": "helper" }));
    assert_eq!(second["sub"], "agent");
    // And no longer life by going round.
    app.advance(100);
    assert_eq!(
        app.exchange("helper", &first, &[]).await.ok()["expires_in"],
        200
    );
}

#[tokio::test]
async fn a_forged_chain_of_any_depth_is_read_or_refused() {
    let (app, subject) = scene().await;
    let key = ServerKey::of(&app, &app.tenant(None));
    for depth in [3, 4, 16, 17, 60, 500] {
        let mut claims = parts(&subject).1;
        let mut act = json!({ "sub": "a" });
        for _ in 1..depth {
            act = json!({ "sub": "a", "act": act });
        }
        claims["act"] = act;
        let answer = app.exchange("helper", &key.token(&claims), &[]).await;
        let expected = if depth < 4 { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{depth}: {}", answer.text());
    }
    for act in [json!("a"), json!([]), json!({}), json!({ "sub": 7 })] {
        let mut claims = parts(&subject).1;
        claims["act"] = act.clone();
        let answer = app.exchange("helper", &key.token(&claims), &[]).await;
        assert_eq!(answer.status, 400, "{act}");
    }
}

#[tokio::test]
async fn the_audience_of_an_exchange_belongs_to_the_subject_token() {
    let app = TestApp::weather().await;
    chain(&app, &["agent"]).await;
    // An own token for one resource does not become one for another, though the client could
    // have asked for that itself.
    let access = json!([
        { "resource": "weather", "scopes": ["*"] }, { "resource": "calendar", "scopes": ["*"] },
    ]);
    let members = json!({ "access": access, "grant_types": ["client_credentials", DELEGATION] });
    app.client("agent", members).await;
    let token = app.token("agent", WEATHER, "tool:history").await;
    app.exchange("agent", &token, &[("resource", CALENDAR)])
        .await
        .refused(400, "invalid_target");
}
