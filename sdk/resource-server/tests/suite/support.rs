//! A real issuer and a real protected server on loopback, and keys to sign
//! whatever a test wants to be signed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use writ_resource::jws::{KeySet, VerifyingKey};
use writ_resource::{AccessClaims, ManualClock, PresentedToken, Protect, ProtectBuilder};

/// When every scene begins.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A signing key with its public half.
pub(crate) struct Signer {
    pub(crate) alg: &'static str,
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(crate) fn new(alg: &'static str, kid: &str) -> Self {
        let pair = match alg {
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            "ES256" => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self {
            alg,
            kid: kid.to_owned(),
            pair,
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ed(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key()),
            }),
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]),
                })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": b64(public.modulus().big_endian_without_leading_zero()),
                    "e": b64(public.exponent().big_endian_without_leading_zero()),
                })
            }
        };
        jwk["alg"] = self.alg.into();
        jwk["use"] = "sig".into();
        jwk["kid"] = self.kid.as_str().into();
        jwk
    }

    /// The public key as SubjectPublicKeyInfo, for RSA.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let Pair::Rsa(pair) = &self.pair else {
            panic!("{} is not RSA", self.alg);
        };
        AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .unwrap()
            .as_ref()
            .to_vec()
    }

    pub(crate) fn key(&self) -> VerifyingKey {
        VerifyingKey::from_jwk(&self.jwk()).unwrap()
    }

    pub(crate) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = if self.alg == "PS256"
                {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// Signs exactly these header and payload texts.
    pub(crate) fn raw(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", b64(header), b64(payload));
        format!("{input}.{}", b64(self.signature(input.as_bytes())))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.alg, "kid": self.kid, "typ": "at+jwt" })
    }

    /// An honest access token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.raw(&self.header().to_string(), &claims.to_string())
    }
}

/// Made once: RSA keys take their time.
pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new("RS256", "rsa"));
pub(crate) static PSS: LazyLock<Signer> = LazyLock::new(|| Signer::new("PS256", "pss"));
pub(crate) static EC: LazyLock<Signer> = LazyLock::new(|| Signer::new("ES256", "ec"));
pub(crate) static ED: LazyLock<Signer> = LazyLock::new(|| Signer::new("EdDSA", "ed"));

pub(crate) fn signers() -> [&'static Signer; 4] {
    [&RSA, &PSS, &EC, &ED]
}

pub(crate) fn jwks(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() })
}

/// What the issuer serves, and how often it was asked.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<IssuerState>,
}

struct IssuerState {
    jwks: Mutex<Value>,
    metadata: Mutex<Option<Value>>,
    metadata_path: Mutex<String>,
    cache_control: Mutex<Option<String>>,
    broken: Mutex<Option<StatusCode>>,
    delay: Mutex<Duration>,
    key_fetches: AtomicUsize,
    metadata_fetches: AtomicUsize,
}

impl Issuer {
    pub(crate) async fn start(keys: Value) -> Self {
        let (listener, address) = listen().await;
        let state = Arc::new(IssuerState {
            jwks: Mutex::new(keys),
            metadata: Mutex::default(),
            metadata_path: Mutex::new("/.well-known/oauth-authorization-server/t/acme".into()),
            cache_control: Mutex::default(),
            broken: Mutex::default(),
            delay: Mutex::default(),
            key_fetches: AtomicUsize::new(0),
            metadata_fetches: AtomicUsize::new(0),
        });
        let url = format!("http://{address}/t/acme");
        *state.metadata.lock().unwrap() = Some(json!({
            "issuer": url, "jwks_uri": format!("{url}/jwks.json"),
        }));
        let router = Router::new()
            .route("/t/acme/jwks.json", get(keys_document))
            .fallback(metadata)
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    pub(crate) fn publish(&self, signers: &[&Signer]) {
        *self.state.jwks.lock().unwrap() = jwks(signers);
    }

    pub(crate) fn say_metadata(&self, metadata: Option<Value>) {
        *self.state.metadata.lock().unwrap() = metadata;
    }

    /// Where the metadata is, and nowhere else.
    pub(crate) fn metadata_at(&self, path: &str) {
        path.clone_into(&mut self.state.metadata_path.lock().unwrap());
    }

    pub(crate) fn break_keys(&self, status: Option<StatusCode>) {
        *self.state.broken.lock().unwrap() = status;
    }

    pub(crate) fn cache_control(&self, value: &str) {
        *self.state.cache_control.lock().unwrap() = Some(value.to_owned());
    }

    pub(crate) fn answer_after(&self, delay: Duration) {
        *self.state.delay.lock().unwrap() = delay;
    }

    pub(crate) fn key_fetches(&self) -> usize {
        self.state.key_fetches.load(Ordering::SeqCst)
    }

    pub(crate) fn metadata_fetches(&self) -> usize {
        self.state.metadata_fetches.load(Ordering::SeqCst)
    }

    /// Waits for a fetch in the background.
    pub(crate) async fn wait_for_fetches(&self, count: usize) {
        for _ in 0..200 {
            if self.key_fetches() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} fetches instead of {count}", self.key_fetches());
    }
}

async fn metadata(State(state): State<Arc<IssuerState>>, request: Request) -> Response {
    state.metadata_fetches.fetch_add(1, Ordering::SeqCst);
    if *state.metadata_path.lock().unwrap() != request.uri().path() {
        return StatusCode::NOT_FOUND.into_response();
    }
    match state.metadata.lock().unwrap().clone() {
        Some(metadata) => axum::Json(metadata).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn keys_document(State(state): State<Arc<IssuerState>>) -> Response {
    state.key_fetches.fetch_add(1, Ordering::SeqCst);
    let delay = *state.delay.lock().unwrap();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if let Some(status) = *state.broken.lock().unwrap() {
        return status.into_response();
    }
    let mut answer = axum::Json(state.jwks.lock().unwrap().clone()).into_response();
    if let Some(value) = state.cache_control.lock().unwrap().as_deref() {
        answer
            .headers_mut()
            .insert("cache-control", value.parse().unwrap());
    }
    answer
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A protected server, its issuer and somebody to call it.
pub(crate) struct Scene {
    pub(crate) issuer: Issuer,
    pub(crate) resource: String,
    pub(crate) origin: String,
    pub(crate) clock: ManualClock,
    pub(crate) http: reqwest::Client,
}

impl Scene {
    /// A server with two tools, and whatever else is configured; its issuer's
    /// keys are discovered.
    pub(crate) async fn with(configure: impl FnOnce(ProtectBuilder) -> ProtectBuilder) -> Self {
        let issuer = Issuer::start(jwks(&signers())).await;
        Self::behind(issuer, configure).await
    }

    /// With fixed keys: nothing to fetch.
    pub(crate) async fn fixed() -> Self {
        let keys = KeySet::from_jwks(jwks(&signers()).to_string().as_bytes()).unwrap();
        Self::with(|protect| protect.keys(keys)).await
    }

    pub(crate) async fn behind(
        issuer: Issuer,
        configure: impl FnOnce(ProtectBuilder) -> ProtectBuilder,
    ) -> Self {
        Self::in_front_of(issuer, Router::new().route("/mcp", any(echo)), configure).await
    }

    pub(crate) async fn in_front_of(
        issuer: Issuer,
        server: Router,
        configure: impl FnOnce(ProtectBuilder) -> ProtectBuilder,
    ) -> Self {
        let (listener, address) = listen().await;
        let origin = format!("http://{address}");
        let resource = format!("{origin}/mcp");
        let clock = ManualClock::at(NOW);
        let protect = Protect::resource(&resource)
            .issuer(&issuer.url)
            .tools(["forecast", "alert"])
            .name("Weather")
            .clock(clock.clone());
        let layer = configure(protect).build().unwrap();
        let router = server.layer(layer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            issuer,
            resource,
            origin,
            clock,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// The claims of an honest token with this scope.
    pub(crate) fn claims(&self, scope: &str) -> Value {
        let now = self.clock.now();
        json!({
            "iss": self.issuer.url, "sub": "agent", "aud": self.resource,
            "exp": now + 300, "iat": now, "jti": "1", "client_id": "agent",
            "scope": scope, "grant_id": "g1",
        })
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        ED.token(&self.claims(scope))
    }

    /// POSTs a body as JSON with this token.
    pub(crate) async fn post(&self, token: &str, body: impl Into<String>) -> Reply {
        self.send(
            self.http
                .post(&self.resource)
                .bearer_auth(token)
                .header("content-type", "application/json")
                .body(body.into()),
        )
        .await
    }

    /// Calls a method that needs only a valid token.
    pub(crate) async fn ping(&self, token: &str) -> Reply {
        self.post(token, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
            .await
    }

    pub(crate) async fn call_tool(&self, token: &str, tool: &str) -> Reply {
        self.post(token, tool_call(tool)).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }
}

pub(crate) fn tool_call(tool: &str) -> String {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": tool, "arguments": {} },
    })
    .to_string()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn challenge(&self) -> &str {
        self.headers
            .get("www-authenticate")
            .map_or("", |value| value.to_str().unwrap())
    }

    /// 401 `invalid_token` (RFC 6750 §3.1), with these words in it.
    #[track_caller]
    pub(crate) fn is_invalid_token(&self, words: &str) {
        assert_eq!(self.status, 401, "{self:?}");
        assert!(
            self.challenge()
                .starts_with(r#"Bearer error="invalid_token", "#),
            "{self:?}"
        );
        assert!(self.challenge().contains(words), "{words:?} in {self:?}");
        assert_eq!(self.json()["error"], "invalid_token");
    }

    #[track_caller]
    pub(crate) fn is_ok(&self) {
        assert_eq!(self.status, 200, "{self:?}");
    }
}

/// The server behind the layer: tells what it was given.
async fn echo(request: Request) -> axum::Json<Value> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let claims = parts.extensions.get::<Arc<AccessClaims>>().unwrap();
    let token = parts.extensions.get::<PresentedToken>().unwrap();
    axum::Json(json!({
        "method": parts.method.as_str(),
        "body": String::from_utf8_lossy(&body),
        "sub": claims.sub,
        "caller": claims.caller(),
        "actors": claims.actors().map(|actor| actor.sub.as_str()).collect::<Vec<_>>(),
        "token": token.secret(),
        "token_debug": format!("{token:?}"),
        "authorization": parts.headers.contains_key("authorization"),
        "proof": parts.headers.contains_key("dpop"),
    }))
}
