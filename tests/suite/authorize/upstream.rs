//! What a client may do is asked before anybody is sent to another provider.

use serde_json::{Value, json};

use crate::{
    support::{
        Browser, Page, TestApp, WEATHER, encode, overlay, pairs,
        provider::{CORP, Scene, Sent, back, sent},
        refusal, request, secret_of, told,
    },
    users::{
        factor,
        upstream::{KEY, has_authenticator},
    },
};

const ASKED: &str = "/authorize/upstream";
/// What a `state` is bound to.
const COOKIE: &str = "__Host-writ-departure";
const PASSWORD: &str = "correct horse battery";
const FORECAST: (&str, &str) = ("scope", "tool:forecast");
const HISTORY: (&str, &str) = ("scope", "tool:history");

async fn scene() -> Scene {
    let scene = Scene::with(|_| {}).await;
    scene.app.declare_weather(None).await;
    scene.app.declare_apps().await;
    scene
}

fn query(over: &Value) -> String {
    format!("/authorize?{}", encode(&pairs(&request(over))))
}

/// The sign-in page that a client sends this browser to.
async fn login(browser: &mut Browser<'_>, over: &Value) -> Page {
    let page = browser.open(&query(over)).await;
    assert!(page.path.starts_with("/login?errand="), "{}", page.path);
    page
}

/// The page that it comes to when it chooses the provider there.
async fn asked(browser: &mut Browser<'_>, over: &Value) -> Page {
    let login = login(browser, over).await;
    let page = browser.submit(&login, CORP, &[]).await;
    assert_eq!(page.answer.status, 200, "{}", page.text());
    page.form(ASKED);
    page
}

async fn press(
    browser: &mut Browser<'_>,
    page: &Page,
    decision: &str,
    chosen: &[(&str, &str)],
) -> Page {
    let form = [&[("decision", decision)], chosen].concat();
    browser.submit_only(page, ASKED, &form).await
}

/// Leaves with everything that is asked for.
async fn leaves(browser: &mut Browser<'_>, over: &Value) -> Sent {
    let page = asked(browser, over).await;
    sent(&press(browser, &page, "allow", &[FORECAST, HISTORY]).await)
}

/// Comes back as Alice, and is signed in; returns where that leads.
async fn returns(scene: &Scene, browser: &mut Browser<'_>, away: &Sent) -> String {
    scene.provider.gives(&scene.token(away, &json!({})));
    let page = scene.come(browser, away).await;
    page.location().unwrap_or_else(|| panic!("{}", page.text()))
}

/// The page asks who is signed in, as if nothing had been decided.
#[track_caller]
fn asks_as_usual(page: &Page) {
    assert_eq!(page.answer.status, 200, "{}", page.text());
    page.form("/authorize/decision");
    assert!(page.element("consent-user").is_some());
}

async fn given(app: &TestApp, page: &Page) -> Value {
    let code = told(&page.answer)["code"].clone();
    app.redeem(&code, &json!({})).await.ok()
}

#[tokio::test]
async fn a_person_is_asked_before_the_provider_and_not_after() {
    let scene = scene().await;
    let app = &scene.app;
    let mut browser = Browser::new(app);
    let before = app.state.journal.state().commands();
    let page = asked(&mut browser, &json!({})).await;
    assert_eq!(page.element("consent-client").unwrap(), "app");
    assert_eq!(page.element("consent-provider").unwrap(), "Corp");
    assert_eq!(
        page.element("consent-redirect-host").unwrap(),
        "app.example"
    );
    for words in ["consent-allow", "consent-deny", "tool:forecast", "Weather"] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    let policy = page.answer.header("content-security-policy").unwrap();
    // Who denies is sent to the client.
    assert!(!policy.contains("form-action"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    // Until they allow it nothing is written, nothing is asked of the provider, and the browser
    // holds nothing that lets it come back from there.
    assert_eq!(app.state.journal.state().commands(), before);
    assert!(
        !browser.cookies.contains_key(COOKIE),
        "{:?}",
        browser.cookies
    );
    let metadata = "/.well-known/openid-configuration";
    assert!(scene.provider.asked(metadata).is_empty());

    let onward = press(&mut browser, &page, "allow", &[HISTORY]).await;
    let cookie = onward.answer.header("set-cookie").unwrap();
    let attributes = "; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600";
    assert!(cookie.starts_with(COOKIE) && cookie.ends_with(attributes));
    let away = sent(&onward);
    scene.provider.gives(&scene.token(&away, &json!({})));
    let page = scene.come(&mut browser, &away).await;
    let page = browser.follow(page).await;
    assert_eq!(given(app, &page).await["scope"], "tool:history");
    assert_eq!(app.count("consent.given").await, 1);
    // It is the consent of who has come: with that scope they are not asked again, with others
    // they are, in the usual way.
    let less = json!({ "scope": "tool:history" });
    let page = browser.open(&query(&less)).await;
    assert_eq!(given(app, &page).await["scope"], "tool:history");
    asks_as_usual(&browser.open(&query(&json!({}))).await);
    // Before anybody has signed in nobody knows what they have allowed.
    let mut other = Browser::new(app);
    asked(&mut other, &less).await;
}

#[tokio::test]
async fn who_denies_goes_nowhere_else() {
    let scene = scene().await;
    let mut browser = Browser::new(&scene.app);
    let page = asked(&mut browser, &json!({})).await;
    for (decision, chosen) in [("deny", [FORECAST].as_slice()), ("allow", &[])] {
        let answer = press(&mut browser, &page, decision, chosen).await;
        assert_eq!(refusal(&answer.answer), "access_denied", "{decision}");
    }
    let answer = press(&mut browser, &page, "perhaps", &[FORECAST]).await;
    assert_eq!(answer.answer.status, 400);
    // Nobody is given what was not asked for.
    let more = [("scope", "tool:alert")];
    let answer = press(&mut browser, &page, "allow", &more).await;
    assert_eq!(refusal(&answer.answer), "access_denied");
    assert!(!browser.cookies.contains_key(COOKIE));
    let asked = scene.provider.asked("/.well-known/openid-configuration");
    assert!(asked.is_empty());
    assert_eq!(scene.app.count("consent.denied").await, 1);
    assert_eq!(scene.app.count("consent.given").await, 0);
}

#[tokio::test]
async fn no_other_form_decides() {
    let scene = scene().await;
    let mut browser = Browser::new(&scene.app);
    let page = asked(&mut browser, &json!({})).await;
    let hidden = page.form(ASKED).hidden;
    let value = |name: &str| &hidden.iter().find(|(known, _)| known == name).unwrap().1;
    let allow = |csrf: &str| {
        let pairs = [
            ("interaction", value("interaction").as_str()),
            ("provider", "corp"),
            ("decision", "allow"),
            FORECAST,
            ("csrf", csrf),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    // Without a token, with another browser's, in another browser with this one's.
    let mut other = Browser::new(&scene.app);
    let others = asked(&mut other, &json!({})).await.form(ASKED).hidden;
    let others = &others.iter().find(|(name, _)| name == "csrf").unwrap().1;
    let tries = [
        (&mut browser.copy(), ""),
        (&mut browser.copy(), others.as_str()),
        (&mut other, value("csrf").as_str()),
    ];
    for (browser, csrf) in tries {
        let form = allow(csrf);
        let form: Vec<_> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let answer = browser.post(ASKED, &form).await;
        assert_eq!(answer.answer.status, 403, "{csrf}");
        assert!(!browser.cookies.contains_key(COOKIE));
    }
    let unknown = browser
        .submit_only(&page, ASKED, &[("provider", "evil"), ("decision", "allow")])
        .await;
    assert_eq!(unknown.answer.status, 404);
    assert_eq!(browser.get(ASKED).await.answer.status, 405);
}

#[tokio::test]
async fn a_decision_is_for_one_browser() {
    let scene = scene().await;
    let app = &scene.app;
    app.person("bob", PASSWORD).await;
    let mut mallory = Browser::new(app);
    let away = leaves(&mut mallory, &json!({})).await;
    let link = returns(&scene, &mut mallory, &away).await;
    // Somebody who is signed in gets the link on which Mallory would go on.
    let mut bob = Browser::new(app);
    bob.sign_in("bob", PASSWORD).await;
    asks_as_usual(&bob.open(&link).await);
    // Also when they have left for the provider in their own time.
    let mut bob = Browser::new(app);
    leaves(&mut bob, &json!({})).await;
    assert!(bob.cookies.contains_key(COOKIE));
    bob.sign_in("bob", PASSWORD).await;
    asks_as_usual(&bob.open(&link).await);
    // Nobody comes back from the provider with what another browser has left with.
    let away = leaves(&mut Browser::new(app), &json!({})).await;
    scene.provider.gives(&scene.token(&away, &json!({})));
    assert_eq!(scene.come(&mut bob, &away).await.answer.status, 400);
    assert_eq!(app.count("consent.given").await, 0);
    // It is good where it was made.
    let page = mallory.open(&link).await;
    assert!(told(&page.answer).contains_key("code"));
}

#[tokio::test]
async fn a_decision_is_for_one_request_and_one_time() {
    let scene = scene().await;
    let app = &scene.app;
    let mut browser = Browser::new(app);
    let again = json!({ "prompt": "consent" });
    let away = leaves(&mut browser, &again).await;
    let link = returns(&scene, &mut browser, &away).await;
    let (_, decision) = link.split_once("&decision=").unwrap();
    // Carried to another request, of the same client or of another, it decides nothing.
    for over in [
        json!({ "prompt": "consent", "state": "another" }),
        json!({ "prompt": "consent", "client_id": "web" }),
    ] {
        let page = browser.open(&query(&over)).await;
        asks_as_usual(&page);
        let hidden = page.form("/authorize/decision").hidden;
        let (_, ticket) = hidden
            .iter()
            .find(|(name, _)| name == "interaction")
            .unwrap();
        let link = format!("/authorize/resume?interaction={ticket}&decision={decision}");
        asks_as_usual(&browser.open(&link).await);
    }
    let page = browser.open(&link).await;
    assert!(told(&page.answer).contains_key("code"));
    let page = browser.open(&link).await;
    assert_eq!(
        (page.answer.status, page.answer.header("location")),
        (400, None)
    );
    assert!(page.text().contains("told to the application already"));
    assert_eq!(app.count("consent.given").await, 1);
}

#[tokio::test]
async fn a_decision_ends_with_the_request() {
    let scene = scene().await;
    let app = &scene.app;
    let patience = app.state.config.authorization.patience;
    let mut browser = Browser::new(app);
    let page = asked(&mut browser, &json!({})).await;
    app.advance(patience - 10);
    let away = sent(&press(&mut browser, &page, "allow", &[FORECAST]).await);
    app.advance(11);
    let link = returns(&scene, &mut browser, &away).await;
    let page = browser.open(&link).await;
    assert_eq!(
        (page.answer.status, page.answer.header("location")),
        (400, None)
    );
    assert!(page.text().contains("took too long"), "{}", page.text());
    assert_eq!(app.count("consent.given").await, 0);
    // So does the page that asks.
    let mut other = Browser::new(app);
    let page = asked(&mut other, &json!({})).await;
    app.advance(patience + 1);
    let answer = press(&mut other, &page, "allow", &[FORECAST]).await;
    assert_eq!(answer.answer.status, 400);
    assert!(!other.cookies.contains_key(COOKIE));
}

#[tokio::test]
async fn a_pushed_request_is_over_with_its_answer() {
    let scene = scene().await;
    let app = &scene.app;
    for decision in ["allow", "deny"] {
        let form = request(&json!({ "client_id": null }));
        let pushed = app.post("/par").basic("web", &secret_of("web"));
        let pushed = pushed.form(&pairs(&form)).await;
        let pushed = pushed.with(http::StatusCode::CREATED);
        let uri = pushed["request_uri"].as_str().unwrap();
        let way = encode(&[("client_id", "web"), ("request_uri", uri)]);
        let way = format!("/authorize?{way}");
        let mut browser = Browser::new(app);
        let login = browser.open(&way).await;
        let page = browser.submit(&login, CORP, &[]).await;
        let mut answer = press(&mut browser, &page, decision, &[FORECAST]).await;
        if decision == "allow" {
            let link = returns(&scene, &mut browser, &sent(&answer)).await;
            answer = browser.open(&link).await;
        }
        assert_eq!(
            told(&answer.answer).contains_key("code"),
            decision == "allow"
        );
        let again = browser.get(&way).await;
        assert_eq!(again.answer.status, 400, "{}", again.text());
        assert!(again.text().contains("invalid_request_uri"));
    }
}

#[tokio::test]
async fn what_was_not_shown_is_asked_for_as_usual() {
    let scene = scene().await;
    let app = &scene.app;
    let mut browser = Browser::new(app);
    let over = json!({ "scope": "weather:read" });
    let page = asked(&mut browser, &over).await;
    let chosen = [("scope", "weather:read"), FORECAST, HISTORY];
    let away = sent(&press(&mut browser, &page, "allow", &chosen).await);
    // By now that scope stands for more.
    app.apply(json!({ "resources": [{
        "id": "weather", "resource": WEATHER, "signing_algorithm": "EdDSA",
        "tools": [{ "name": "forecast" }, { "name": "history" }, { "name": "alert" }],
        "scopes": [{
            "name": "weather:read", "includes": ["tool:forecast", "tool:history", "tool:alert"],
        }],
    }] }))
    .await;
    let link = returns(&scene, &mut browser, &away).await;
    asks_as_usual(&browser.open(&link).await);
    assert_eq!(app.count("consent.given").await, 0);
}

#[tokio::test]
async fn the_request_is_checked_again_with_who_has_come() {
    let scene = scene().await;
    let app = &scene.app;
    let bob = app.person("bob", PASSWORD).await;
    // Somebody else is wanted.
    let wanted = json!({ "id_token": { "sub": { "value": bob.id } } }).to_string();
    let over = json!({ "scope": "openid tool:forecast", "claims": wanted });
    let mut browser = Browser::new(app);
    let away = leaves(&mut browser, &over).await;
    let link = returns(&scene, &mut browser, &away).await;
    assert_eq!(refusal(&browser.open(&link).await.answer), "login_required");
    // A sign-in that is too long ago is none for this request, and what was decided is over with
    // it.
    let over = json!({ "max_age": "60", "prompt": "consent" });
    let mut browser = Browser::new(app);
    let away = leaves(&mut browser, &over).await;
    assert_eq!(&*away["prompt"], "login");
    let ago = json!({ "auth_time": app.now() - 120 });
    scene.provider.gives(&scene.token(&away, &ago));
    let page = scene.come(&mut browser, &away).await;
    assert_eq!(page.answer.status, 403, "{}", page.text());
    let typed = [("username", "bob"), ("password", PASSWORD)];
    asks_as_usual(&browser.submit(&page, "/login", &typed).await);
    assert_eq!(app.count("consent.given").await, 0);
}

#[tokio::test]
async fn prompts_are_kept() {
    let scene = scene().await;
    let app = &scene.app;
    let mut browser = Browser::new(app);
    for prompt in ["consent", "login", "select_account", "login consent"] {
        // Whether they are signed in or not: they are asked once, before they leave.
        let over = json!({ "prompt": prompt });
        let away = leaves(&mut browser, &over).await;
        let anew = away.get("prompt").map(String::as_str);
        assert_eq!(anew == Some("login"), prompt != "consent", "{prompt}");
        let now = json!({ "auth_time": app.now() });
        scene.provider.gives(&scene.token(&away, &now));
        let page = scene.come(&mut browser, &away).await;
        let page = browser.follow(page).await;
        assert!(told(&page.answer).contains_key("code"), "{prompt}");
        app.advance(10);
    }
    let silent = query(&json!({ "prompt": "none" }));
    let told = Browser::new(app).open(&silent).await;
    assert_eq!(refusal(&told.answer), "login_required");
}

#[tokio::test]
async fn who_is_signed_in_is_asked_as_usual() {
    let scene = scene().await;
    scene.app.person("bob", PASSWORD).await;
    let mut browser = Browser::new(&scene.app);
    let page = login(&mut browser, &json!({})).await;
    let mut window = browser.copy();
    let question = window.submit(&page, CORP, &[]).await;
    browser.sign_in("bob", PASSWORD).await;
    asks_as_usual(&browser.open(&question.path).await);
    // The page of before is no use any more.
    let answer = press(&mut browser, &question, "allow", &[FORECAST]).await;
    assert_eq!(answer.answer.status, 403);
    // Their own account is no client's business.
    let mut other = Browser::new(&scene.app);
    scene.leave(&mut other).await;
    assert!(other.cookies.contains_key(COOKIE));
}

#[tokio::test]
async fn another_way_in_is_asked_as_usual() {
    let scene = scene().await;
    let app = &scene.app;
    app.person("bob", PASSWORD).await;
    let typed = [("username", "bob"), ("password", PASSWORD)];
    // Whoever is refused there signs in here.
    let mut browser = Browser::new(app);
    let away = leaves(&mut browser, &json!({})).await;
    let denied = back(&away, &[("error", "access_denied")]);
    let page = browser.get(&denied).await;
    assert_eq!(page.answer.status, 403);
    asks_as_usual(&browser.submit(&page, "/login", &typed).await);
    // The provider is away.
    let scene = self::scene().await;
    scene.app.person("bob", PASSWORD).await;
    scene.provider.metadata(&json!({ "issuer": null }));
    let mut browser = Browser::new(&scene.app);
    let page = asked(&mut browser, &json!({})).await;
    let page = press(&mut browser, &page, "allow", &[FORECAST]).await;
    assert_eq!(page.answer.status, 403);
    assert!(!browser.cookies.contains_key(COOKIE));
    asks_as_usual(&browser.submit(&page, "/login", &typed).await);
}

#[tokio::test]
async fn a_second_factor_changes_nothing_of_it() {
    let scene = scene().await;
    let app = &scene.app;
    scene.sign_in(&mut Browser::new(app), &json!({})).await;
    has_authenticator(app, "Alice").await;
    let mut browser = Browser::new(app);
    let away = leaves(&mut browser, &json!({})).await;
    scene.provider.gives(&scene.token(&away, &json!({})));
    let page = scene.come(&mut browser, &away).await;
    let half = browser.follow(page).await;
    assert!(half.path.starts_with("/login/factor?"), "{}", half.path);
    let typed = factor::code(app, &KEY, 0);
    let page = browser
        .submit(&half, "/login/factor", &[("code", &typed)])
        .await;
    let tokens = given(app, &page).await;
    assert_eq!(tokens["scope"], "tool:forecast tool:history");
}

#[tokio::test]
async fn a_program_on_the_own_device_is_named_as_one() {
    let scene = scene().await;
    let local = "http://127.0.0.1:33418/cb";
    let members = json!({ "redirect_uris": [local], "token_endpoint_auth_method": "none" });
    scene.app.client("native", members).await;
    let mut over = json!({ "client_id": "native" });
    overlay(&mut over, &json!({ "redirect_uri": local }));
    let page = asked(&mut Browser::new(&scene.app), &over).await;
    assert!(page.element("consent-local").is_some(), "{}", page.text());
    assert_eq!(page.element("consent-redirect-host").unwrap(), "127.0.0.1");
}
