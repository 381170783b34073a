//! Decides whether an access token is good for one resource (RFC 9068 §4).

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use url::Url;

use crate::claims::AccessClaims;
use crate::clock::Clock;
use crate::discovery;
use crate::events::{Certainty, Context, Events, Health, Receiver};
use crate::introspection::{Introspect, Introspector};
use crate::jwks::{Jwks, Snapshot, Source};
use crate::jws::{Algorithm, JwsError, KeySet, Unverified};

/// Why a token was refused. The words are fit for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a JWS, or its signature or claims are wrong.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// `typ` is not `at+jwt` (RFC 9068 §2.1): some other kind of token.
    #[error("the token is not an access token")]
    Type,
    /// No key of the issuer has this `kid` for this algorithm.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// `iss` is not the issuer this resource trusts.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` does not name this resource (RFC 8707 §2).
    #[error("the token is for another resource")]
    Audience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `iat` or `nbf` has not come yet.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token is bound to a key (`cnf`) and came as a plain bearer token.
    #[error("the token is bound to a key and cannot be used as a bearer token")]
    SenderConstrained,
    /// The token is bound to another key than the one that made the proof.
    #[error("the token is bound to another key than the one of the DPoP proof")]
    OtherKey,
    /// The token is bound to no key, and only bound ones are taken.
    #[error("the token is not bound to a key")]
    NotBound,
    /// The issuer's keys could not be fetched; the token may well be good.
    #[error("the keys of the authorization server cannot be fetched at the moment")]
    Unavailable,
    /// The authorization server says that the token holds no more, or that it
    /// is none of this resource's.
    #[error("the token has been revoked")]
    Revoked,
    /// The authorization server could not be asked; the token may well be good.
    #[error("the authorization server cannot be asked about the token at the moment")]
    Unanswered,
    /// Revocations do not arrive, and nobody is to be asked instead; the token
    /// may well be good.
    #[error("whether the token was revoked is not known at the moment")]
    Stale,
}

/// What is wrong with the settings of a [`Verifier`] or a layer.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A URL that is missing or not acceptable.
    #[error("{name} {value:?}: {problem}")]
    Url {
        /// Which setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong, and what is allowed.
        problem: &'static str,
    },
    /// Not a scope (RFC 6749 §3.3).
    #[error(
        "scope {0:?}: only printable ASCII without spaces, quotation marks and backslashes is allowed"
    )]
    Scope(String),
    /// `offline_access` is between a client and the authorization server.
    #[error("scope \"offline_access\": a resource neither needs nor announces it")]
    OfflineAccess,
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// An empty list of algorithms.
    #[error("algorithms: at least one is needed")]
    Algorithms,
    /// A setting of [`Events`].
    #[error("events: {0}")]
    Events(&'static str),
    /// The HTTP client did not start.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(reqwest::Error),
}

/// Verifies access tokens of one issuer for one resource. Cheap to clone.
///
/// ```
/// use writ_resource::Verifier;
///
/// # fn main() -> Result<(), writ_resource::SetupError> {
/// let verifier = Verifier::for_resource("https://mcp.example/mcp")
///     .issuer("https://auth.example")
///     .build()?;
/// # let _ = verifier;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    rules: Arc<Rules>,
    jwks: Arc<Jwks>,
    introspector: Option<Arc<Introspector>>,
    receiver: Option<Arc<Receiver>>,
}

#[derive(Debug)]
struct Rules {
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    leeway: i64,
    clock: Clock,
}

impl Verifier {
    /// Starts a verifier for tokens whose `aud` is exactly `resource`.
    pub fn for_resource(resource: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder {
            resource: resource.into(),
            issuer: String::new(),
            jwks_uri: None,
            keys: None,
            algorithms: Algorithm::ALL.to_vec(),
            leeway: Duration::from_secs(30),
            clock: Clock::System,
            refetch_floor: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(5),
            introspect: None,
            events: None,
        }
    }

    /// Checks a token that came as a bearer token, and gives what it says.
    ///
    /// Waits only when the issuer's keys have to be fetched first or the issuer
    /// is to be asked; otherwise no lock is taken.
    ///
    /// # Errors
    /// [`VerifyError::Unavailable`] when there are no keys to check with, or
    /// not the one the token names and the issuer cannot be asked,
    /// [`VerifyError::Unanswered`] when it is to be asked about the token and
    /// cannot be; every other error is the token's fault.
    pub async fn verify(&self, token: &str) -> Result<AccessClaims, VerifyError> {
        let claims = self.presented(token, None).await?;
        self.confirm(token, claims).await
    }

    /// Checks a token that came with a proof by the key of this thumbprint
    /// (RFC 9449 §6.1), and gives what it says. The proof itself is checked
    /// by [`dpop::verify`](crate::dpop::verify).
    ///
    /// # Errors
    /// As [`Verifier::verify`]; [`VerifyError::OtherKey`] and
    /// [`VerifyError::NotBound`] when it is not bound to that key.
    pub async fn verify_bound(
        &self,
        token: &str,
        thumbprint: &str,
    ) -> Result<AccessClaims, VerifyError> {
        let claims = self.presented(token, Some(thumbprint)).await?;
        self.confirm(token, claims).await
    }

    /// What a token says that came with a proof by the key of this thumbprint,
    /// or with none, as far as it needs nobody else.
    pub(crate) async fn presented(
        &self,
        token: &str,
        thumbprint: Option<&str>,
    ) -> Result<AccessClaims, VerifyError> {
        let mut claims = self.check(token).await?;
        match (&claims.cnf, thumbprint) {
            (None, None) => {}
            (None, Some(_)) => return Err(VerifyError::NotBound),
            // RFC 9449 §7.2, RFC 8705 §3: without its proof a bound token is nothing.
            (Some(_), None) => return Err(VerifyError::SenderConstrained),
            (Some(bound), Some(_)) if bound.jkt.as_deref() == thumbprint => {}
            (Some(_), Some(_)) => return Err(VerifyError::OtherKey),
        }
        self.holds(&mut claims)?;
        Ok(claims)
    }

    /// Whether a token that was right when it was presented holds now: by its
    /// end, as far as was told, and as the issuer answers when it is to be asked.
    pub(crate) async fn confirm(
        &self,
        token: &str,
        mut claims: AccessClaims,
    ) -> Result<AccessClaims, VerifyError> {
        let Some(introspector) = self.holds(&mut claims)? else {
            return Ok(claims);
        };
        let mut claims = introspector.confirm(token, claims).await?;
        // An event may have come while the answer was on its way.
        self.holds(&mut claims)?;
        Ok(claims)
    }

    /// Refuses a token that has ended or was revoked, leaves it the scope it
    /// still has, and says who else is to be asked.
    fn holds(&self, claims: &mut AccessClaims) -> Result<Option<&Introspector>, VerifyError> {
        self.rules.check_end(claims)?;
        let Some(receiver) = &self.receiver else {
            return Ok(self.introspector.as_deref());
        };
        match receiver.judge(claims)? {
            Certainty::Known => Ok(self.introspector.as_deref()),
            Certainty::Unknown => {
                let fallback = receiver.fallback.as_ref();
                fallback.map(Some).ok_or(VerifyError::Stale)
            }
        }
    }

    /// Waits until a token with these claims is revoked or, if that `expires`
    /// what it waits for, over.
    pub(crate) fn ended(
        &self,
        claims: Arc<AccessClaims>,
        expires: bool,
    ) -> impl Future<Output = ()> + Send + Sync + use<> {
        let (rules, receiver) = (Arc::clone(&self.rules), self.receiver.clone());
        let revoked = receiver.map(|receiver| receiver.revoked(&claims));
        async move {
            let revoked = async {
                match revoked {
                    Some(revoked) => revoked.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rules.expired(&claims), if expires => {}
                () = revoked => {}
            }
        }
    }

    /// How the revocations are arriving, where [`VerifierBuilder::events`]
    /// asks for them.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        Some(self.receiver.as_ref()?.health())
    }

    /// Receives no more events, and deletes the stream, unless
    /// [`Events::instance`] names it: for when the server has stopped. Takes
    /// five seconds at most. Tokens are asked about or refused from now on, as
    /// while nothing arrives.
    pub async fn close(&self) {
        if let Some(receiver) = &self.receiver {
            receiver.close().await;
        }
    }

    pub(crate) const fn receiver(&self) -> Option<&Arc<Receiver>> {
        self.receiver.as_ref()
    }

    /// What needs nobody else.
    async fn check(&self, token: &str) -> Result<AccessClaims, VerifyError> {
        let token = Unverified::parse(token)?;
        // What needs no key comes first, so that other tokens cause no fetch.
        if !self.rules.algorithms.contains(&token.alg()) {
            return Err(JwsError::Algorithm.into());
        }
        if !token.is_typ("at+jwt") {
            return Err(VerifyError::Type);
        }
        let claims: AccessClaims = signed_claims(&self.jwks, token).await?;
        self.rules.check(&claims)?;
        Ok(claims)
    }

    /// Fetches the issuer's keys if there are none yet, so that the first
    /// caller need not wait and a wrong setting shows at start.
    ///
    /// # Errors
    /// [`VerifyError::Unavailable`] when they cannot be fetched.
    pub async fn load_keys(&self) -> Result<(), VerifyError> {
        if self.jwks.current().is_none() {
            self.jwks.refetch().await;
        }
        self.jwks
            .current()
            .map(drop)
            .ok_or(VerifyError::Unavailable)
    }
}

/// The claims of a token that the issuer has signed. Fetches its keys when
/// there are none, or not the one the token names.
pub(crate) async fn signed_claims<T: DeserializeOwned>(
    jwks: &Arc<Jwks>,
    token: Unverified<'_>,
) -> Result<T, VerifyError> {
    if let Some(snapshot) = jwks.current()
        && knows(&snapshot, &token)
    {
        return claims_of(token, &snapshot);
    }
    jwks.refetch().await;
    let snapshot = jwks.current().ok_or(VerifyError::Unavailable)?;
    // The key may be one that a rotation made while the issuer cannot be
    // asked: nobody knows that the token is bad.
    if jwks.is_cut_off() && !knows(&snapshot, &token) {
        return Err(VerifyError::Unavailable);
    }
    claims_of(token, &snapshot)
}

fn knows(snapshot: &Snapshot, token: &Unverified<'_>) -> bool {
    snapshot.keys.find(token.kid(), token.alg()).is_some()
}

fn claims_of<T: DeserializeOwned>(
    token: Unverified<'_>,
    snapshot: &Snapshot,
) -> Result<T, VerifyError> {
    let key = snapshot
        .keys
        .find(token.kid(), token.alg())
        .ok_or(VerifyError::UnknownKey)?;
    Ok(token.verify(key)?.claims()?)
}

impl Rules {
    /// RFC 9068 §4, after the signature.
    fn check(&self, claims: &AccessClaims) -> Result<(), VerifyError> {
        if claims.iss != self.issuer {
            return Err(VerifyError::Issuer);
        }
        if !claims.aud.contains(&self.audience) {
            return Err(VerifyError::Audience);
        }
        self.check_end(claims)?;
        let latest_start = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
        if self.clock.now().saturating_add(self.leeway) < latest_start {
            return Err(VerifyError::NotYetValid);
        }
        Ok(())
    }

    /// Waits until a token with these claims is accepted no more.
    async fn expired(&self, claims: &AccessClaims) {
        while self.check_end(claims).is_ok() {
            let end = claims.exp.saturating_add(self.leeway);
            let left = end.saturating_sub(self.clock.now());
            self.clock.sleep(left.max(0)).await;
        }
    }

    fn check_end(&self, claims: &AccessClaims) -> Result<(), VerifyError> {
        if self.clock.now() < claims.exp.saturating_add(self.leeway) {
            Ok(())
        } else {
            Err(VerifyError::Expired)
        }
    }
}

/// The settings of a [`Verifier`].
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifierBuilder {
    pub(crate) resource: String,
    pub(crate) issuer: String,
    jwks_uri: Option<String>,
    keys: Option<KeySet>,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
    pub(crate) clock: Clock,
    refetch_floor: Duration,
    fetch_timeout: Duration,
    introspect: Option<Introspect>,
    events: Option<Events>,
}

impl VerifierBuilder {
    /// The authorization server, octet for octet as it calls itself. Needed.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Where the issuer's keys are, when its metadata should not be asked.
    pub fn jwks_uri(mut self, uri: impl Into<String>) -> Self {
        self.jwks_uri = Some(uri.into());
        self
    }

    /// The issuer's keys themselves; nothing is fetched then.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The signature algorithms to accept; all of [`Algorithm`] by default.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// How far the issuer's clock may be off; 30 seconds by default.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Where the time comes from; the machine's clock by default.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// The least time between two fetches of the keys, however many tokens or
    /// events name unknown ones; 10 seconds by default.
    pub const fn refetch_floor(mut self, floor: Duration) -> Self {
        self.refetch_floor = floor;
        self
    }

    /// How long one fetch may take; 5 seconds by default.
    pub const fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.fetch_timeout = timeout;
        self
    }

    /// Asks the authorization server about each token as well (RFC 7662), so
    /// that one which was revoked is refused before it has expired.
    pub fn introspect(mut self, introspect: Introspect) -> Self {
        self.introspect = Some(introspect);
        self
    }

    /// Has the authorization server tell what it revokes (OpenID Shared
    /// Signals), so that a revoked token is refused from that moment on and
    /// nobody is asked. Receiving begins here when there is a tokio runtime,
    /// otherwise with the first token, and ends with the last clone of the
    /// verifier, or with [`Verifier::close`].
    pub fn events(mut self, events: Events) -> Self {
        self.events = Some(events);
        self
    }

    /// Makes the verifier. Fetches nothing yet, unless there are
    /// [`Self::events`].
    ///
    /// # Errors
    /// [`SetupError`] names the setting that is wrong.
    pub fn build(self) -> Result<Verifier, SetupError> {
        let resource_url = trusted_url("resource", &self.resource)?;
        let issuer_url = trusted_url("issuer", &self.issuer)?;
        if issuer_url.query().is_some() {
            return Err(SetupError::Url {
                name: "issuer",
                value: self.issuer,
                problem: "an issuer has no query (RFC 8414 §2)",
            });
        }
        if self.algorithms.is_empty() {
            return Err(SetupError::Algorithms);
        }
        let (source, fixed, peer) = match (self.keys, self.jwks_uri) {
            (Some(keys), _) => (Source::Fixed, keys, issuer_url.clone()),
            (None, Some(uri)) => {
                let uri = trusted_url("jwks_uri", &uri)?;
                (Source::At(uri.clone()), KeySet::default(), uri)
            }
            (None, None) => {
                let source = Source::Discovered {
                    issuer: self.issuer.clone(),
                    url: issuer_url.clone(),
                };
                (source, KeySet::default(), issuer_url.clone())
            }
        };
        let http = discovery::http_client(self.fetch_timeout, &peer).map_err(SetupError::Http)?;
        let clock = self.clock;
        let jwks = Jwks::new(source, fixed, clock.clone(), self.refetch_floor, http);
        let introspector = |introspect| {
            let (clock, jwks) = (clock.clone(), jwks.clone());
            Introspector::new(introspect, &self.issuer, &issuer_url, clock, jwks)
        };
        let configured = self.introspect.map(introspector).transpose()?.map(Arc::new);
        let leeway = i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX);
        let receiver = match self.events {
            None => None,
            Some(events) => {
                let context = Context {
                    issuer: &self.issuer,
                    issuer_url: &issuer_url,
                    resource: &self.resource,
                    resource_url: &resource_url,
                    clock: &clock,
                    leeway,
                    keys_floor: self.refetch_floor,
                    http: &discovery::http_client(self.fetch_timeout, &issuer_url)
                        .map_err(SetupError::Http)?,
                    answers: configured.clone(),
                };
                let receiver = Arc::new(Receiver::new(events, context, introspector)?);
                receiver.start();
                Some(receiver)
            }
        };
        Ok(Verifier {
            introspector: configured,
            receiver,
            jwks: jwks.clone(),
            rules: Arc::new(Rules {
                issuer: self.issuer,
                audience: self.resource,
                algorithms: self.algorithms,
                leeway,
                clock,
            }),
        })
    }
}

/// An absolute https URL without a fragment; http on loopback, for development.
pub(crate) fn trusted_url(name: &'static str, value: &str) -> Result<Url, SetupError> {
    let refuse = |problem| SetupError::Url {
        name,
        value: value.to_owned(),
        problem,
    };
    let url = Url::parse(value)
        .map_err(|_| refuse("an absolute URL is needed, such as https://host/path"))?;
    if url.scheme() != "https" && !discovery::is_plain_loopback(&url) {
        return Err(refuse("https is needed; http only on a loopback address"));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("neither a fragment nor credentials may be in it"));
    }
    Ok(url)
}
