//! What a browser carries to the provider and back: the `state`, sealed.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Failure, provider};
use crate::{
    app::{App, providers::Provider},
    error::{OAuthError, Result},
    registry::Tenant,
    store::{Change, Once},
    users::Errand,
};

/// Seconds in which a person is to come back.
pub const LIFETIME: i64 = 600;

/// Whose browser it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traveller {
    /// Somebody's who signs in, by the name that it got when it left.
    Browser(String),
    /// Somebody's who is signed in and adds another way in, by the session's public id.
    Session(String),
}

/// A browser on its way to a provider and back.
#[derive(Clone, Serialize, Deserialize)]
pub struct Departure {
    /// The provider, by its name here.
    provider: String,
    /// What it called itself (RFC 9207 §2.4: an answer of another one is mixed up).
    issuer: String,
    /// 256 random bits that its ID token repeats, base64url.
    pub(super) nonce: String,
    /// What proves that a code was made for us (RFC 7636 §4.1).
    pub(super) verifier: String,
    traveller: Traveller,
    /// Where the person was going.
    pub errand: Option<Errand>,
    /// What was decided there before the person left, as whoever asked has sealed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// When it began, Unix seconds.
    pub(super) at: i64,
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure")
            .field("provider", &self.provider)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Departure {
    /// A new one.
    #[must_use]
    pub fn new(
        app: &App,
        provider: &Provider,
        traveller: Traveller,
        errand: Option<Errand>,
    ) -> Self {
        let random = || URL_SAFE_NO_PAD.encode(app.entropy.bytes::<32>());
        Self {
            provider: provider.id.clone(),
            issuer: provider.config.issuer.clone(),
            nonce: random(),
            verifier: random(),
            traveller,
            errand,
            decision: None,
            at: app.clock.seconds(),
        }
    }

    /// The same of somebody who was asked before they left.
    #[must_use]
    pub fn decided(mut self, decision: Option<String>) -> Self {
        self.decision = decision;
        self
    }

    /// What a `state` holds that this browser may bring back from this provider.
    ///
    /// # Errors
    /// `invalid_request` when it is another browser's, of another provider, too old, or none.
    pub fn open(
        app: &App,
        tenant: &Tenant,
        provider: &Provider,
        state: &str,
        is_here: impl FnOnce(&Traveller) -> bool,
    ) -> Result<Self> {
        let found = app.departures.open::<Self>(tenant.name(), state);
        let now = app.clock.seconds();
        let fits = |found: &Self| {
            found.provider == provider.id
                && found.issuer == provider.config.issuer
                && now - found.at <= LIFETIME
                && is_here(&found.traveller)
        };
        found.filter(fits).ok_or_else(|| {
            OAuthError::invalid_request(
                "This sign-in has taken too long, was begun in another browser, or is over \
                 already: begin again.",
            )
        })
    }

    /// Whose browser it is.
    #[must_use]
    pub const fn traveller(&self) -> &Traveller {
        &self.traveller
    }

    /// Whether the person is to prove anew who they are.
    #[must_use]
    pub fn is_anew(&self) -> bool {
        let errand = self.errand.as_ref();
        errand.is_some_and(|errand| errand.authenticated_after.is_some())
    }

    /// Uses it up.
    #[must_use]
    pub fn use_up(&self, tenant: &Tenant) -> Change {
        let name = [b"departure".as_slice(), self.nonce.as_bytes()].join(&0);
        let digest = digest(&SHA256, &name);
        let end = self.at + LIFETIME;
        Change::use_once(tenant.name(), digest.as_ref(), end, Once::Departure)
    }

    /// Where the browser is sent: an authentication request (OpenID Connect Core §3.1.2.1) that is
    /// made of our configuration alone.
    ///
    /// # Errors
    /// [`Failure`] when nobody knows where that is.
    pub async fn url(
        &self,
        app: &App,
        tenant: &Tenant,
        provider: &Provider,
    ) -> Result<Url, Failure> {
        let metadata = provider::metadata(app, provider).await?;
        let unsealed = |why: OAuthError| Failure::away(why.to_string());
        let state = app.departures.seal(tenant.name(), self, &app.entropy);
        let state = state.map_err(|why| unsealed(why.into()))?;
        let challenge = digest(&SHA256, self.verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        let redirect_uri = redirect_uri(tenant, provider);
        let mut url = Url::parse(&metadata.authorization_endpoint)
            .map_err(|why| Failure::away(why.to_string()))?;
        let mut query = url.query_pairs_mut();
        query.extend_pairs([
            ("response_type", "code"),
            ("client_id", &provider.config.client_id),
            ("redirect_uri", &redirect_uri),
            ("scope", &provider.config.scopes),
            ("state", &state),
            ("nonce", &self.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        if self.is_anew() {
            query.extend_pairs([("prompt", "login"), ("max_age", "0")]);
            if metadata.claims_parameter_supported {
                let claims = r#"{"id_token":{"auth_time":{"essential":true}}}"#;
                query.append_pair("claims", claims);
            }
        }
        drop(query);
        Ok(url)
    }
}

/// Where the provider sends people back to: another one for each provider, so that no answer is
/// taken for that of another (RFC 9700 §4.4.2.2).
#[must_use]
pub fn redirect_uri(tenant: &Tenant, provider: &Provider) -> String {
    tenant.url(&format!("/login/upstream/{}/callback", provider.id))
}
