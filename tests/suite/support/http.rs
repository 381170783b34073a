//! A request in the making and the answer it got.

use std::{
    future::{Future, IntoFuture},
    net::IpAddr,
    pin::Pin,
};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt as _;
use writ::{context::Peer, router::Issuers};

use super::oracle;

/// A request that is sent when it is awaited.
#[must_use = "a call is sent when it is awaited"]
pub(crate) struct Call {
    service: Issuers,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    secrets: Vec<String>,
    unavailable: bool,
    peer: Option<IpAddr>,
}

impl Call {
    pub(super) fn new(service: Issuers, method: Method, path: &str) -> Self {
        Self {
            service,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            secrets: Vec::new(),
            unavailable: false,
            peer: None,
        }
    }

    /// Adds a header, beside one of the same name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// Authenticates with HTTP Basic; both parts are form-urlencoded (RFC 6749 §2.3.1).
    pub(crate) fn basic(self, id: &str, secret: &str) -> Self {
        let pair = format!("{}:{}", encode_one(id), encode_one(secret));
        let mut call = self.header(
            "authorization",
            &format!("Basic {}", STANDARD.encode(&pair)),
        );
        call.secrets
            .extend([secret.to_owned(), STANDARD.encode(pair)]);
        call
    }

    /// Presents a token that is bound to a key, with a proof.
    pub(crate) fn dpop(self, token: &str, proof: &str) -> Self {
        let mut call = self
            .header("authorization", &format!("DPoP {token}"))
            .header("dpop", proof);
        call.secrets.extend([token.to_owned(), proof.to_owned()]);
        call
    }

    /// Presents a bearer token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        let mut call = self.header("authorization", &format!("Bearer {token}"));
        call.secrets.push(token.to_owned());
        call
    }

    /// Sends these as a form.
    pub(crate) fn form(mut self, params: &[(&str, &str)]) -> Self {
        const SECRET: [&str; 5] = [
            "password",
            "client_secret",
            "client_assertion",
            "subject_token",
            "actor_token",
        ];
        let secrets = params.iter().filter(|(name, _)| SECRET.contains(name));
        self.secrets
            .extend(secrets.map(|(_, value)| (*value).to_owned()));
        self.raw("application/x-www-form-urlencoded", encode(params))
    }

    /// Sends this as JSON.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    /// Sends these bytes.
    pub(crate) fn raw(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_str(media_type).unwrap(),
        );
        self
    }

    /// Lets the answer be 503: the test fills the server up.
    pub(crate) fn may_be_unavailable(mut self) -> Self {
        self.unavailable = true;
        self
    }

    /// Comes from this address.
    pub(crate) fn from(mut self, peer: &str) -> Self {
        self.peer = Some(peer.parse().unwrap());
        self
    }

    /// Sends it, and leaves the answer's body to be read as it comes.
    pub(crate) async fn open(self) -> http::Response<Body> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.path)
            .body(Body::from(self.body))
            .unwrap();
        *request.headers_mut() = self.headers;
        let peer = self.peer.map(|address| Peer((address, 4711).into()));
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let host = HeaderValue::from_static("as.example");
        request.headers_mut().entry(header::HOST).or_insert(host);
        self.service.oneshot(request).await.unwrap()
    }

    async fn send(self) -> Answer {
        let (method, path, secrets) =
            (self.method.clone(), self.path.clone(), self.secrets.clone());
        let authorized = self.headers.contains_key(header::AUTHORIZATION);
        let unavailable = self.unavailable;
        let (parts, body) = self.open().await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_vec(),
        };
        oracle::check(&oracle::Seen {
            method: &method,
            path: &path,
            authorized,
            secrets: &secrets,
            unavailable,
            answer: &answer,
        });
        answer
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        self.read()
    }

    /// The body as JSON of some shape.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{why} in {} {}", self.status, self.text()))
    }

    /// A header, which is there at most once; of several challenges the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        let several = name == "www-authenticate";
        assert!(several || values.next().is_none(), "{name} is there twice");
        Some(value.to_str().unwrap())
    }

    /// The headers but the one that no two answers share.
    pub(crate) fn headers_but_id(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.remove("x-request-id").unwrap();
        headers
    }

    /// The challenge of this scheme (RFC 9110 §11.6.1), without the scheme.
    pub(crate) fn challenge(&self, scheme: &str) -> Option<&str> {
        let values = self.headers.get_all("www-authenticate").iter();
        values
            .filter_map(|value| value.to_str().unwrap().split_once(' '))
            .find_map(|(name, parameters)| (name == scheme).then_some(parameters))
    }

    /// Status and code of a refusal, for a comparison in one line.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let code = self.json()["error"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }

    /// The body of an answer that says yes.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        self.with(StatusCode::OK)
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn with(&self, status: StatusCode) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        if self.body.is_empty() {
            return Value::Null;
        }
        self.json()
    }

    /// The access token of an answer that says yes.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        self.ok()["access_token"].as_str().unwrap().to_owned()
    }

    /// Insists on a refusal with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            self.refusal(),
            (status, code.to_owned()),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn encode(params: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(params)
        .finish()
}

fn encode_one(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
