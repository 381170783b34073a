//! Which tokens an event ends, and which live on.

use serde_json::{Value, json};

use super::stage::Stage;
use super::transmitter::{caep, risc};
use crate::support::NOW;

#[tokio::test]
async fn a_subject_selects_by_all_of_its_members() {
    let stage = Stage::new().await;
    let issuer = stage.transmitter.url.clone();
    let tenant = json!({ "format": "opaque", "id": "acme" });
    // The subject, a token that it selects, and some that it does not.
    let cases: [(Value, Value, &[Value]); 8] = [
        (
            stage.jwt("j1"),
            json!({ "jti": "j1" }),
            &[json!({ "jti": "j2" })],
        ),
        (
            stage.user("u1"),
            json!({ "sub": "u1" }),
            &[json!({ "sub": "u2" })],
        ),
        (
            json!({ "format": "complex", "session": { "format": "opaque", "id": "x1" } }),
            json!({ "grant_id": "x1" }),
            &[json!({ "grant_id": "x2" }), json!({ "jti": "x1" })],
        ),
        (
            json!({ "format": "complex", "session": stage.jwt("j3"), "user": stage.user("u3") }),
            json!({ "jti": "j3", "sub": "u3" }),
            &[
                json!({ "jti": "j3", "sub": "u4" }),
                json!({ "jti": "j4", "sub": "u3" }),
            ],
        ),
        (
            json!({
                "format": "complex", "application": stage.user("c5"), "user": stage.user("u5"),
            }),
            json!({ "client_id": "c5", "sub": "u5" }),
            &[
                json!({ "client_id": "c5", "sub": "u6" }),
                json!({ "client_id": "c6", "sub": "u5" }),
            ],
        ),
        (
            json!({ "format": "aliases", "identifiers": [
                { "format": "email", "email": "u7@example.com" },
                { "format": "iss_sub", "iss": "https://other.example", "sub": "u8" },
                stage.user("u7"),
            ] }),
            json!({ "sub": "u7" }),
            &[json!({ "sub": "u8" })],
        ),
        (
            json!({ "format": "complex", "application": stage.user("c9"), "tenant": tenant }),
            json!({ "client_id": "c9" }),
            &[json!({ "client_id": "c10" })],
        ),
        (
            json!({ "format": "complex", "device": { "format": "opaque", "id": "d" },
                "user": stage.user("u11") }),
            json!({ "sub": "u11" }),
            &[json!({ "sub": "u12" })],
        ),
    ];
    for (subject, selected, others) in cases {
        stage.lives(&selected).await;
        stage.hears_revoked(&subject, NOW).await;
        stage.is_dead(&selected).await;
        for other in others {
            stage.lives(other).await;
        }
    }
    // The names of another issuer are nobody's here.
    let other = json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "alice" });
    for subject in [
        other.clone(),
        json!({ "format": "complex", "user": other, "application": stage.user("agent") }),
        json!({ "format": "jwt_id", "iss": format!("{issuer}/"), "jti": "t1" }),
    ] {
        stage.hears_revoked(&subject, NOW).await;
        stage.lives(&json!({})).await;
    }
    stage
        .hears_revoked(&json!({ "format": "complex", "tenant": tenant }), NOW)
        .await;
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn an_agent_dies_with_everything_it_acts_in() {
    let stage = Stage::new().await;
    let acting = json!({ "act": { "sub": "middle", "act": { "sub": "bad" } } });
    let elsewhere = json!({ "act": { "sub": "bad", "iss": "https://other.example" } });
    stage.lives(&acting).await;
    stage.hears_revoked(&stage.agent("bad"), NOW).await;
    stage.is_dead(&acting).await;
    stage.is_dead(&json!({ "client_id": "bad" })).await;
    stage.lives(&elsewhere).await;
    stage.lives(&json!({ "act": { "sub": "middle" } })).await;
    stage.lives(&json!({ "sub": "bad" })).await;
}

#[tokio::test]
async fn a_session_is_final_and_anything_wider_is_a_cut_off() {
    let stage = Stage::new().await;
    // Long before the token was issued, and yet over.
    stage.hears_revoked(&stage.grant("g1"), NOW - 1000).await;
    stage.is_dead(&json!({})).await;
    stage.is_dead(&json!({ "iat": NOW + 20 })).await;
    stage.lives(&json!({ "grant_id": "g2" })).await;

    stage.hears_revoked(&stage.user("u"), NOW - 10).await;
    let issued = |iat: i64| json!({ "sub": "u", "grant_id": "g3", "iat": iat });
    stage.is_dead(&issued(NOW - 11)).await;
    stage.is_dead(&issued(NOW - 10)).await;
    stage.lives(&issued(NOW - 9)).await;
}

#[tokio::test]
async fn the_greatest_cut_off_wins_in_whatever_order() {
    let stage = Stage::new().await;
    let issued = |iat: i64| json!({ "sub": "u", "iat": iat });
    for at in [NOW - 20, NOW - 5, NOW - 50] {
        stage.hears_revoked(&stage.user("u"), at).await;
    }
    stage.is_dead(&issued(NOW - 5)).await;
    stage.lives(&issued(NOW - 4)).await;
    assert_eq!(stage.health().remembered, 1);
}

#[tokio::test]
async fn a_final_end_survives_whatever_comes_after_it() {
    let stage = Stage::new().await;
    stage.hears_revoked(&stage.grant("g1"), NOW).await;
    let scope = json!({ "event_timestamp": NOW + 5, "claims": { "scope": "tool:forecast" } });
    stage
        .hears(&stage.grant("g1"), &caep("token-claims-change"), &scope)
        .await;
    stage
        .hears(&stage.user("alice"), &risc("account-enabled"), &json!({}))
        .await;
    stage.hears_revoked(&stage.grant("g1"), NOW - 100).await;
    stage.is_dead(&json!({})).await;
}

#[tokio::test]
async fn the_time_of_an_event_is_its_own_or_the_sets() {
    let stage = Stage::new().await;
    let revoked = caep("session-revoked");
    let push = async |sub: &str, changes: Value, payload: Value| {
        let mut claims = stage.transmitter.set(&stage.user(sub), &revoked, &payload);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let compact = stage.transmitter.sign(&crate::support::ED, &claims);
        assert_eq!(stage.transmitter.push(&compact).await.0, 202, "{claims}");
    };
    let stamp = |at: i64| json!({ "event_timestamp": at });
    // `event_timestamp`, else `toe`, else `iat`.
    push("a", json!({ "toe": NOW - 60 }), stamp(NOW - 10)).await;
    push("b", json!({ "toe": NOW - 10 }), json!({})).await;
    push("c", json!({ "iat": NOW - 10 }), json!({})).await;
    for sub in ["a", "b", "c"] {
        stage.is_dead(&json!({ "sub": sub, "iat": NOW - 10 })).await;
        stage.lives(&json!({ "sub": sub, "iat": NOW - 9 })).await;
    }
    // A time ahead does not end what is issued later than a minute from now.
    push("d", json!({}), stamp(NOW + 1_000_000)).await;
    stage.is_dead(&json!({ "sub": "d", "iat": NOW + 20 })).await;
    stage.clock.advance(100);
    stage.is_troubled_by(None).await;
    stage.lives(&json!({ "sub": "d" })).await;
}

#[tokio::test]
async fn scopes_are_narrowed_and_never_widened() {
    let stage = Stage::new().await;
    let change = async |subject: &Value, at: i64, scope: &str| {
        let payload = json!({ "event_timestamp": at, "claims": { "scope": scope } });
        stage
            .hears(subject, &caep("token-claims-change"), &payload)
            .await;
    };
    let may = async |changes: &Value, tool: &str| {
        let status = stage.call(&stage.token(changes), tool).await.status;
        assert!(matches!(status, 200 | 403), "{status}");
        status == 200
    };
    let both = json!({});
    assert!(may(&both, "forecast").await && may(&both, "alert").await);
    change(&stage.grant("g1"), NOW, "tool:forecast tool:other").await;
    assert!(may(&both, "forecast").await && !may(&both, "alert").await);
    assert!(!may(&json!({ "scope": "tool:alert" }), "forecast").await);
    let reply = stage.ping(&stage.token(&both)).await;
    assert_eq!(reply.json()["scope"], "tool:forecast");
    // Another grant, and what was issued after the change.
    assert!(may(&json!({ "grant_id": "g2" }), "alert").await);
    assert!(may(&json!({ "iat": NOW + 1 }), "alert").await);
    // An older change does not come back; of two at one time both count.
    change(&stage.grant("g1"), NOW - 10, "tool:alert").await;
    assert!(may(&both, "forecast").await && !may(&both, "alert").await);
    change(&stage.grant("g1"), NOW, "tool:alert tool:other").await;
    assert!(!may(&both, "forecast").await && !may(&both, "alert").await);
    // A later one replaces it.
    change(&stage.grant("g1"), NOW + 1, "tool:forecast tool:alert").await;
    assert!(may(&both, "forecast").await && may(&both, "alert").await);
    // One token alone, whenever it was issued.
    change(&stage.jwt("t7"), NOW - 100, "tool:alert").await;
    let one = json!({ "jti": "t7", "grant_id": "g7" });
    assert!(!may(&one, "forecast").await && may(&one, "alert").await);
    assert!(may(&json!({ "jti": "t8", "grant_id": "g7" }), "forecast").await);
    change(&stage.jwt("t7"), NOW, "").await;
    assert!(!may(&one, "alert").await);
}

#[tokio::test]
async fn accounts_are_switched_by_the_later_event() {
    let stage = Stage::new().await;
    let switch = async |name: &str, at: i64| {
        let mut claims = stage
            .transmitter
            .set(&stage.user("u"), &risc(name), &json!({}));
        claims["toe"] = json!(at);
        let compact = stage.transmitter.sign(&crate::support::RSA, &claims);
        assert_eq!(stage.transmitter.push(&compact).await.0, 202);
    };
    let user = json!({ "sub": "u" });
    switch("account-disabled", NOW).await;
    stage.is_dead(&user).await;
    stage.is_dead(&json!({ "sub": "u", "iat": NOW + 20 })).await;
    stage.lives(&json!({})).await;
    // Older, and at the same time: disabled stays.
    switch("account-enabled", NOW - 1).await;
    switch("account-enabled", NOW).await;
    stage.is_dead(&user).await;
    switch("account-enabled", NOW + 1).await;
    stage.lives(&user).await;
    // The late arrival of what was before.
    switch("account-disabled", NOW - 5).await;
    stage.lives(&user).await;
    switch("account-purged", NOW + 2).await;
    stage.is_dead(&user).await;
    switch("account-enabled", NOW + 3).await;
    stage.lives(&user).await;
    // The cut-off of the user's sessions stands on its own.
    stage.hears_revoked(&stage.user("u"), NOW).await;
    stage.is_dead(&user).await;
    stage.lives(&json!({ "sub": "u", "iat": NOW + 1 })).await;
}

#[tokio::test]
async fn a_marker_is_kept_for_as_long_as_a_token_may_live() {
    let stage = Stage::new().await;
    let lifetime = 3600;
    stage.hears_revoked(&stage.user("u"), NOW).await;
    stage.hears_revoked(&stage.grant("g"), NOW).await;
    assert_eq!(stage.health().remembered, 2);
    let issued =
        |name: &str, value: &str| json!({ name: value, "iat": NOW, "exp": NOW + lifetime });
    stage.clock.advance(lifetime - 1);
    stage.is_dead(&issued("sub", "u")).await;
    stage.is_dead(&issued("grant_id", "g")).await;
    // Verified again in the meantime, whenever the clock moved.
    stage.clock.advance(61);
    stage.until(|health| health.remembered == 0).await;
    stage.is_troubled_by(None).await;
    stage.lives(&json!({ "sub": "u" })).await;
    // What nobody can need is not kept at all.
    stage.hears_revoked(&stage.user("u"), NOW - 1).await;
    assert_eq!(stage.health().remembered, 0);
}

#[tokio::test]
async fn a_marker_that_is_prolonged_ends_once() {
    let stage = Stage::new().await;
    stage.hears_revoked(&stage.user("u"), NOW).await;
    stage.clock.advance(1000);
    stage.hears_revoked(&stage.user("u"), NOW + 1000).await;
    stage.hears_revoked(&stage.agent("a"), NOW + 1000).await;
    stage.clock.advance(2660);
    stage.is_troubled_by(None).await;
    assert_eq!(stage.health().remembered, 2);
    stage
        .is_dead(&json!({ "sub": "u", "iat": NOW + 1000, "exp": NOW + 4600 }))
        .await;
    stage.clock.advance(1000);
    stage.until(|health| health.remembered == 0).await;
}

#[tokio::test]
async fn other_types_and_members_change_nothing_by_themselves() {
    let stage = Stage::new().await;
    let subject = stage.user("alice");
    for (event_type, payload) in [
        (
            caep("credential-change"),
            json!({ "credential_type": "password", "change_type": "update" }),
        ),
        (
            caep("device-compliance-change"),
            json!({ "previous_status": "compliant", "current_status": "not-compliant" }),
        ),
        (
            caep("risk-level-change"),
            json!({ "principal": "USER", "current_level": "HIGH" }),
        ),
        (
            caep("assurance-level-change"),
            json!({ "namespace": "RFC8176", "current_level": "x" }),
        ),
        (
            risc("credential-compromise"),
            json!({ "credential_type": "password" }),
        ),
        (caep("session-presented"), json!({})),
        (
            "https://schemas.example/unheard-of".to_owned(),
            json!({ "any": ["thing"] }),
        ),
    ] {
        stage.hears(&subject, &event_type, &payload).await;
        stage.lives(&json!({})).await;
    }
    let more = json!({
        "event_timestamp": NOW, "initiating_entity": "policy", "unheard_of": { "a": [1] },
        "reason_admin": { "en": "why" },
    });
    stage.hears(&subject, &caep("session-revoked"), &more).await;
    stage.is_dead(&json!({})).await;
}
