//! An OpenID Connect provider on loopback that answers as a test says, to the byte.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Browser, Key, Page, TestApp, app::overlay, encode};

/// Who we are there.
pub(crate) const CLIENT_ID: &str = "writ at corp";
/// Its name here.
pub(crate) const CORP: &str = "/login/upstream/corp";

/// What it answers at a path.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) delay: Duration,
}

impl Said {
    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, &value.to_string())
    }

    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".into())],
            body: body.into(),
            delay: Duration::ZERO,
        }
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

/// A provider, and what it was asked.
#[derive(Clone)]
pub(crate) struct FakeProvider {
    pub(crate) origin: String,
    said: Arc<Mutex<BTreeMap<String, Said>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Where a browser was sent: the parameters of the authentication request.
pub(crate) type Sent = BTreeMap<String, String>;

impl FakeProvider {
    /// One that publishes this key.
    pub(crate) async fn start(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            said: Arc::default(),
            asked: Arc::default(),
        };
        provider.metadata(&json!({}));
        provider.says("/jwks", Said::json(&key.jwks()));
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    /// Answers so at a path from now on.
    pub(crate) fn says(&self, path: &str, said: Said) {
        self.said.lock().unwrap().insert(path.to_owned(), said);
    }

    /// Publishes its metadata; members of `over` replace its own.
    pub(crate) fn metadata(&self, over: &Value) {
        let at = |path: &str| format!("{}{path}", self.origin);
        let mut metadata = json!({
            "issuer": self.origin, "authorization_endpoint": at("/authorize?tenant=1"),
            "token_endpoint": at("/token"), "jwks_uri": at("/jwks"),
        });
        overlay(&mut metadata, over);
        self.says("/.well-known/openid-configuration", Said::json(&metadata));
    }

    /// The requests that came to a path.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|asked| asked.path == path)
            .cloned()
            .collect()
    }

    /// The claims of an honest ID token for this request; members of `over` replace them.
    pub(crate) fn claims(&self, app: &TestApp, sent: &Sent, over: &Value) -> Value {
        let now = app.now();
        let mut claims = json!({
            "iss": self.origin, "aud": CLIENT_ID, "sub": "alice-at-corp", "nonce": sent["nonce"],
            "iat": now, "exp": now + 300, "preferred_username": "Alice",
            "email": "alice@corp.example", "email_verified": true,
        });
        overlay(&mut claims, over);
        claims
    }

    /// Answers the next code with this ID token.
    pub(crate) fn gives(&self, id_token: &str) {
        let tokens = json!({
            "access_token": "an access token", "token_type": "Bearer", "id_token": id_token,
        });
        self.says("/token", Said::json(&tokens));
    }
}

async fn answer(
    State(provider): State<FakeProvider>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let authorization = headers.get(header::AUTHORIZATION);
    provider.asked.lock().unwrap().push(Asked {
        path: path.clone(),
        authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let said = provider.said.lock().unwrap().get(&path).cloned();
    let Some(said) = said else {
        return StatusCode::NOT_FOUND.into_response();
    };
    tokio::time::sleep(said.delay).await;
    let status = StatusCode::from_u16(said.status).unwrap();
    let mut response = (status, said.body).into_response();
    for (name, value) in said.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A server whose people sign in with a provider, and a browser's way there and back.
pub(crate) struct Scene {
    pub(crate) app: TestApp,
    pub(crate) provider: FakeProvider,
    pub(crate) key: Key,
}

impl Scene {
    /// One that makes accounts for whoever comes, with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut writ::config::Upstream)) -> Self {
        let key = Key::ed(1);
        let provider = FakeProvider::start(&key).await;
        let mut upstream = writ::config::Upstream {
            name: "Corp".into(),
            issuer: provider.origin.clone(),
            client_id: CLIENT_ID.into(),
            sign_up: Some(writ::config::SignUp::Open),
            private_addresses: true,
            ..writ::config::Upstream::default()
        };
        change(&mut upstream);
        let app = TestApp::with(|config| {
            config.fetch.timeout = 1;
            config.upstream.insert("corp".into(), upstream);
        });
        Self {
            app: app.await,
            provider,
            key,
        }
    }

    /// Presses the button on the sign-in page.
    pub(crate) async fn leave(&self, browser: &mut Browser<'_>) -> Sent {
        let login = browser.open("/login").await;
        let page = browser.submit_only(&login, CORP, &[]).await;
        sent(&page)
    }

    /// An ID token for this request, with other claims.
    pub(crate) fn token(&self, sent: &Sent, over: &Value) -> String {
        let claims = self.provider.claims(&self.app, sent, over);
        self.key.sign(&self.key.header(), &claims)
    }

    /// Comes back with a code, which is answered with the ID token that was given last.
    pub(crate) async fn come(&self, browser: &mut Browser<'_>, sent: &Sent) -> Page {
        browser.get(&back(sent, &[("code", "a code")])).await
    }

    /// Signs in as whom the provider speaks of, with other claims.
    pub(crate) async fn sign_in(&self, browser: &mut Browser<'_>, over: &Value) -> Page {
        let sent = self.leave(browser).await;
        self.provider.gives(&self.token(&sent, over));
        let page = self.come(browser, &sent).await;
        browser.follow(page).await
    }
}

/// The request that a page sends the browser on with.
#[track_caller]
pub(crate) fn sent(page: &Page) -> Sent {
    assert_eq!(page.answer.status, 200, "{}", page.text());
    let refresh = page.answer.header("refresh").unwrap();
    let url = url::Url::parse(refresh.strip_prefix("0;url=").unwrap()).unwrap();
    url.query_pairs().into_owned().collect()
}

/// The way back, with an answer to this request.
pub(crate) fn back(sent: &Sent, answer: &[(&str, &str)]) -> String {
    let mut pairs = vec![("state", sent["state"].as_str())];
    pairs.extend(answer);
    format!("{CORP}/callback?{}", encode(&pairs))
}
