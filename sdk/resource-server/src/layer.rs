//! The tower layer: what a request must show before the MCP server sees it.
//!
//! | check | POST and other methods with a body | GET, HEAD, DELETE, OPTIONS |
//! |---|---|---|
//! | metadata paths, without a token | 405 | the document; 405 to DELETE |
//! | no token in the query | 400 | 400 |
//! | one `Authorization` header, scheme `Bearer` or `DPoP` | 401, 400 | 401, 400 |
//! | under `DPoP`, a proof for this request and token | 401 | 401 |
//! | the token verifies, and is bound to the proof's key or to none | 401 | 401 |
//! | the proof was not used before | 401 | 401 |
//! | no content coding, no form, UTF-8 | 415, 400 | – |
//! | the body is within the limit | 413 | never passed on |
//! | one unambiguous JSON-RPC message or batch | 400 | – |
//! | the token allows every call in it | 403 | – |
//!
//! To demand one thing more, add a step to `Guard::admit`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use serde_json::json;
use tower::{Layer, Service};

use crate::challenge::{self, Entrance, Refusal, Scheme};
use crate::claims::AccessClaims;
use crate::clock::Clock;
use crate::dpop::{self, ALGORITHMS, Proof};
use crate::introspection::Introspect;
use crate::jws::{Algorithm, JwsError, KeySet};
use crate::proofs::{ProofSettings, Proofs};
use crate::rpc;
use crate::scopes::{Policy, checked_scope, tool_scope};
use crate::verifier::{SetupError, Verifier, VerifierBuilder, VerifyError, trusted_url};

/// Where every resource's metadata is found (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What a protected server answers with: its own body, or one of the layer's.
pub type ProtectedBody<B> = Either<Full<Bytes>, B>;

/// The token a request came with, for a handler that exchanges it (RFC 8693)
/// for one of a downstream server. It is in the request's extensions; the
/// `Authorization` header is not passed on, so that nothing forwards it by
/// mistake (MCP forbids passing a received token upstream).
#[derive(Clone)]
pub struct PresentedToken(Arc<str>);

impl PresentedToken {
    /// The token itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PresentedToken(…)")
    }
}

/// Wraps a service so that it only sees requests with a token that allows them.
#[derive(Clone, Debug)]
pub struct ProtectLayer {
    guard: Arc<Guard>,
}

impl ProtectLayer {
    /// The RFC 9728 document, for a server that publishes it elsewhere too.
    #[must_use]
    pub fn metadata(&self) -> &Bytes {
        &self.guard.metadata
    }

    /// Where the layer answers with that document: the form with the
    /// resource's path first, then the root form.
    #[must_use]
    pub fn metadata_paths(&self) -> [&str; 2] {
        [&self.guard.metadata_path, WELL_KNOWN]
    }

    /// What checks the tokens, for instance to load the keys at start.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.guard.verifier
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = Protect<S>;

    fn layer(&self, inner: S) -> Protect<S> {
        Protect {
            inner,
            guard: Arc::clone(&self.guard),
        }
    }
}

/// A service behind a [`ProtectLayer`].
#[derive(Clone, Debug)]
pub struct Protect<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl Protect<()> {
    /// Begins to protect the MCP server whose URL this is, as clients know it
    /// and as the authorization server has registered it: tokens must name
    /// exactly this in `aud`.
    pub fn resource(resource: impl Into<String>) -> ProtectBuilder {
        ProtectBuilder {
            verifier: Verifier::for_resource(resource),
            tools: BTreeMap::new(),
            methods: BTreeMap::new(),
            scopes: BTreeSet::new(),
            includes: BTreeMap::new(),
            challenge_scopes: None,
            name: None,
            documentation: None,
            proofs: ProofSettings::default(),
            max_body: 4 * 1024 * 1024,
        }
    }
}

impl<S, B, R> Service<Request<B>> for Protect<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ProtectedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one that must be called.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            if guard.is_metadata(&request) {
                let answer = challenge::metadata(request.method(), &guard.metadata);
                return Ok(answer.map(Either::Left));
            }
            let scheme = presented_scheme(request.headers());
            match guard.admit(request).await {
                Ok((request, nonce)) => {
                    let answer = inner.call(request).await?.map(Either::Right);
                    Ok(challenge::with_nonce(answer, nonce.as_deref()))
                }
                Err(refusal) => {
                    let answer = refusal.answer(&guard.entrance, scheme);
                    Ok(answer.map(Either::Left))
                }
            }
        })
    }
}

#[derive(Debug)]
struct Guard {
    verifier: Verifier,
    policy: Policy,
    metadata: Bytes,
    metadata_path: String,
    entrance: Entrance,
    proofs: Proofs,
    max_body: usize,
}

impl Guard {
    fn is_metadata<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        path == self.metadata_path || path == WELL_KNOWN
    }

    /// The request as the server may see it, and a nonce for its answer.
    async fn admit<B>(
        &self,
        request: Request<B>,
    ) -> Result<(Request<Full<Bytes>>, Option<String>), Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let (scheme, token) = presented_token(&parts)?;
        let proof = match scheme {
            Scheme::Bearer => None,
            Scheme::Dpop => Some(self.proofs.verify(&parts, token.secret())?),
        };
        let claims = self.verify(&token, proof.as_ref()).await?;

        let body = if carries_message(&parts.method) {
            readable(&parts.headers)?;
            let body = self.read(&parts.headers, body).await?;
            self.check_calls(&parts.headers, &body, &claims)?;
            body
        } else {
            // Nothing that was not looked at is passed on.
            parts.headers.remove(TRANSFER_ENCODING);
            parts.headers.remove(CONTENT_LENGTH);
            Bytes::new()
        };

        parts.headers.remove(AUTHORIZATION);
        parts.headers.remove(dpop::HEADER);
        parts.extensions.insert(token);
        parts.extensions.insert(Arc::new(claims));
        let nonce = proof.and_then(|proof| self.proofs.next_nonce(&proof));
        Ok((Request::from_parts(parts, Full::new(body)), nonce))
    }

    /// Verifies the token, and uses up the proof that came with it.
    async fn verify(
        &self,
        token: &PresentedToken,
        proof: Option<&Proof>,
    ) -> Result<AccessClaims, Refusal> {
        let token = token.secret();
        let verified = match proof {
            Some(proof) => self.verifier.verify_bound(token, proof.thumbprint()).await,
            None if self.entrance.takes_bearer => self.verifier.verify(token).await,
            None => Err(VerifyError::NotBound),
        };
        let claims = verified.map_err(|error| match error {
            VerifyError::Unavailable | VerifyError::Unanswered => {
                Refusal::Unavailable(error.to_string())
            }
            error => Refusal::InvalidToken(error),
        })?;
        proof.map_or(Ok(()), |proof| self.proofs.take(proof))?;
        Ok(claims)
    }

    /// The whole body, which is bounded whatever its length claims to be.
    async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        const TOO_LONG: Refusal = Refusal::Unreadable(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than this server reads",
        );
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.max_body as u64) {
            return Err(TOO_LONG);
        }
        match Limited::new(body, self.max_body).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(TOO_LONG),
            Err(_) => Err(Refusal::Unreadable(
                StatusCode::BAD_REQUEST,
                "the body could not be read",
            )),
        }
    }

    fn check_calls(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        claims: &AccessClaims,
    ) -> Result<(), Refusal> {
        let calls = rpc::calls(body, headers).map_err(Refusal::Rpc)?;
        match self.policy.missing(claims, &calls) {
            None => Ok(()),
            Some(needed) => {
                let needed = joined(&needed);
                tracing::debug!(client_id = %claims.client_id, %needed, "the token does not allow the call");
                Err(Refusal::InsufficientScope(needed))
            }
        }
    }
}

/// The token of the `Authorization` header, and of nowhere else (RFC 6750 §2.1;
/// OAuth 2.1 and MCP forbid the query, and §2.2's form body is not offered).
fn presented_token(parts: &Parts) -> Result<(Scheme, PresentedToken), Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        return Err(Refusal::InvalidRequest(
            "a token in the query is never accepted: use the Authorization header",
        ));
    }
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) => return Err(Refusal::NoToken),
        (Some(header), None) => header,
        (Some(_), Some(_)) => {
            return Err(Refusal::InvalidRequest(
                "more than one Authorization header",
            ));
        }
    };
    credentials(header)
}

fn credentials(header: &HeaderValue) -> Result<(Scheme, PresentedToken), Refusal> {
    let text = header
        .to_str()
        .map_err(|_| Refusal::InvalidToken(JwsError::NotCompact.into()))?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let scheme = scheme_of(scheme).ok_or(Refusal::NoToken)?;
    let token = rest.trim_matches(' ');
    if token.is_empty() {
        return Err(Refusal::InvalidRequest("the token is empty"));
    }
    Ok((scheme, PresentedToken(token.into())))
}

/// Names of schemes are case-insensitive (RFC 9110 §11.1).
fn scheme_of(name: &str) -> Option<Scheme> {
    if name.eq_ignore_ascii_case("Bearer") {
        Some(Scheme::Bearer)
    } else if name.eq_ignore_ascii_case("DPoP") {
        Some(Scheme::Dpop)
    } else {
        None
    }
}

/// The scheme to answer in.
fn presented_scheme(headers: &HeaderMap) -> Scheme {
    headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok())
        .and_then(|text| scheme_of(text.split(' ').next()?))
        .unwrap_or(Scheme::Bearer)
}

/// Whether the server may read a message out of such a request. Methods that
/// MCP does not use are treated as if they did.
fn carries_message(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}

/// Whether the octets of the body are the octets the server will read.
fn readable(headers: &HeaderMap) -> Result<(), Refusal> {
    let coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Refusal::Unreadable(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body with a content coding is not read",
        ));
    }
    for content_type in headers.get_all(CONTENT_TYPE) {
        let content_type = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
        let mut parameters = content_type.split(';').map(str::trim);
        if parameters.next() == Some("application/x-www-form-urlencoded") {
            return Err(Refusal::Unreadable(
                StatusCode::BAD_REQUEST,
                "the body is JSON, and the token is in the Authorization header only",
            ));
        }
        let other_charset = parameters
            .filter_map(|parameter| parameter.strip_prefix("charset="))
            .any(|charset| !matches!(charset.trim_matches('"'), "utf-8" | "utf8"));
        if other_charset {
            return Err(Refusal::Unreadable(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "JSON is in UTF-8",
            ));
        }
    }
    Ok(())
}

fn joined(scopes: &BTreeSet<String>) -> String {
    scopes
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The settings of a [`ProtectLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ProtectBuilder {
    verifier: VerifierBuilder,
    tools: BTreeMap<String, Option<String>>,
    methods: BTreeMap<String, String>,
    scopes: BTreeSet<String>,
    includes: BTreeMap<String, BTreeSet<String>>,
    challenge_scopes: Option<BTreeSet<String>>,
    name: Option<String>,
    documentation: Option<String>,
    proofs: ProofSettings,
    max_body: usize,
}

impl ProtectBuilder {
    /// The authorization server, octet for octet as it calls itself. Needed.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.verifier = self.verifier.issuer(issuer);
        self
    }

    /// The tools the server has, so that their scopes can be announced. Each
    /// needs [`tool_scope`] of its name, and so does every tool not named here.
    pub fn tools<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        for name in names {
            self.tools.entry(name.into()).or_default();
        }
        self
    }

    /// A tool that needs this scope instead of [`tool_scope`] of its name.
    pub fn tool_scope(mut self, name: impl Into<String>, scope: impl Into<String>) -> Self {
        self.tools.insert(name.into(), Some(scope.into()));
        self
    }

    /// A method that needs this scope; the others need only a valid token.
    pub fn method(mut self, method: impl Into<String>, scope: impl Into<String>) -> Self {
        self.methods.insert(method.into(), scope.into());
        self
    }

    /// A scope that stands for others. An authorization server that expands
    /// its hierarchy into the token makes this unnecessary.
    pub fn scope_includes<N: Into<String>>(
        mut self,
        scope: impl Into<String>,
        included: impl IntoIterator<Item = N>,
    ) -> Self {
        self.includes
            .entry(scope.into())
            .or_default()
            .extend(included.into_iter().map(Into::into));
        self
    }

    /// More scopes to announce, for what handlers check themselves.
    pub fn scopes<N: Into<String>>(mut self, scopes: impl IntoIterator<Item = N>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// What a client that comes without a token is told to ask for. Every
    /// announced scope by default; naming fewer, or none, lets clients begin
    /// small and ask for more when a call is refused.
    pub fn challenge_scopes<N: Into<String>>(
        mut self,
        scopes: impl IntoIterator<Item = N>,
    ) -> Self {
        self.challenge_scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// A name for people (`resource_name`).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A page for developers (`resource_documentation`).
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation = Some(url.into());
        self
    }

    /// Takes only tokens that are bound to a key (RFC 9449). Bound tokens are
    /// always taken, and never without their proof.
    pub const fn require_dpop(mut self) -> Self {
        self.proofs.required = true;
        self
    }

    /// Takes only proofs with a nonce of this server (RFC 9449 §9): none made
    /// in advance or before a restart is of use then.
    pub const fn require_dpop_nonce(mut self) -> Self {
        self.proofs.require_nonce = true;
        self
    }

    /// What nonces are made with: the same on all instances of one server, so
    /// that they know each other's. By default every instance has its own.
    pub const fn dpop_nonce_key(mut self, key: [u8; 32]) -> Self {
        self.proofs.nonce_key = Some(key);
        self
    }

    /// How long a proof is accepted after it was made; 60 seconds by default.
    pub const fn proof_lifetime(mut self, lifetime: Duration) -> Self {
        self.proofs.lifetime = lifetime;
        self
    }

    /// How many proofs are remembered, so that none is used twice; 100,000 by
    /// default. When there are more within [`Self::proof_lifetime`], callers
    /// are told to come back later (503): nothing is forgotten before its time.
    pub const fn proof_memory(mut self, proofs: usize) -> Self {
        self.proofs.memory = proofs;
        self
    }

    /// The longest body that is read; 4 MiB by default.
    pub const fn max_body(mut self, octets: usize) -> Self {
        self.max_body = octets;
        self
    }

    /// See [`VerifierBuilder::jwks_uri`].
    pub fn jwks_uri(mut self, uri: impl Into<String>) -> Self {
        self.verifier = self.verifier.jwks_uri(uri);
        self
    }

    /// See [`VerifierBuilder::keys`].
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.verifier = self.verifier.keys(keys);
        self
    }

    /// See [`VerifierBuilder::algorithms`].
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.verifier = self.verifier.algorithms(algorithms);
        self
    }

    /// See [`VerifierBuilder::leeway`].
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.verifier = self.verifier.leeway(leeway);
        self
    }

    /// See [`VerifierBuilder::clock`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.verifier = self.verifier.clock(clock);
        self
    }

    /// See [`VerifierBuilder::refetch_floor`].
    pub fn refetch_floor(mut self, floor: Duration) -> Self {
        self.verifier = self.verifier.refetch_floor(floor);
        self
    }

    /// See [`VerifierBuilder::fetch_timeout`].
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.verifier = self.verifier.fetch_timeout(timeout);
        self
    }

    /// See [`VerifierBuilder::introspect`].
    pub fn introspect(mut self, introspect: Introspect) -> Self {
        self.verifier = self.verifier.introspect(introspect);
        self
    }

    /// Makes the layer. Fetches nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] names the setting that is wrong.
    pub fn build(self) -> Result<ProtectLayer, SetupError> {
        let mut url = trusted_url("resource", &self.verifier.resource)?;
        if url.query().is_some() {
            return Err(SetupError::Url {
                name: "resource",
                value: self.verifier.resource,
                problem: "a query has no place in it (RFC 9728 §1.2)",
            });
        }
        if let Some(page) = &self.documentation {
            trusted_url("documentation", page)?;
        }
        // RFC 9728 §3.1: inserted between host and path, without a final slash.
        let proofs = Proofs::new(&self.proofs, &url, self.verifier.clock.clone())?;
        let metadata_path = format!("{WELL_KNOWN}{}", url.path().trim_end_matches('/'));
        url.set_path(&metadata_path);

        let mut announced = self.scopes;
        announced.extend(self.methods.values().cloned());
        for (name, scope) in &self.tools {
            announced.insert(scope.clone().unwrap_or_else(|| tool_scope(name)));
        }
        for (wide, narrow) in &self.includes {
            announced.insert(wide.clone());
            announced.extend(narrow.iter().cloned());
        }
        let challenged = self.challenge_scopes.unwrap_or_else(|| announced.clone());
        for scope in announced.iter().chain(&challenged) {
            checked_scope(scope)?;
        }

        let mut metadata = json!({
            "resource": self.verifier.resource,
            "authorization_servers": [self.verifier.issuer],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ALGORITHMS,
        });
        if self.proofs.required {
            metadata["dpop_bound_access_tokens_required"] = true.into();
        }
        if !announced.is_empty() {
            metadata["scopes_supported"] = json!(announced);
        }
        if let Some(name) = self.name {
            metadata["resource_name"] = name.into();
        }
        if let Some(page) = self.documentation {
            metadata["resource_documentation"] = page.into();
        }

        let tools = self
            .tools
            .into_iter()
            .filter_map(|(name, scope)| Some((name, scope?)))
            .collect();
        Ok(ProtectLayer {
            guard: Arc::new(Guard {
                verifier: self.verifier.build()?,
                policy: Policy::new(tools, self.methods, &self.includes),
                metadata: metadata.to_string().into(),
                metadata_path: url.path().to_owned(),
                entrance: Entrance {
                    metadata_url: url.into(),
                    scope: joined(&challenged),
                    takes_bearer: !self.proofs.required,
                },
                proofs,
                max_body: self.max_body,
            }),
        })
    }
}
