//! Authorization codes (RFC 6749 §4.1.2): tickets that hold all that the token endpoint needs, so
//! that nothing is written before one is redeemed. That it was redeemed is a name that holds once,
//! and a grant whose id the code holds: whoever uses a code again ends what it has produced.

use entity::grant;
use serde::{Deserialize, Serialize};

use super::request::AuthorizationRequest;
use crate::{
    app::App,
    clients::digest_of,
    error::{OAuthError, Result},
    oauth::{
        openid::{Acr, IdentityScope},
        pkce::Challenge,
    },
    policy::{
        Authorized,
        person::{Ask, Given},
    },
    registry::{Client, Tenant},
    store::{Change, Once, authorization, grants::PERSON, logout},
};

/// How a person came to give an authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The person.
    pub subject: String,
    /// Their session.
    pub sid: String,
    /// When they authenticated, Unix seconds.
    pub auth_time: i64,
    /// How (RFC 8176).
    pub amr: Vec<String>,
}

/// A code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Its own name.
    pub id: String,
    /// The client it was made for.
    pub client_id: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// What the verifier has to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
    /// Thumbprint of the key that has to be proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// Goes into the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// What the person gave.
    pub given: Given,
    /// When it stops to hold, Unix seconds.
    pub expires_at: i64,
}

/// Longest text that may be a code, bytes.
const LONGEST: usize = 16 * 1024;

/// Makes the code for what the person has allowed.
///
/// # Errors
/// When it cannot be sealed.
pub fn make(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    allowed: &Ask,
    person: SignedIn,
) -> Result<String> {
    let longest = request.client.rights().profile.rules().code_lifetime;
    let lifetime = app.config.authorization.code_lifetime.min(longest);
    let code = Code {
        id: app.entropy.id(),
        client_id: request.client.id().to_owned(),
        redirect_uri: request.to.redirect_uri.clone(),
        challenge: request.details.challenge.clone(),
        dpop_jkt: request.details.dpop_jkt.clone(),
        nonce: request.details.nonce.clone(),
        given: Given {
            authorized: Authorized {
                grant_id: app.entropy.id(),
                subject: person.subject,
                allowed: allowed.given(),
                auth_time: person.auth_time,
                acr: Some(
                    Acr::of(&person.amr, &request.details.acr)
                        .as_str()
                        .to_owned(),
                ),
                amr: person.amr,
            },
            sid: person.sid,
            claims: allowed.claims(&request.details.claims),
        },
        expires_at: app.clock.seconds() + lifetime,
    };
    let sealed = app.codes.seal(tenant.name(), &code, &app.entropy);
    sealed.map_err(OAuthError::server_error)
}

impl Code {
    /// Reads a code of this tenant.
    ///
    /// # Errors
    /// `invalid_grant` when it is none.
    pub fn read(app: &App, tenant: &Tenant, text: &str) -> Result<Self> {
        let text = Some(text).filter(|text| text.len() <= LONGEST);
        let code = text.and_then(|text| app.codes.open(tenant.name(), text));
        code.ok_or_else(|| OAuthError::invalid_grant("code is not one of this server's."))
    }

    /// The change that uses it up.
    #[must_use]
    pub fn spend(&self, tenant: &Tenant) -> Change {
        let digest = digest_of(format!("code {}", self.id));
        Change::use_once(tenant.name(), digest, self.expires_at, Once::Code)
    }

    /// The change that has the client told when the session ends, if it wants to be.
    #[must_use]
    pub fn logout(&self, tenant: &Tenant, client: &Client) -> Option<Change> {
        let wants = client
            .rights()
            .authorization
            .backchannel_logout_uri
            .is_some();
        (wants && self.given.has(IdentityScope::OpenId)).then(|| {
            Change::Logout(logout::Change::Remember(entity::logout::Model {
                tenant: tenant.name().to_owned(),
                sid: self.given.sid.clone(),
                client_id: self.client_id.clone(),
                user_id: self.given.authorized.subject.clone(),
                due_at: None,
                attempts: 0,
            }))
        })
    }

    /// The change that makes the grant it stands for, which ends at `ends_at` by itself.
    #[must_use]
    pub fn grant(&self, tenant: &Tenant, now: i64, ends_at: Option<i64>) -> Change {
        let Authorized {
            grant_id,
            subject,
            allowed,
            ..
        } = &self.given.authorized;
        let offline = self.given.has(IdentityScope::OfflineAccess);
        Change::Authorization(authorization::Change::Grant(grant::Model {
            tenant: tenant.name().to_owned(),
            id: grant_id.clone(),
            identity: format!("{PERSON}{grant_id}"),
            client_id: self.client_id.clone(),
            subject: subject.clone(),
            resources: allowed.places().collect::<Vec<_>>().join(" "),
            parent: None,
            created_at: now,
            // OpenID Connect Core §11: what was not given for later ends when somebody ends the
            // session. One that times out takes nothing with it: programs go on that never asked
            // for `offline_access`.
            session: (!offline).then(|| self.given.sid.clone()),
            expires_at: ends_at,
            used_at: None,
        }))
    }
}
