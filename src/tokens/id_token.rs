//! ID tokens (OpenID Connect Core §2): who a person is, said to a client.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    error::{OAuthError, Result},
    keys::SigningAlgorithm,
    oauth::openid::IdentityScope,
    policy::{Permit, person::Given},
    registry::Tenant,
};

/// What an ID token is to say beyond what its access token does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTokenRequest {
    nonce: Option<String>,
    given: Given,
}

impl IdTokenRequest {
    /// What is to be said of what was given; nothing unless it is an authentication.
    #[must_use]
    pub fn of(given: &Given, nonce: Option<String>) -> Option<Self> {
        given.has(IdentityScope::OpenId).then(|| Self {
            nonce,
            given: given.clone(),
        })
    }

    /// The token that goes with an access token.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn make(
        &self,
        app: &App,
        tenant: &Tenant,
        permit: &Permit,
        access_token: &str,
    ) -> Result<String> {
        let settings = &permit.client().rights().authorization;
        // OpenID Connect Core §15.1: RS256 unless the client has registered another.
        let algorithm = settings
            .id_token_signed_response_alg
            .unwrap_or(SigningAlgorithm::RS256);
        let claims = Value::Object(self.claims(app, tenant, permit, algorithm, access_token));
        let payload = serde_json::to_vec(&claims).map_err(OAuthError::server_error)?;
        let keys = tenant.keys();
        Ok(keys.signer(algorithm)?.sign("JWT", &payload)?)
    }

    fn claims(
        &self,
        app: &App,
        tenant: &Tenant,
        permit: &Permit,
        algorithm: SigningAlgorithm,
        access_token: &str,
    ) -> Map<String, Value> {
        let now = app.clock.seconds();
        let authorized = &self.given.authorized;
        let mut claims = Map::new();
        let mut say = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        say("iss", json!(tenant.issuer()));
        say("sub", json!(authorized.subject));
        say("aud", json!(permit.client().id()));
        say(
            "exp",
            json!(now + app.config.authorization.id_token_lifetime),
        );
        say("iat", json!(now));
        say("at_hash", json!(half_hash(algorithm, access_token)));
        say("sid", json!(self.given.sid));
        say("auth_time", json!(authorized.auth_time));
        if !authorized.amr.is_empty() {
            say("amr", json!(authorized.amr));
        }
        if let Some(acr) = &authorized.acr {
            say("acr", json!(acr));
        }
        if let Some(nonce) = &self.nonce {
            say("nonce", json!(nonce));
        }
        claims
    }
}

/// `at_hash` (OpenID Connect Core §3.1.3.6): the left half of the hash that goes with the
/// algorithm, which for Ed25519 is the one that it uses itself.
fn half_hash(algorithm: SigningAlgorithm, token: &str) -> String {
    let hash = match algorithm {
        SigningAlgorithm::RS256 | SigningAlgorithm::ES256 => &SHA256,
        SigningAlgorithm::EdDSA => &SHA512,
    };
    let hash = digest(hash, token.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().split_at(hash.as_ref().len() / 2).0)
}
