//! Where the browser goes: sign in, be asked, be done. Attack groups B and D.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Browser, CALENDAR, CALLBACK, TestApp, WEATHER, encode, fields, overlay, pairs, refusal,
    request, told,
};

/// Where a browser without anybody signed in is sent.
async fn sent_away(app: &TestApp, over: &Value) -> String {
    let query = encode(&pairs(&request(over)));
    let answer = app.get(&format!("/authorize?{query}")).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").unwrap().to_owned()
}

#[tokio::test]
async fn a_stranger_signs_in_first_and_nothing_is_written_of_it() {
    let app = TestApp::apps().await;
    let before = app.state.journal.state().commands();
    let location = sent_away(&app, &json!({})).await;
    assert!(location.starts_with("/login?errand="), "{location}");
    // Some programs look whether the address answers before they open a browser.
    let again = sent_away(&app, &json!({})).await;
    assert_ne!(location, again);
    assert_eq!(app.state.journal.state().commands(), before);
    // AC-038.
    let query = encode(&pairs(&request(&json!({ "prompt": "none" }))));
    let answer = app.get(&format!("/authorize?{query}")).await;
    assert_eq!(refusal(&answer), "login_required");
}

#[tokio::test]
async fn a_person_is_asked_once_and_the_client_gets_a_code() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    // AC-038.
    let silent = person.open(&json!({ "prompt": "none" })).await;
    assert_eq!(refusal(&silent), "consent_required");
    let page = person.open(&json!({})).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    for words in ["consent-allow", "consent-deny", "Weather", WEATHER] {
        assert!(
            text.contains(&words.replace('/', "&#x2f;")),
            "{words}: {text}"
        );
    }
    // AC-072, AC-073.
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    assert!(!policy.contains("form-action"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let answer = person.press(&page, "allow", &[]).await;
    let told = told(&answer);
    assert_eq!(told["state"], "a state");
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(app.count("consent.given").await, 1);
    // Remembered, also in silence.
    for over in [json!({}), json!({ "prompt": "none" })] {
        assert_eq!(person.open(&over).await.status, 303, "{over}");
    }
    // The page is there again for who wants it.
    assert_eq!(
        person.open(&json!({ "prompt": "consent" })).await.status,
        200
    );
    // AC-077, AC-076: for more, for another place, for another client, for another person.
    for over in [
        json!({ "scope": "tool:forecast tool:history tool:alert" }),
        json!({ "resource": CALENDAR, "scope": "tool:list" }),
        json!({ "scope": "openid tool:forecast" }),
        json!({ "client_id": "web" }),
    ] {
        let answer = person.open(&over).await;
        assert_eq!(
            answer.status,
            200,
            "{over}: {:?}",
            answer.header("location")
        );
        assert!(answer.text().contains("consent-allow"), "{over}");
    }
    let other = app.signed_in("bob").await;
    assert_eq!(other.open(&json!({})).await.status, 200);
}

#[tokio::test]
async fn who_denies_is_believed() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let page = person.open(&json!({})).await;
    // AC-079.
    let answer = person.press(&page, "deny", &[]).await;
    assert_eq!(refusal(&answer), "access_denied");
    assert_eq!(person.open(&json!({})).await.status, 200);
    assert_eq!(app.count("consent.denied").await, 1);
    assert_eq!(app.count("consent.given").await, 0);
    // Nothing was decided.
    let answer = person.press(&page, "perhaps", &[]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("location"), None);
}

#[tokio::test]
async fn a_person_may_allow_a_part() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let scope = json!({ "scope": "weather:all openid email offline_access" });
    let page = person.open(&scope).await;
    let without = ["weather:all", "tool:alert", "email"];
    let answer = person.press(&page, "allow", &without).await;
    let code = told(&answer)["code"].clone();
    let body = app.redeem(&code, &json!({})).await.ok();
    assert_eq!(
        body["scope"],
        "offline_access openid tool:forecast tool:history weather:read"
    );
    // Without the part that includes others, those that were left stay.
    let page = person
        .open(&json!({ "scope": "weather:all", "client_id": "web" }))
        .await;
    let without = ["weather:all", "weather:read", "tool:history", "tool:alert"];
    let answer = person.press(&page, "allow", &without).await;
    assert!(told(&answer).contains_key("code"));
    // Nothing at all is a denial.
    let page = person
        .open(&json!({ "prompt": "consent", "scope": "tool:alert" }))
        .await;
    let answer = person.press(&page, "allow", &["tool:alert"]).await;
    assert_eq!(refusal(&answer), "access_denied");
    // `openid` is no choice.
    let page = person
        .open(&json!({ "prompt": "consent", "scope": "openid profile" }))
        .await;
    let answer = person
        .press(&page, "allow", &["profile", "tool:forecast"])
        .await;
    let code = told(&answer)["code"].clone();
    assert_eq!(app.redeem(&code, &json!({})).await.ok()["scope"], "openid");
    // Nobody is given what was not asked.
    let page = person
        .open(&json!({ "prompt": "consent", "scope": "tool:forecast" }))
        .await;
    let form = page
        .text()
        .replace("value=\"tool:forecast\"", "value=\"tool:alert\"");
    assert_ne!(form, page.text());
    let mut changed = page.clone();
    changed.body = form.into_bytes();
    let answer = person.press(&changed, "allow", &[]).await;
    assert_eq!(refusal(&answer), "access_denied");
}

#[tokio::test]
async fn a_step_up_loses_nothing() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let first = person.tokens(&json!({ "scope": "tool:forecast" })).await;
    let more = person
        .tokens(&json!({ "scope": "tool:forecast tool:history" }))
        .await;
    assert_eq!(more["scope"], "tool:forecast tool:history");
    // The earlier one still stands, and what was allowed is asked for no more.
    assert!(app.is_active(first["access_token"].as_str().unwrap()).await);
    for scope in [
        "tool:forecast",
        "tool:history",
        "tool:history tool:forecast",
    ] {
        let answer = person
            .open(&json!({ "scope": scope, "prompt": "none" }))
            .await;
        assert!(told(&answer).contains_key("code"), "{scope}");
    }
    // What is asked next is all that is given: never more.
    let less = person.tokens(&json!({ "scope": "tool:history" })).await;
    assert_eq!(less["scope"], "tool:history");
}

#[tokio::test]
async fn no_other_form_or_browser_decides() {
    let app = TestApp::apps().await;
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    let page = ann.open(&json!({})).await;
    // AC-067, AC-311: with another session's token, with none, from another place.
    let answer = bob.press(&page, "allow", &[]).await;
    assert_eq!(answer.status, 403);
    let bobs = bob.open(&json!({})).await;
    let answer = ann.press(&bobs, "allow", &[]).await;
    assert_eq!(answer.status, 403);
    let text = page.text();
    let ticket = text.split("name=\"interaction\" value=\"").nth(1).unwrap();
    let ticket = ticket.split('"').next().unwrap();
    let form = [
        ("interaction", ticket),
        ("decision", "allow"),
        ("scope", "tool:forecast"),
    ];
    assert_eq!(
        ann.post("/authorize/decision").form(&form).await.status,
        403
    );
    let cross = ann
        .press(&page, "allow", &[])
        .header("sec-fetch-site", "cross-site");
    assert_eq!(cross.await.status, 403);
    assert_eq!(app.count("consent.given").await, 0);
    // Without a session the person signs in first.
    let answer = app.post("/authorize/decision").form(&form).await;
    assert_eq!(answer.status, 303);
    assert!(
        answer
            .header("location")
            .unwrap()
            .starts_with("/login?errand=")
    );
    // A ticket is no other one, and does not last.
    for broken in ["", "x", &ticket[1..]] {
        let answer = ann
            .get(&format!("/authorize/resume?interaction={broken}"))
            .await;
        assert_eq!(answer.status, 400, "{broken}");
    }
    app.advance(app.state.config.authorization.patience + 1);
    let answer = ann
        .get(&format!("/authorize/resume?interaction={ticket}"))
        .await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn who_signed_in_too_long_ago_does_so_again() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    assert!(person.allow(&json!({})).await.contains_key("code"));
    app.advance(100);
    // AC-040.
    for over in [
        json!({ "prompt": "login" }),
        json!({ "prompt": "select_account" }),
        json!({ "max_age": "0" }),
        json!({ "max_age": "99" }),
    ] {
        let answer = person.open(&over).await;
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("/login?errand="), "{over}: {location}");
    }
    // Also in the second in which somebody has signed in: they did so for something else.
    let fresh = app.signed_in("eve").await;
    assert!(fresh.allow(&json!({})).await.contains_key("code"));
    for over in [json!({ "prompt": "login" }), json!({ "max_age": "0" })] {
        let answer = fresh.open(&over).await;
        let location = answer.header("location").unwrap();
        assert!(location.starts_with("/login?errand="), "{over}: {location}");
        // The page is shown, and sends nobody back.
        assert_eq!(fresh.get(location).await.status, 200, "{over}");
    }
    assert!(
        person
            .allow(&json!({ "max_age": "100" }))
            .await
            .contains_key("code")
    );
    let silent = person
        .open(&json!({ "max_age": "99", "prompt": "none" }))
        .await;
    assert_eq!(refusal(&silent), "login_required");
}

#[tokio::test]
async fn somebody_else_is_no_good_where_one_is_named() {
    let app = TestApp::apps().await;
    let (ann, bob) = (app.signed_in("ann").await, app.signed_in("bob").await);
    let scope = json!({ "scope": "openid", "resource": null });
    let tokens = ann.tokens(&scope).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let hinted =
        json!({ "scope": "openid", "resource": null, "id_token_hint": hint, "prompt": "none" });
    assert!(told(&ann.open(&hinted).await).contains_key("code"));
    // AC-042.
    assert!(bob.allow(&scope).await.contains_key("code"));
    assert_eq!(refusal(&bob.open(&hinted).await), "login_required");
    let claims = json!({ "id_token": { "sub": { "value": ann.user.id } } }).to_string();
    let claimed =
        json!({ "scope": "openid", "resource": null, "claims": claims, "prompt": "none" });
    assert!(told(&ann.open(&claimed).await).contains_key("code"));
    assert_eq!(refusal(&bob.open(&claimed).await), "login_required");
    // AC-189: an access token is no hint, nor another client's ID token.
    let access = tokens["access_token"].as_str().unwrap();
    let wrong = json!({ "id_token_hint": access, "prompt": "none" });
    assert_eq!(refusal(&ann.open(&wrong).await), "invalid_request");
    let other = json!({ "client_id": "web", "id_token_hint": hint });
    assert_eq!(refusal(&ann.open(&other).await), "invalid_request");
}

#[tokio::test]
async fn an_answer_may_be_posted() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    assert!(person.allow(&json!({})).await.contains_key("code"));
    let posted = json!({ "response_mode": "form_post", "state": "\"><b>a state</b>" });
    let page = person.open(&posted).await;
    assert_eq!(page.status, 200);
    let text = page.text();
    // OAuth 2.0 Form Post Response Mode §2: to the redirect URI, by POST, and kept by nobody.
    let form = format!("<form method=\"post\" action=\"{CALLBACK}\">");
    let form = form
        .replace("/cb", "&#x2f;cb")
        .replace("//app", "&#x2f;&#x2f;app");
    assert!(text.contains(&form), "{text}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(!policy.contains("form-action"));
    // What is in it is what a redirect would hold, and none of it is markup.
    assert!(!text.contains("<b>a state"), "{text}");
    let answer: BTreeMap<String, String> = fields(&text).into_iter().collect();
    let names: Vec<&str> = answer.keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "iss", "state"]);
    assert_eq!(answer["iss"], app.issuer);
    assert_eq!(answer["state"], "\"><b>a state</b>");
    assert!(app.redeem(&answer["code"], &json!({})).await.ok()["access_token"].is_string());
    // The script that presses the button is ours, and the policy lets it run.
    let script = text
        .split("src=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let script = app.get(&script.replace("&#x2f;", "/")).await;
    assert_eq!(script.status, 200);
    assert!(
        script
            .header("content-type")
            .unwrap()
            .starts_with("text/javascript")
    );

    for (over, error) in [
        (json!({ "scope": "nothing" }), "invalid_scope"),
        (
            json!({ "response_type": "token" }),
            "unsupported_response_type",
        ),
    ] {
        let mut refused = json!({ "response_mode": "form_post" });
        overlay(&mut refused, &over);
        let page = person.open(&refused).await;
        assert_eq!(page.status, 200);
        let answer: BTreeMap<String, String> = fields(&page.text()).into_iter().collect();
        assert_eq!(answer["error"], error);
        assert_eq!(answer["iss"], app.issuer);
        assert_eq!(answer["state"], "a state");
        assert!(!answer.contains_key("code"));
    }
}

#[tokio::test]
async fn a_place_is_asked_for_whatever_may_be_done_there() {
    let app = TestApp::apps().await;
    app.apply(json!({ "resources": [{ "id": "bare", "resource": "https://bare.example/mcp" }] }))
        .await;
    let person = app.signed_in("ann").await;
    let about = json!({ "scope": "openid", "resource": null });
    assert!(person.allow(&about).await.contains_key("code"));
    // Scopes that nobody knows there, and a place that has none.
    for over in [
        json!({ "scope": "openid x" }),
        json!({ "scope": "openid", "resource": "https://bare.example/mcp" }),
    ] {
        let page = person.open(&over).await;
        assert_eq!(page.status, 200, "{over}");
        let answer = person.press(&page, "allow", &[]).await;
        assert!(told(&answer).contains_key("code"), "{over}");
        assert_eq!(person.open(&over).await.status, 303, "{over}");
    }
}

#[tokio::test]
async fn what_is_allowed_at_one_place_is_not_at_another() {
    let app = TestApp::apps().await;
    let members = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "multiple_resources": true,
    });
    app.client("app", members).await;
    let person = app.signed_in("ann").await;
    // Both know `tool:history`; it is allowed at the calendar alone.
    let query = encode(&pairs(&request(
        &json!({ "scope": "tool:history tool:forecast" }),
    )));
    let query = format!("{query}&resource={CALENDAR}");
    let page = person.get(&format!("/authorize?{query}")).await;
    let weather = format!("{WEATHER} tool:history");
    assert!(
        page.text().contains(&weather.replace('/', "&#x2f;")),
        "{}",
        page.text()
    );
    let answer = person.press(&page, "allow", &[&weather]).await;
    let code = told(&answer)["code"].clone();
    let body = app.redeem(&code, &json!({})).await.ok();
    // One token for both says nothing that one of them would take for its own.
    assert_eq!(body["scope"], "tool:forecast");
    let refresh = body["refresh_token"].as_str().unwrap();
    let at_weather = app
        .refresh(refresh, &json!({ "resource": WEATHER }))
        .await
        .ok();
    assert_eq!(at_weather["scope"], "tool:forecast");
    let refresh = at_weather["refresh_token"].as_str().unwrap();
    let calendar = json!({ "resource": CALENDAR });
    let at_calendar = app.refresh(refresh, &calendar).await.ok();
    assert_eq!(at_calendar["scope"], "tool:history");
}

#[tokio::test]
async fn a_form_from_another_site_brings_no_cookies_and_is_no_worse_for_it() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    assert!(person.allow(&json!({})).await.contains_key("code"));
    app.advance(10);
    for (over, to) in [
        (json!({ "prompt": "none" }), CALLBACK),
        (json!({}), CALLBACK),
        (json!({ "prompt": "select_account" }), "/login?errand="),
    ] {
        let sent = request(&over);
        let answer = app.post("/authorize").form(&pairs(&sent)).await;
        let resume = answer.header("location").unwrap();
        assert!(resume.starts_with("/authorize/resume?"), "{over}: {resume}");
        let answer = person.get(resume).await;
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(to), "{over}: {location}");
        assert!(!location.contains("error="), "{over}: {location}");
    }
    // What is wrong with it is said at once.
    let wrong = request(&json!({ "scope": "nothing" }));
    let answer = app.post("/authorize").form(&pairs(&wrong)).await;
    assert_eq!(refusal(&answer), "invalid_scope");
}

#[tokio::test]
async fn a_link_to_go_on_is_of_no_use_to_skip_a_sign_in() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    assert!(person.allow(&json!({})).await.contains_key("code"));
    app.advance(10);
    // Somebody begins without a session and carries the link to a browser that has one.
    let login = sent_away(&app, &json!({ "prompt": "login" })).await;
    let (_, ticket) = login.split_once("errand=").unwrap();
    let errand = writ::users::Errand::open(&app.state, &app.tenant(None), ticket).unwrap();
    let answer = person.get(&errand.to).await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("/login?errand="), "{location}");
    // Who signs in as somebody else than the request names is no good, and the client is told.
    let named = json!({ "id_token": { "sub": { "value": person.user.id } } }).to_string();
    let over = json!({ "scope": "openid", "resource": null, "claims": named });
    let login = sent_away(&app, &over).await;
    let (_, ticket) = login.split_once("errand=").unwrap();
    let errand = writ::users::Errand::open(&app.state, &app.tenant(None), ticket).unwrap();
    let other = app.signed_in("bob").await;
    assert_eq!(refusal(&other.get(&errand.to).await), "login_required");
}

#[tokio::test]
async fn a_program_that_any_other_may_pose_as_is_asked_for_each_time() {
    let app = TestApp::apps().await;
    let local = json!({
        "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none",
    });
    app.client("program", local).await;
    let person = app.signed_in("ann").await;
    let asked = |port: u16| json!({ "client_id": "program", "redirect_uri": format!("http://127.0.0.1:{port}/cb") });
    let page = person.open(&asked(1000)).await;
    let answer = person.press(&page, "allow", &[]).await;
    let location = answer.header("location").unwrap();
    assert!(
        location.starts_with("http://127.0.0.1:1000/cb?code="),
        "{location}"
    );
    // RFC 8252 §8.6: whoever listens there now.
    let page = person.open(&asked(1001)).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("allowed before"));
}

#[tokio::test]
async fn to_have_access_later_too_is_no_access_of_its_own() {
    let app = TestApp::apps().await;
    let refreshing = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    });
    app.client("app", refreshing).await;
    let person = app.signed_in("ann").await;
    // AC-079.
    let scope = json!({ "scope": "tool:forecast offline_access" });
    let page = person.open(&scope).await;
    let answer = person.press(&page, "allow", &["tool:forecast"]).await;
    assert_eq!(refusal(&answer), "access_denied");
    assert_eq!(app.count("consent.given").await, 0);
    // By itself it is about what is meant without any scope.
    let page = person.open(&json!({ "scope": "offline_access" })).await;
    let answer = person.press(&page, "allow", &[]).await;
    let body = app.redeem(&told(&answer)["code"], &json!({})).await.ok();
    let scope = body["scope"].as_str().unwrap();
    assert!(scope.contains("offline_access tool:"), "{scope}");
}

#[tokio::test]
async fn a_long_request_is_carried_through_the_sign_in() {
    let app = TestApp::apps().await;
    let over = json!({ "state": "s".repeat(4096), "login_hint": "h".repeat(200) });
    let location = sent_away(&app, &over).await;
    assert!(location.len() > 8192, "{}", location.len());
    assert_eq!(app.get(&location).await.status, 200);
}

#[tokio::test]
async fn pages_point_to_what_the_client_says_of_itself() {
    let app = TestApp::apps().await;
    let metadata = json!({
        "client_name": "\u{202e}radnelaC\u{200b}", "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none", "policy_uri": "https://app.example/privacy",
        "tos_uri": "https://app.example/terms",
    });
    let client = app.post("/register").json(&metadata).await;
    let client = client.with(StatusCode::CREATED);
    // Nothing in a name turns other words round.
    assert_eq!(client["client_name"], "radnelaC");
    let over = json!({ "client_id": client["client_id"] });
    let login = app.get(&sent_away(&app, &over).await).await;
    let person = app.signed_in("ann").await;
    for page in [login, person.open(&over).await] {
        let text = page.text();
        for link in [
            "https:&#x2f;&#x2f;app.example&#x2f;privacy",
            "https:&#x2f;&#x2f;app.example&#x2f;terms",
        ] {
            assert!(
                text.contains(&format!("href=\"{link}\" rel=\"noreferrer\"")),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_person_has_as_long_as_is_configured() {
    let app = TestApp::with(|config| config.authorization.patience = 7200).await;
    app.declare_weather(None).await;
    app.declare_apps().await;
    app.person("ann", "correct horse battery").await;
    let typed = [("username", "ann"), ("password", "correct horse battery")];
    let query = encode(&pairs(&request(&json!({}))));
    for (seconds, status) in [(7200, 200), (7201, 400)] {
        let mut browser = Browser::new(&app);
        let login = browser.open(&format!("/authorize?{query}")).await;
        app.advance(seconds);
        let page = browser.submit(&login, "/login", &typed).await;
        assert_eq!(page.answer.status, status, "{}", page.text());
        assert_eq!(page.text().contains("consent-allow"), status == 200);
    }
}

#[tokio::test]
async fn a_decision_says_each_thing_once() {
    let app = TestApp::apps().await;
    let person = app.signed_in("ann").await;
    let page = person.open(&json!({})).await;
    let mut form = fields(&page.text());
    form.push(("decision".into(), "allow".into()));
    let send = |form: &[(String, String)]| {
        let form: Vec<_> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        person.post("/authorize/decision").form(&form)
    };
    for (name, other) in [("decision", "deny"), ("csrf", "x"), ("interaction", "x")] {
        let mut twice = form.clone();
        twice.push((name.into(), other.into()));
        let answer = send(&twice).await;
        assert_eq!(answer.status, 400, "{name}");
        let words = format!("Parameter &#x27;{name}&#x27; is given more than once.");
        assert!(answer.text().contains(&words), "{}", answer.text());
    }
    // Nothing was remembered.
    assert_eq!(person.open(&json!({})).await.status, 200);
    assert!(told(&send(&form).await).contains_key("code"));
}
