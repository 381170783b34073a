//! Asks the authorization server whether a token still holds (RFC 7662).
//!
//! A token that verifies may have been revoked since. Only its issuer knows, and
//! is asked after everything that can be checked here: what does not verify
//! causes no request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use moka::future::Cache;
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::claims::{AccessClaims, numeric_date};
use crate::clock::Clock;
use crate::discovery::{self, Endpoint, FetchError};
use crate::json;
use crate::jwks::Jwks;
use crate::jws::Unverified;
use crate::verifier::{SetupError, VerifyError, signed_claims, trusted_url};

/// The media type of a signed answer (RFC 9701 §4), and the end of its `typ`.
const SIGNED: &str = "application/token-introspection+jwt";

/// How long an answer is kept at most.
const MAX_KEPT: Duration = Duration::from_secs(3600);

/// How old a signed answer may be, seconds.
const MAX_ANSWER_AGE: i64 = 60;

/// That the authorization server is asked about each token, and as whom.
///
/// The client must be one that the authorization server lets see the tokens
/// for this resource; a Writ server gives such credentials to every MCP server
/// that registers itself, and to a client that is declared to serve it.
///
/// ```
/// use std::time::Duration;
/// use writ_resource::{Introspect, Protect};
///
/// # fn main() -> Result<(), writ_resource::SetupError> {
/// # let secret = "from-the-environment";
/// let protect = Protect::resource("https://mcp.example/mcp")
///     .issuer("https://auth.example")
///     .tools(["transfer"])
///     .introspect(Introspect::cached("rs-bank", secret, Duration::from_secs(5), 10_000))
///     .build()?;
/// # let _ = protect;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Introspect {
    client_id: String,
    client_secret: String,
    kept: Option<(Duration, u64)>,
    endpoint: Option<String>,
    timeout: Duration,
    signed: bool,
}

impl Introspect {
    /// Asks for every request: a revoked token is refused at once.
    pub fn per_call(client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            kept: None,
            endpoint: None,
            timeout: Duration::from_secs(5),
            signed: false,
        }
    }

    /// Asks, and keeps up to `capacity` answers: a request that comes `keep` or
    /// more after the revocation is refused. That time begins when the server
    /// is asked, however long its answer takes. No answer outlives its token,
    /// and requests with the same token that come together ask once.
    pub fn cached(
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
        keep: Duration,
        capacity: u64,
    ) -> Self {
        let mut introspect = Self::per_call(client_id, client_secret);
        introspect.kept = Some((keep, capacity));
        introspect
    }

    /// Where to ask, when the issuer's metadata should not say.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// How long asking may take; 5 seconds by default.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Insists on answers that the issuer has signed (RFC 9701), for where
    /// something between here and there ends TLS. Such an answer must name the
    /// token by `jti`, `sub` and `client_id`, as Writ's do, and may be a minute
    /// old.
    pub const fn signed(mut self) -> Self {
        self.signed = true;
        self
    }
}

impl fmt::Debug for Introspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Introspect({})", self.client_id)
    }
}

/// What is asked, where, and what was answered lately.
pub(crate) struct Introspector {
    issuer: String,
    issuer_url: Url,
    client_id: String,
    authorization: String,
    endpoint: OnceCell<Url>,
    http: reqwest::Client,
    timeout: Duration,
    signed: bool,
    keep: Duration,
    answers: Option<Cache<[u8; 32], Answer>>,
    clock: Clock,
    jwks: Arc<Jwks>,
}

impl fmt::Debug for Introspector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Introspector({})", self.client_id)
    }
}

/// What the authorization server said, when it was asked, and until when that
/// counts at most.
#[derive(Clone, Debug)]
struct Answer {
    active: bool,
    scope: Option<Arc<str>>,
    asked: Instant,
    until: i64,
}

impl Introspector {
    pub(crate) fn new(
        settings: Introspect,
        issuer: &str,
        issuer_url: &Url,
        clock: Clock,
        jwks: Arc<Jwks>,
    ) -> Result<Self, SetupError> {
        let given = settings.endpoint.as_deref();
        let given = given
            .map(|url| trusted_url("introspection endpoint", url))
            .transpose()?;
        let peer = given.as_ref().unwrap_or(issuer_url);
        let http = discovery::http_client(settings.timeout, peer).map_err(SetupError::Http)?;
        let kept = settings.kept.map(|(keep, most)| (keep.min(MAX_KEPT), most));
        let answers = kept.map(|(keep, most)| {
            Cache::builder()
                .max_capacity(most)
                .time_to_live(keep)
                .build()
        });
        let keep = kept.map_or(Duration::ZERO, |(keep, _)| keep);
        Ok(Self {
            issuer: issuer.to_owned(),
            issuer_url: issuer_url.clone(),
            authorization: basic(&settings.client_id, &settings.client_secret),
            client_id: settings.client_id,
            endpoint: OnceCell::new_with(given),
            http,
            timeout: settings.timeout,
            signed: settings.signed,
            keep,
            answers,
            clock,
            jwks,
        })
    }

    /// Forgets what was answered: something was revoked since.
    pub(crate) fn forget(&self) {
        if let Some(answers) = &self.answers {
            answers.invalidate_all();
        }
    }

    /// The claims again, if the authorization server says that the token still
    /// holds; without the scopes that it does not name (RFC 7662 §2.2).
    ///
    /// # Errors
    /// [`VerifyError::Revoked`], or [`VerifyError::Unanswered`]: a server that
    /// cannot be asked vouches for nothing.
    pub(crate) async fn confirm(
        &self,
        token: &str,
        mut claims: AccessClaims,
    ) -> Result<AccessClaims, VerifyError> {
        let answer = match &self.answers {
            None => self.ask(token, &claims).await?,
            Some(answers) => self.ask_once(answers, token, &claims).await?,
        };
        if !answer.active {
            return Err(VerifyError::Revoked);
        }
        if let Some(told) = answer.scope {
            let told: Vec<&str> = told.split(' ').collect();
            let still: Vec<&str> = claims.scopes().filter(|s| told.contains(s)).collect();
            claims.scope = Some(still.join(" "));
        }
        Ok(claims)
    }

    async fn ask_once(
        &self,
        answers: &Cache<[u8; 32], Answer>,
        token: &str,
        claims: &AccessClaims,
    ) -> Result<Answer, VerifyError> {
        let arrived = Instant::now();
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        loop {
            // One that is known, one that somebody else waits for already, or a new one.
            let answer = answers.try_get_with(name, self.ask(token, claims)).await;
            let answer = answer.map_err(|error| *error)?;
            if self.holds(&answer, arrived) {
                return Ok(answer);
            }
            // Each next one was asked for later, and what is asked from now on holds.
            answers.invalidate(&name).await;
        }
    }

    /// Whether an answer is good for a request that came at `arrived`.
    fn holds(&self, answer: &Answer, arrived: Instant) -> bool {
        let young = arrived.saturating_duration_since(answer.asked) < self.keep;
        answer.asked >= arrived || (young && self.clock.now() < answer.until)
    }

    async fn ask(&self, token: &str, claims: &AccessClaims) -> Result<Answer, VerifyError> {
        // What is answered was true at some moment after this one, perhaps not at its arrival.
        let (asked, now) = (Instant::now(), self.clock.now());
        // All of it, or those who wait for the address would wait one by one.
        let sent = tokio::time::timeout(self.timeout, self.request(token)).await;
        let answered = match sent {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        };
        let body = answered.map_err(|error| unanswered(&error))?;
        let said = self.read(&body, claims).await?;
        let end = said.exp.map_or(claims.exp, |told| told.min(claims.exp));
        // In whole seconds, for the clock that tests move; `asked` counts the fractions.
        let keep = i64::try_from(self.keep.as_secs() + 1).unwrap_or(i64::MAX);
        Ok(Answer {
            active: said.active,
            scope: said.scope.map(Into::into),
            asked,
            until: now.saturating_add(keep).min(end),
        })
    }

    /// RFC 7662 §2.1; the secret is sent as RFC 6749 §2.3.1 says.
    async fn request(&self, token: &str) -> Result<Vec<u8>, FetchError> {
        let find = || {
            discovery::endpoint(
                &self.http,
                &self.issuer,
                &self.issuer_url,
                Endpoint::Introspection,
            )
        };
        let url = self.endpoint.get_or_try_init(find).await?;
        let form = Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let accept = if self.signed {
            SIGNED
        } else {
            "application/json"
        };
        let request = self
            .http
            .post(url.clone())
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        discovery::send(request, url).await.map(|(body, _)| body)
    }

    async fn read(&self, body: &[u8], claims: &AccessClaims) -> Result<Said, VerifyError> {
        if !self.signed {
            return json::from_slice(body).map_err(|_| unanswered("it answers something else"));
        }
        let said = self.read_signed(body).await;
        let said = said.ok_or_else(|| unanswered("its answer is not signed as it should be"))?;
        // Whoever may change what is sent could answer with what was signed for another token.
        if said.active && !said.names(claims) {
            return Err(unanswered("its signed answer is about another token"));
        }
        Ok(said)
    }

    /// RFC 9701 §5: its own type, from this issuer, for this client, and of now.
    async fn read_signed(&self, body: &[u8]) -> Option<Said> {
        let token = Unverified::parse(std::str::from_utf8(body).ok()?).ok()?;
        if !token.is_typ("token-introspection+jwt") {
            return None;
        }
        let signed: Signed = signed_claims(&self.jwks, token).await.ok()?;
        let recent = self.clock.now().abs_diff(signed.iat) <= MAX_ANSWER_AGE.unsigned_abs();
        let for_us = signed.iss == self.issuer && signed.aud == self.client_id;
        (for_us && recent).then_some(signed.token_introspection)
    }
}

/// The members of an answer that this crate reads (RFC 7662 §2.2). The claims
/// are in the token itself.
#[derive(Deserialize)]
struct Said {
    active: bool,
    scope: Option<String>,
    exp: Option<i64>,
    jti: Option<String>,
    sub: Option<String>,
    client_id: Option<String>,
}

impl Said {
    /// Whether this is said of the token with these claims.
    fn names(&self, claims: &AccessClaims) -> bool {
        let is = |said: &Option<String>, claim: &str| said.as_deref() == Some(claim);
        is(&self.jti, &claims.jti)
            && is(&self.sub, &claims.sub)
            && is(&self.client_id, &claims.client_id)
    }
}

#[derive(Deserialize)]
struct Signed {
    iss: String,
    aud: String,
    #[serde(deserialize_with = "numeric_date")]
    iat: i64,
    token_introspection: Said,
}

/// RFC 6749 §2.3.1.
pub(crate) fn basic(client_id: &str, client_secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(client_id), encoded(client_secret));
    format!("Basic {}", STANDARD.encode(pair))
}

fn unanswered(error: &str) -> VerifyError {
    tracing::warn!(
        error,
        "the authorization server cannot be asked about a token"
    );
    VerifyError::Unanswered
}
