//! A person with a browser, and what clients send them with.

use http::HeaderMap;
use serde_json::{Map, Value, json};
use writ::{
    registry::Tenant,
    store::{Change, people},
    users::{User, session},
};

use super::{Answer, Call, TestApp, app::overlay, encode};

/// Where answers go, of [`TestApp::apps`].
pub(crate) const CALLBACK: &str = "https://app.example/cb";
/// RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// What it proves.
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Somebody who is signed in.
pub(crate) struct Person<'a> {
    app: &'a TestApp,
    /// Their account.
    pub(crate) user: User,
    /// The public id of their session.
    pub(crate) sid: String,
    /// What their browser sends along.
    pub(crate) cookies: String,
}

impl TestApp {
    /// The scene of [`TestApp::weather`] with two clients that ask people: `app`, a public one,
    /// and `web`, which has a secret.
    pub(crate) async fn apps() -> Self {
        let app = Self::weather().await;
        app.declare_apps().await;
        app
    }

    /// Declares those two clients.
    pub(crate) async fn declare_apps(&self) {
        let public = json!({ "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" });
        self.client("app", public).await;
        self.client("web", json!({ "redirect_uris": [CALLBACK] }))
            .await;
    }

    /// Somebody new, signed in with a password just now.
    pub(crate) async fn signed_in(&self, name: &str) -> Person<'_> {
        let user = User {
            id: self.state.entropy.id(),
            username: name.to_owned(),
            email: Some(format!("{name}@people.example")),
            email_verified: true,
            claims: Map::from_iter([("name".to_owned(), json!(format!("{name} of People")))]),
            disabled: false,
            created_at: self.now(),
            updated_at: self.now(),
        };
        let change = people::Change::PutUser {
            row: Box::new(user.row("default")),
            before: None,
        };
        self.commit(vec![Change::People(change)]).await.unwrap();
        self.sign_in(user).await
    }

    /// The same person again, with another browser.
    pub(crate) async fn sign_in(&self, user: User) -> Person<'_> {
        self.sign_in_by(user, &["pwd"]).await
    }

    /// The same by these methods (RFC 8176).
    pub(crate) async fn sign_in_by(&self, user: User, amr: &[&'static str]) -> Person<'_> {
        let tenant: &Tenant = &self.tenant(None);
        let who = session::Authenticated {
            user: &user,
            amr: &amr.join(" "),
            authenticated_at: None,
            spent: Vec::new(),
            audit: Vec::new(),
        };
        let begun = session::begin(&self.state, tenant, &HeaderMap::new(), who).await;
        let (session, cookies) = begun.unwrap();
        let pair = |cookie: &http::HeaderValue| {
            let text = cookie.to_str().unwrap();
            text.split(';').next().unwrap().to_owned()
        };
        let cookies = cookies.iter().map(pair).filter(|pair| !pair.ends_with('='));
        let cookies: Vec<String> = cookies.collect();
        Person {
            app: self,
            user,
            sid: session.sid,
            cookies: cookies.join("; "),
        }
    }

    /// Redeems a code of the public client `app`; members of `over` replace what it sends.
    pub(crate) fn redeem(&self, code: &str, over: &Value) -> Call {
        let mut form = json!({
            "grant_type": "authorization_code", "client_id": "app", "code": code,
            "redirect_uri": CALLBACK, "code_verifier": VERIFIER,
        });
        overlay(&mut form, over);
        self.post("/token").form(&pairs(&form))
    }

    /// Uses a refresh token of the public client `app`.
    pub(crate) fn refresh(&self, token: &str, over: &Value) -> Call {
        let mut form = json!({
            "grant_type": "refresh_token", "client_id": "app", "refresh_token": token,
        });
        overlay(&mut form, over);
        self.post("/token").form(&pairs(&form))
    }
}

/// Members of an object as parameters.
pub(crate) fn pairs(members: &Value) -> Vec<(&str, &str)> {
    let members = members.as_object().unwrap().iter();
    members
        .map(|(k, v)| (k.as_str(), v.as_str().unwrap()))
        .collect()
}

/// An honest request of the client `app`, for the weather server; members of `over` replace what
/// it sends, and `null` takes one away.
pub(crate) fn request(over: &Value) -> Value {
    let mut request = json!({
        "response_type": "code", "client_id": "app", "redirect_uri": CALLBACK, "state": "a state",
        "resource": super::WEATHER, "scope": "tool:forecast tool:history",
        "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    });
    overlay(&mut request, over);
    request
}

impl Person<'_> {
    pub(crate) fn get(&self, path: &str) -> Call {
        self.app.get(path).header("cookie", &self.cookies)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.app.post(path).header("cookie", &self.cookies)
    }

    /// Opens an authorization request.
    pub(crate) async fn open(&self, over: &Value) -> Answer {
        let query = encode(&pairs(&request(over)));
        self.get(&format!("/authorize?{query}")).await
    }

    /// Presses the button of a page that asks, with the boxes ticked that are still there.
    pub(crate) fn press(&self, page: &Answer, decision: &str, without: &[&str]) -> Call {
        let text = page.text();
        let mut form = fields(&text);
        form.retain(|(name, value)| name != "scope" || !without.contains(&value.as_str()));
        form.push(("decision".into(), decision.into()));
        let form: Vec<_> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        self.post("/authorize/decision").form(&form)
    }

    /// Sends the form of a page as it is.
    pub(crate) fn send(&self, page: &Answer, path: &str) -> Call {
        let form = fields(&page.text());
        let form: Vec<_> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        self.post(path).form(&form)
    }

    /// What the client is told once the person has allowed it what it asks for.
    pub(crate) async fn allow(&self, over: &Value) -> Told {
        let answer = self.open(over).await;
        if answer.status == 200 {
            return told(&self.press(&answer, "allow", &[]).await);
        }
        told(&answer)
    }

    /// The code it gets then.
    pub(crate) async fn code(&self, over: &Value) -> String {
        let told = self.allow(over).await;
        told.get("code")
            .unwrap_or_else(|| panic!("{told:?}"))
            .clone()
    }

    /// The answer to the code: tokens of the client `app`.
    pub(crate) async fn tokens(&self, over: &Value) -> Value {
        let code = self.code(over).await;
        self.app.redeem(&code, &json!({})).await.ok()
    }
}

/// The parameters of an authorization response.
pub(crate) type Told = std::collections::BTreeMap<String, String>;

/// The parameters that a redirect to [`CALLBACK`] holds, with the issuer's name among them.
#[track_caller]
pub(crate) fn told(answer: &Answer) -> Told {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let location = answer.header("location").unwrap();
    let query = location.strip_prefix(&format!("{CALLBACK}?"));
    let query = query.unwrap_or_else(|| panic!("{location}"));
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
    let told: Told = pairs.collect();
    // RFC 9207 §2: in every answer.
    assert_eq!(told["iss"], super::app::ISSUER);
    assert_eq!(
        told.contains_key("code"),
        !told.contains_key("error"),
        "{told:?}"
    );
    told
}

/// The error that a redirect to [`CALLBACK`] holds; the state is in it.
#[track_caller]
pub(crate) fn refusal(answer: &Answer) -> String {
    let told = told(answer);
    assert_eq!(told["state"], "a state");
    told["error"].clone()
}

/// Hidden fields and boxes of a page's form that a browser would send.
pub(crate) fn fields(page: &str) -> Vec<(String, String)> {
    let tags = page.split('<').filter(|tag| tag.starts_with("input"));
    let sent = tags.filter(|tag| !tag.contains(" disabled"));
    let attribute = |tag: &str, name: &str| {
        let from = tag.split(&format!("{name}=\"")).nth(1)?;
        Some(unescaped(from.split('"').next()?))
    };
    sent.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
        .collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&#x2f;", "/")
        .replace("&#x27;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}
