//! Passkeys: the two ceremonies of WebAuthn level 2 (§7.1, §7.2), as far as a server has a part.
//!
//! | file | what it is |
//! |---|---|
//! | `cbor` | the encoding of what authenticators send |
//! | `key` | public keys, and what they have signed |
//! | `data` | what authenticator and browser say |
//! | [`challenge`] | what they have to answer, once |
//!
//! A passkey stands for a person by itself, so its authenticator has to verify them (§2.2.2); what
//! kind of authenticator it is nobody asks: attestation is `none`, and what comes as a statement
//! all the same is not looked at (§7.1, step 19 and after, for self-made trust).

mod cbor;
pub mod challenge;
mod data;
mod key;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use self::{
    cbor::Value,
    data::{AuthenticatorData, is_ours},
    key::{ALGORITHMS, Key},
};
use crate::registry::Tenant;

/// Who asks for passkeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The RP ID: the issuer's host.
    pub id: String,
    /// The origin of our pages.
    pub origin: String,
}

impl RelyingParty {
    /// A tenant's issuer. None for an address: passkeys are for domains (§5.1.2, RP ID).
    #[must_use]
    pub fn of(tenant: &Tenant) -> Option<Self> {
        let issuer = Url::parse(tenant.issuer()).ok()?;
        match issuer.host()? {
            Host::Domain(domain) => Some(Self {
                id: domain.to_owned(),
                origin: issuer.origin().ascii_serialization(),
            }),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }
}

/// Why a passkey is not taken, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

const UNREADABLE: Refused = Refused("the answer of the browser cannot be read");
const NOT_OURS: Refused = Refused("the passkey answered another question");
const OTHER_SITE: Refused = Refused("the passkey is for another site");
const UNVERIFIED: Refused = Refused("the device has not made sure who uses it");
const UNKNOWN: Refused = Refused("the passkey is not known");
const UNSIGNED: Refused = Refused("the signature of the passkey does not hold");
const COUNTED_BACK: Refused = Refused("the passkey has counted back: there may be a copy of it");

/// What a browser answers with: `RegistrationResponseJSON` or `AuthenticationResponseJSON` (level 3
/// §5.1), as far as it is used here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    raw_id: String,
    r#type: String,
    response: Response,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(rename = "clientDataJSON")]
    client_data_json: String,
    attestation_object: Option<String>,
    authenticator_data: Option<String>,
    signature: Option<String>,
    user_handle: Option<String>,
}

impl Answer {
    fn read(json: &str) -> Result<Self, Refused> {
        let answer: Self = serde_json::from_str(json).map_err(|_| UNREADABLE)?;
        if answer.r#type == "public-key" {
            Ok(answer)
        } else {
            Err(UNREADABLE)
        }
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, Refused> {
    // Padding is for other encodings (RFC 7515 §2).
    URL_SAFE_NO_PAD.decode(text).map_err(|_| UNREADABLE)
}

fn part(text: Option<&String>) -> Result<Vec<u8>, Refused> {
    decoded(text.ok_or(UNREADABLE)?)
}

/// What is kept of a passkey beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whether it can be copied to other devices.
    pub backup_eligible: bool,
    /// Whether it has been.
    pub backed_up: bool,
}

/// A new passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its credential ID, base64url.
    pub id: String,
    /// Its `COSE_Key`.
    pub key: Vec<u8>,
    /// Its signature counter.
    pub counter: u32,
    /// What else is kept.
    pub kept: Kept,
}

/// Checks what a browser answers that was asked to make a passkey (§7.1).
///
/// # Errors
/// What does not hold.
pub fn registered(rp: &RelyingParty, challenge: &[u8], json: &str) -> Result<Registered, Refused> {
    let answer = Answer::read(json)?;
    let client_data = decoded(&answer.response.client_data_json)?;
    if !is_ours(&client_data, "webauthn.create", challenge, rp) {
        return Err(NOT_OURS);
    }
    let object = part(answer.response.attestation_object.as_ref())?;
    let (object, rest) = Value::read(&object).ok_or(UNREADABLE)?;
    let member = |name| object.member(&Value::Text(name));
    let complete = matches!(member("fmt"), Some(Value::Text(_)))
        && matches!(member("attStmt"), Some(Value::Map(_)));
    if !complete || !rest.is_empty() {
        return Err(UNREADABLE);
    }
    let data = member("authData")
        .and_then(Value::bytes)
        .ok_or(UNREADABLE)?;
    let data = AuthenticatorData::read(data).ok_or(UNREADABLE)?;
    let (backup_eligible, backed_up) = stands(&data, rp)?;
    let attested = data.attested.as_ref().ok_or(UNREADABLE)?;
    if decoded(&answer.raw_id)? != attested.id {
        return Err(UNREADABLE);
    }
    Ok(Registered {
        id: answer.raw_id,
        key: attested.key.to_vec(),
        counter: data.counter,
        kept: Kept {
            backup_eligible,
            backed_up,
        },
    })
}

/// A passkey that is known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its `COSE_Key`.
    pub key: &'a [u8],
    /// Where its signature counter was.
    pub counter: i64,
    /// Whether it can be copied, which never changes.
    pub backup_eligible: bool,
    /// Whose it is.
    pub user: &'a str,
}

/// What a passkey has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// Where its signature counter is now; 0 for one that does not count.
    pub counter: u32,
    /// Whether it can be copied.
    pub backup_eligible: bool,
}

/// An answer to be checked, and the passkey it names.
#[derive(Debug)]
pub struct Assertion {
    /// The credential ID, base64url.
    pub id: String,
    response: Response,
}

impl Assertion {
    /// Reads what a browser answers that was asked for a passkey. Nothing of it is checked.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(json: &str) -> Result<Self, Refused> {
        let answer = Answer::read(json)?;
        decoded(&answer.raw_id)?;
        Ok(Self {
            id: answer.raw_id,
            response: answer.response,
        })
    }

    /// Checks it against the passkey (§7.2); none is known when there is none of its ID.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(
        &self,
        rp: &RelyingParty,
        challenge: &[u8],
        known: Option<Known<'_>>,
    ) -> Result<Asserted, Refused> {
        let client_data = decoded(&self.response.client_data_json)?;
        if !is_ours(&client_data, "webauthn.get", challenge, rp) {
            return Err(NOT_OURS);
        }
        let known = known.ok_or(UNKNOWN)?;
        // Step 6: we never say which passkeys we know, so the authenticator says whose it is.
        if part(self.response.user_handle.as_ref())? != known.user.as_bytes() {
            return Err(UNKNOWN);
        }
        let signed = part(self.response.authenticator_data.as_ref())?;
        let data = AuthenticatorData::read(&signed).ok_or(UNREADABLE)?;
        let (backup_eligible, _) = stands(&data, rp)?;
        if backup_eligible != known.backup_eligible {
            return Err(UNREADABLE);
        }
        let mut message = signed.clone();
        message.extend_from_slice(digest(&SHA256, &client_data).as_ref());
        let signature = part(self.response.signature.as_ref())?;
        let (key, _) = Key::read(known.key).ok_or(UNKNOWN)?;
        if !key.has_signed(&message, &signature) {
            return Err(UNSIGNED);
        }
        // Step 21.
        let counts = data.counter != 0 || known.counter != 0;
        if counts && i64::from(data.counter) <= known.counter {
            return Err(COUNTED_BACK);
        }
        Ok(Asserted {
            counter: data.counter,
            backup_eligible,
        })
    }
}

/// What holds of both ceremonies: this site, somebody verified, and whether it can be copied.
fn stands(data: &AuthenticatorData<'_>, rp: &RelyingParty) -> Result<(bool, bool), Refused> {
    if data.rp_id_hash != digest(&SHA256, rp.id.as_bytes()).as_ref() {
        return Err(OTHER_SITE);
    }
    if !data.is_verified() {
        return Err(UNVERIFIED);
    }
    data.backup().ok_or(UNREADABLE)
}
