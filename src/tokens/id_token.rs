//! ID tokens (OpenID Connect Core §2): who a person is, said to a client.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use writ_resource::jws::Unverified;

use super::{person, subject};
use crate::{
    app::App,
    error::{OAuthError, Result},
    keys::SigningAlgorithm,
    oauth::{claims::Audience, openid::IdentityScope},
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

    /// The claims that the access token opens the userinfo endpoint for, beyond those of its
    /// scopes.
    pub fn at_userinfo(&self) -> impl Iterator<Item = &str> {
        self.given.claims.userinfo.keys().map(String::as_str)
    }

    /// The token that goes with an access token.
    ///
    /// # Errors
    /// `invalid_grant` when the person's account is gone, `server_error` when it cannot be signed.
    pub async fn make(
        &self,
        app: &App,
        tenant: &Tenant,
        permit: &Permit,
        access_token: &str,
    ) -> Result<String> {
        let algorithm = permit.client().rights().id_token_algorithm();
        let mut claims = self.claims(app, tenant, permit, algorithm, access_token);
        let (account, names) = (permit.subject(), self.about(permit));
        claims.extend(person::claims(app, tenant, account, &names).await?);
        let payload = serde_json::to_vec(&claims).map_err(OAuthError::server_error)?;
        let keys = tenant.keys();
        Ok(keys.signer(algorithm)?.sign("JWT", &payload)?)
    }

    /// What it tells of the person: what was asked for by name, and all that their scopes stand
    /// for when the access token is not for the userinfo endpoint (OpenID Connect Core §5.4).
    fn about<'a>(&'a self, permit: &'a Permit) -> Vec<&'a str> {
        let named = self.given.claims.id_token.keys().map(String::as_str);
        let mut names: Vec<&str> = named.collect();
        if !permit.resources().iter().any(|r| r.is_userinfo()) {
            names.extend(person::of_scopes(permit.scope().split(' ')));
        }
        names
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
        let sub = subject::known_as(app, tenant, permit.client(), &authorized.subject);
        say("sub", json!(sub));
        say("aud", json!(permit.client().id()));
        say(
            "exp",
            json!(now + app.config.authorization.id_token_lifetime),
        );
        say("iat", json!(now));
        say(
            "at_hash",
            json!(half_hash(algorithm.as_str(), access_token)),
        );
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

/// An ID token of ours that a client shows to say whom it means. It may have expired.
#[derive(Clone, Debug, Deserialize)]
pub struct Hint {
    iss: String,
    /// The person, as the client knows them.
    pub sub: String,
    /// The client that it was issued to.
    pub aud: Audience,
    /// The session.
    #[serde(default)]
    pub sid: Option<String>,
}

/// Reads one; none when it is no ID token of this issuer.
#[must_use]
pub fn hint(tenant: &Tenant, token: &str) -> Option<Hint> {
    let unverified = Unverified::parse(token).ok()?;
    // RFC 8725 §3.11: nothing else that we sign passes as an ID token.
    if !unverified.is_typ("JWT") {
        return None;
    }
    let keys = tenant.keys();
    let key = keys.remembered().find(|key| {
        key.kid() == unverified.kid() && key.algorithms().contains(&unverified.alg())
    })?;
    let hint: Hint = unverified.verify(key).ok()?.claims().ok()?;
    (hint.iss == tenant.issuer()).then_some(hint)
}

/// `at_hash` (OpenID Connect Core §3.1.3.6): the left half of the hash that goes with the
/// algorithm, which for Ed25519 is the one that it uses itself.
#[must_use]
pub fn half_hash(algorithm: &str, token: &str) -> String {
    let hash = match algorithm {
        "EdDSA" => &SHA512,
        _ => &SHA256,
    };
    let hash = digest(hash, token.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.as_ref().split_at(hash.as_ref().len() / 2).0)
}
