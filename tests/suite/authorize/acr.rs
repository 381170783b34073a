//! How well a person has proved who they are: `acr` (OpenID Connect Core §3.1.2.1, §5.5.1.1).

use serde_json::{Value, json};

use crate::support::{Person, TestApp, overlay, parts, refusal};

const SINGLE: &str = "urn:writ:acr:single-factor";
const MULTI: &str = "urn:writ:acr:multi-factor";

fn about(over: &Value) -> Value {
    let mut request = json!({ "scope": "openid", "resource": null });
    overlay(&mut request, over);
    request
}

/// What the ID token says of the sign-in, and the access token with it.
async fn said(app: &TestApp, person: &Person<'_>, over: &Value) -> Value {
    let answer = person.tokens(&about(over)).await;
    let claims = parts(answer["id_token"].as_str().unwrap()).1;
    let access = app.claims(answer["access_token"].as_str().unwrap()).await;
    for name in ["acr", "amr", "auth_time"] {
        assert_eq!(access[name], claims[name], "{name}");
    }
    claims
}

fn essential(value: &Value) -> Value {
    let mut acr = json!({ "essential": true });
    overlay(&mut acr, value);
    json!({ "claims": json!({ "id_token": { "acr": acr } }).to_string() })
}

#[tokio::test]
async fn a_token_says_how_the_person_signed_in() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    for over in [
        json!({}),
        // What would only be nice keeps nobody out.
        json!({ "acr_values": format!("phr {MULTI}") }),
        json!({ "claims": json!({ "id_token": { "acr": { "value": "phr" } } }).to_string() }),
        essential(&json!({})),
        essential(&json!({ "values": ["phr", SINGLE] })),
    ] {
        let claims = said(&app, &person, &over).await;
        assert_eq!(claims["acr"], SINGLE, "{over}");
        assert_eq!(claims["amr"], json!(["pwd"]));
        assert_eq!(claims["auth_time"], app.now());
    }
}

#[tokio::test]
async fn a_class_that_is_essential_is_met_or_the_client_is_told() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    app.advance(10);
    for value in [
        json!({ "value": MULTI }),
        json!({ "values": ["phr", "unheard of"] }),
    ] {
        let over = about(&essential(&value));
        // They may sign in with more…
        let answer = person.open(&over).await;
        assert_eq!(answer.status, 303);
        let login = answer.header("location").unwrap();
        assert!(login.starts_with("/login?errand="), "{login}");
        // …unless nothing may be shown.
        let mut silent = over.clone();
        silent["prompt"] = json!("none");
        assert_eq!(refusal(&person.open(&silent).await), "login_required");
    }
    // Whoever has just signed in for it, and not well enough, does not do so for ever.
    let over = about(&essential(&json!({ "value": MULTI })));
    let answer = person.open(&over).await;
    let (_, ticket) = answer
        .header("location")
        .unwrap()
        .split_once("errand=")
        .unwrap();
    let errand = writ::users::Errand::open(&app.state, &app.tenant(None), ticket).unwrap();
    let again = app.sign_in(person.user.clone()).await;
    let answer = again.get(&errand.to).await;
    assert_eq!(refusal(&answer), "unmet_authentication_requirements");
    // With a second factor it is met.
    let methods = ["pwd", "otp", "mfa"];
    let strong = app.sign_in_by(person.user.clone(), &methods).await;
    let claims = said(&app, &strong, &essential(&json!({ "value": MULTI }))).await;
    assert_eq!(claims["acr"], MULTI);
    assert_eq!(claims["amr"], json!(methods));
    // The one that was asked for, although it is not the strongest.
    let claims = said(&app, &strong, &json!({ "acr_values": SINGLE })).await;
    assert_eq!(claims["acr"], SINGLE);
}
