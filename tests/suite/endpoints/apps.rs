//! Connected apps: what a person lets clients have, who acts with it, and the end of that.

use serde_json::{Value, json};

use crate::{
    streams::{Receiver, caep, event, polled},
    support::{CALENDAR, CALLBACK, DELEGATION, Person, TestApp, fields, parts, secret_of},
};

/// The moment at which every scene begins, as a page says it.
const BEGIN: &str = "2027-01-15 08:00:00 UTC";

/// The client `app`, by a name, which may hand on what it gets to `helper`.
async fn scene() -> TestApp {
    let app = TestApp::apps().await;
    let public = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "name": "Picnics <b>", "delegates": ["helper"],
    });
    app.client("app", public).await;
    let helper = json!({
        "name": "Cloud watcher", "grant_types": [DELEGATION],
        "access": [{ "resource": "weather", "scopes": ["*"] }],
    });
    app.client("helper", helper).await;
    app
}

/// The part of the page about one client, as text; none when it is not among them.
async fn shown(person: &Person<'_>, client: &str) -> Option<String> {
    let answer = person.get("/account/apps").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = answer.text();
    let (_, part) = page.split_once(&format!("data-client=\"{client}\""))?;
    Some(part.split("</section>").next().unwrap().to_owned())
}

/// What the button of this client sends.
async fn form(person: &Person<'_>, client: &str) -> Vec<(String, String)> {
    fields(&shown(person, client).await.unwrap())
}

async fn revoke(person: &Person<'_>, form: &[(String, String)]) -> (u16, Option<String>) {
    let form: Vec<_> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let answer = person.post("/account/apps/revoke").form(&form).await;
    (answer.status, answer.header("location").map(str::to_owned))
}

fn text<'b>(body: &'b Value, name: &str) -> &'b str {
    body[name].as_str().unwrap()
}

#[tokio::test]
async fn each_client_is_listed_with_what_it_may_do() {
    let app = scene().await;
    let ann = app.signed_in("ann").await;
    let page = ann.get("/account/apps").await.text();
    assert!(page.contains("id=\"apps-none\""), "{page}");
    ann.tokens(&json!({ "scope": "openid tool:forecast" }))
        .await;
    app.advance(90);
    ann.code(&json!({ "client_id": "web", "resource": CALENDAR, "scope": "tool:list" }))
        .await;
    let picnics = shown(&ann, "app").await.unwrap();
    for words in [
        "Picnics &lt;b&gt;</h2>",
        "<code>app</code>",
        &format!("allowed since {BEGIN}"),
        &format!("last used {BEGIN}"),
        "Weather <span",
        "Use the tool forecast",
        "About you",
    ] {
        assert!(picnics.contains(words), "{words}: {picnics}");
    }
    // What it asked for is what it may do, and nobody acts with it yet.
    for words in ["history", "list", "not in use", "Acting for you"] {
        assert!(!picnics.contains(words), "{words}: {picnics}");
    }
    // A code that nobody has redeemed is no use.
    let web = shown(&ann, "web").await.unwrap();
    for words in ["Calendar <span", "2027-01-15 08:01:30 UTC", "not in use"] {
        assert!(web.contains(words), "{words}: {web}");
    }
    let bob = app.signed_in("bob").await;
    assert_eq!(shown(&bob, "app").await, None);
    // Nobody is signed in.
    let answer = app.get("/account/apps").await;
    assert_eq!(answer.status, 303);
    assert!(
        answer
            .header("location")
            .unwrap()
            .starts_with("/login?errand=")
    );
}

#[tokio::test]
async fn the_last_use_is_that_of_the_last_token() {
    let app = scene().await;
    let ann = app.signed_in("ann").await;
    let mut tokens = ann.tokens(&json!({})).await;
    for at in ["2027-01-15 09:00:00 UTC", "2027-01-15 10:00:00 UTC"] {
        app.advance(3600);
        let before = shown(&ann, "app").await.unwrap();
        assert!(!before.contains(at), "{before}");
        tokens = app
            .refresh(text(&tokens, "refresh_token"), &json!({}))
            .await
            .ok();
        let after = shown(&ann, "app").await.unwrap();
        assert!(after.contains(&format!("last used {at}")), "{after}");
        assert!(after.contains(&format!("since {BEGIN}")), "{after}");
    }
    // Another sign-in of the same client, with a grant of its own.
    app.advance(3600);
    ann.tokens(&json!({})).await;
    let after = shown(&ann, "app").await.unwrap();
    assert!(after.contains("last used 2027-01-15 11:00:00 UTC"));
}

#[tokio::test]
async fn an_agent_that_acts_with_it_is_listed_under_it() {
    let app = scene().await;
    let weather_server = json!({
        "grant_types": [DELEGATION], "serves": "weather",
        "exchange": [{ "resource": "calendar", "scopes": ["*"] }],
    });
    app.client("weather-server", weather_server).await;
    let ann = app.signed_in("ann").await;
    let tokens = ann.tokens(&json!({})).await;
    // One hands it on to the next.
    let token = text(&tokens, "access_token");
    app.advance(30);
    let handed = app.exchange("helper", token, &[]).await.token();
    let at = [("resource", CALENDAR), ("scope", "tool:history")];
    app.exchange("weather-server", &handed, &at).await.token();
    let agents = |page: &str| -> Vec<String> {
        let parts = page.split("<li class=\"agent\" data-agent=\"").skip(1);
        let lines = parts.map(|part| part.split("</li>").next().unwrap().to_owned());
        lines.collect()
    };
    let page = shown(&ann, "app").await.unwrap();
    let [helper, server] = agents(&page).try_into().unwrap();
    for words in ["helper\">Cloud watcher <", " at Weather <", "08:00:30 UTC"] {
        assert!(helper.contains(words), "{words}: {helper}");
    }
    for words in ["weather-server\">", " at Calendar <", "08:00:30 UTC"] {
        assert!(server.contains(words), "{words}: {server}");
    }
    // What an agent does is not what the client does.
    assert!(page.contains(&format!("last used {BEGIN}")), "{page}");

    // It goes on with the same grant, and with one under a later sign-in.
    app.advance(59);
    app.exchange("helper", token, &[]).await.token();
    let page = shown(&ann, "app").await.unwrap();
    assert!(agents(&page)[0].contains("08:00:30 UTC"), "to the minute");
    app.advance(1);
    app.exchange("helper", token, &[]).await.token();
    let page = shown(&ann, "app").await.unwrap();
    assert!(agents(&page)[0].contains("08:01:30 UTC"), "{page}");
    assert!(agents(&page)[1].contains("08:00:30 UTC"), "{page}");
    app.advance(3600);
    let later = ann.tokens(&json!({})).await;
    let exchanged = app.exchange("helper", text(&later, "access_token"), &[]);
    let exchanged = exchanged.await.token();
    let page = shown(&ann, "app").await.unwrap();
    assert_eq!(agents(&page).len(), 2, "{page}");
    assert!(agents(&page)[0].contains("09:01:30 UTC"), "{page}");

    // An agent's own name is no person's, and another person's agents are theirs.
    let bob = app.signed_in("bob").await;
    bob.tokens(&json!({})).await;
    assert!(agents(&shown(&bob, "app").await.unwrap()).is_empty());

    // With the client's, its agents' access ends.
    assert!(app.is_active(&exchanged).await);
    assert_eq!(revoke(&ann, &form(&ann, "app").await).await.0, 303);
    assert!(!app.is_active(&exchanged).await);
    assert_eq!(shown(&ann, "app").await, None);
}

#[tokio::test]
async fn a_use_is_remembered_across_a_restart() {
    let app = scene().await;
    let ann = app.signed_in("ann").await;
    let token = text(&ann.tokens(&json!({})).await, "access_token").to_owned();
    app.exchange("helper", &token, &[]).await.token();
    app.advance(120);
    app.exchange("helper", &token, &[]).await.token();
    let (user, cookies) = (ann.user.clone(), ann.cookies.clone());
    let app = app.restart().await;
    let page = app.get("/account/apps").header("cookie", &cookies).await;
    assert!(page.text().contains("last used 2027-01-15 08:02:00 UTC"));
    assert_eq!(parts(&token).1["sub"], user.id);
}

#[tokio::test]
async fn what_is_taken_back_ends_and_its_server_is_told() {
    let app = scene().await;
    let weather = Receiver::of(&app, "weather", polled()).await;
    let calendar = Receiver::of(&app, "calendar", polled()).await;
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    let tokens = ann.tokens(&json!({})).await;
    let of_bob = bob.tokens(&json!({})).await;
    let web = json!({ "client_id": "web", "client_secret": secret_of("web") });
    let code = ann.code(&json!({ "client_id": "web" })).await;
    let of_web = app.redeem(&code, &web).await.ok();
    let (token, refresh) = (
        text(&tokens, "access_token"),
        text(&tokens, "refresh_token"),
    );
    for active in [token, refresh] {
        assert!(app.is_active(active).await);
    }

    let (status, location) = revoke(&ann, &form(&ann, "app").await).await;
    assert_eq!((status, location.as_deref()), (303, Some("/account/apps")));
    for ended in [token, refresh] {
        assert!(!app.is_active(ended).await);
    }
    app.refresh(refresh, &json!({}))
        .await
        .refused(400, "invalid_grant");
    let told = weather.take().await;
    let [set] = told.as_slice() else {
        panic!("{told:?}")
    };
    let (subject, kind, members) = event(set);
    assert_eq!(kind, caep("session-revoked"));
    assert_eq!(subject["session"]["id"], parts(token).1["grant_id"]);
    assert_eq!(subject["user"]["sub"], json!(ann.user.id));
    assert_eq!(members["initiating_entity"], "user");
    assert!(calendar.take().await.is_empty());
    let events = app.admin("GET", "/audit?kind=consent.revoked").await;
    let events = events.await.ok();
    assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    assert_eq!(events[0]["event"]["client_id"], "app");
    assert_eq!(events[0]["event"]["sub"], json!(ann.user.id));

    // It has to ask again; nothing else has changed, for nobody.
    assert_eq!(shown(&ann, "app").await, None);
    assert_eq!(ann.open(&json!({})).await.status, 200);
    assert!(shown(&ann, "web").await.is_some());
    assert!(shown(&bob, "app").await.is_some());
    for other in [&of_bob, &of_web] {
        assert!(app.is_active(text(other, "access_token")).await);
    }
    app.refresh(text(&of_bob, "refresh_token"), &json!({}))
        .await
        .ok();
    app.refresh(text(&of_web, "refresh_token"), &web).await.ok();
}

#[tokio::test]
async fn a_form_that_was_made_for_another_changes_nothing() {
    let app = scene().await;
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    let tokens = ann.tokens(&json!({})).await;
    bob.tokens(&json!({})).await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let theirs = form(&bob, "app").await;
    for (name, form) in [
        ("without a token", vec![pair("client_id", "app")]),
        (
            "an invented one",
            vec![pair("client_id", "app"), pair("csrf", "AAAA")],
        ),
        ("another person's", theirs),
    ] {
        assert_eq!(revoke(&ann, &form).await.0, 403, "{name}");
    }
    // Their own token, as a page of another site would have a browser send it.
    let own = form(&ann, "app").await;
    let own: Vec<_> = own.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let call = || ann.post("/account/apps/revoke").form(&own);
    for site in ["cross-site", "same-site"] {
        let answer = call().header("sec-fetch-site", site).await;
        assert_eq!(answer.status, 403, "{site}");
        assert!(answer.text().contains("id=\"error\""));
    }
    // Nobody's cookie, or that of a session which is over.
    let answer = app.post("/account/apps/revoke").form(&own).await;
    assert_eq!(answer.status, 303);
    assert!(answer.header("location").unwrap().starts_with("/login?"));
    assert!(shown(&ann, "app").await.is_some());
    assert!(app.is_active(text(&tokens, "access_token")).await);
    assert_eq!(app.count("consent.revoked").await, 0);
    // The very same form, sent from where it was shown.
    let answer = call().header("sec-fetch-site", "same-origin").await;
    assert_eq!(answer.status, 303);
    assert_eq!(shown(&ann, "app").await, None);
}

#[tokio::test]
async fn a_client_that_was_not_allowed_anything_is_no_failure() {
    let app = scene().await;
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    ann.tokens(&json!({})).await;
    let code = json!({ "client_id": "web" });
    bob.code(&code).await;
    let csrf = form(&ann, "app").await;
    let csrf = &csrf.iter().find(|(name, _)| name == "csrf").unwrap().1;
    let long = "x".repeat(3000);
    for (ids, status) in [
        (vec![], 303),
        (vec![""], 303),
        (vec!["nobody"], 303),
        // Another person has allowed it something.
        (vec!["web"], 303),
        (vec!["app\0"], 303),
        (vec!["\0"], 303),
        (vec!["a\u{fffd}\r\nset-cookie: x=y"], 303),
        (vec!["APP"], 303),
        (vec!["app "], 303),
        (vec![long.as_str()], 303),
        // RFC 6749 §3.1: nobody knows which one is meant.
        (vec!["nobody", "app"], 400),
        (vec!["app", "app"], 400),
    ] {
        let ids = ids.into_iter().map(|id| ("client_id", id));
        let form: Vec<_> = ids.chain([("csrf", csrf.as_str())]).collect();
        let answer = ann.post("/account/apps/revoke").form(&form).await;
        assert_eq!(answer.status, status, "{form:?}: {}", answer.text());
    }
    let twice = [("csrf", "x"), ("csrf", csrf), ("client_id", "app")];
    let answer = ann.post("/account/apps/revoke").form(&twice).await;
    assert_eq!(answer.status, 400);
    let bytes = ann.post("/account/apps/revoke").raw(
        "application/x-www-form-urlencoded",
        b"client_id=%ff".to_vec(),
    );
    assert_eq!(bytes.await.status, 400);
    assert!(shown(&ann, "app").await.is_some());
    assert!(shown(&bob, "web").await.is_some());
    assert_eq!(app.count("consent.revoked").await, 0);
}
