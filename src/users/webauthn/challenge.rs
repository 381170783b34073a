//! Challenges: what a passkey has to answer, once, in the browser that asked (§13.4.3).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ALGORITHMS, RelyingParty};
use crate::{
    app::App,
    clients::digest_of,
    error::{OAuthError, Result},
    registry::Tenant,
    store::{Change, Once},
    users::User,
};

/// Seconds in which it is to be answered.
const LIFETIME: i64 = 600;
/// The same for browsers, milliseconds: they give up before.
const TIMEOUT: i64 = 300_000;

/// What it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Making a passkey.
    Register,
    /// Signing in with one.
    SignIn,
}

/// A challenge, with all that its answer is to be checked against.
#[derive(Debug, Serialize, Deserialize)]
pub struct Challenge {
    /// 256 random bits.
    bytes: [u8; 32],
    purpose: Purpose,
    /// The session, or the browser in which nobody is signed in.
    holder: String,
    /// When it was made, Unix seconds.
    at: i64,
}

impl Challenge {
    /// A new one for a session, or a browser in which nobody is signed in.
    #[must_use]
    pub fn new(app: &App, purpose: Purpose, holder: &str) -> Self {
        Self {
            bytes: app.entropy.bytes(),
            purpose,
            holder: holder.to_owned(),
            at: app.clock.seconds(),
        }
    }

    /// The ticket that a form carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.challenges.seal(tenant.name(), self, &app.entropy)?)
    }

    /// What a ticket holds.
    ///
    /// # Errors
    /// `invalid_request` when it is for something else, for somebody else, or too old.
    pub fn open(
        app: &App,
        tenant: &Tenant,
        purpose: Purpose,
        holder: &str,
        ticket: &str,
    ) -> Result<Self> {
        let found = app.challenges.open::<Self>(tenant.name(), ticket);
        let now = app.clock.seconds();
        let fits = |found: &Self| {
            found.purpose == purpose && found.holder == holder && now - found.at <= LIFETIME
        };
        found.filter(fits).ok_or_else(|| {
            OAuthError::invalid_request(
                "The page has waited too long for the passkey: load it again.",
            )
        })
    }

    /// What was to be signed.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Uses it up.
    #[must_use]
    pub fn use_up(&self, tenant: &Tenant) -> Change {
        let name = [b"challenge".as_slice(), &self.bytes].join(&0);
        let ends_at = self.at + LIFETIME;
        Change::use_once(tenant.name(), digest_of(&name), ends_at, Once::Challenge)
    }

    /// `PublicKeyCredentialCreationOptions` (§5.4), with base64url for bytes.
    #[must_use]
    pub fn creation(&self, rp: &RelyingParty, product: &str, user: &User, known: &[&str]) -> Value {
        let algorithms = ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg }));
        let known: Vec<Value> = known
            .iter()
            .map(|id| json!({ "type": "public-key", "id": id }))
            .collect();
        json!({
            "challenge": URL_SAFE_NO_PAD.encode(self.bytes),
            "rp": { "id": rp.id, "name": product },
            "user": {
                "id": URL_SAFE_NO_PAD.encode(&user.id),
                "name": user.username,
                "displayName": user.display_name(),
            },
            "pubKeyCredParams": algorithms,
            "excludeCredentials": known,
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": true,
                "userVerification": "required",
            },
            "attestation": "none",
            "timeout": TIMEOUT,
        })
    }

    /// `PublicKeyCredentialRequestOptions` (§5.5): for whatever passkey there is, so that nobody
    /// learns who has one.
    #[must_use]
    pub fn request(&self, rp: &RelyingParty) -> Value {
        json!({
            "challenge": URL_SAFE_NO_PAD.encode(self.bytes),
            "rpId": rp.id,
            "userVerification": "required",
            "timeout": TIMEOUT,
        })
    }
}
