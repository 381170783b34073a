//! What an authenticator and a browser say: authenticator data and client data (WebAuthn level 2
//! §6.1, §5.8.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::{RelyingParty, cbor::Value, key::Key};

/// Longest credential ID (§6.5.1), bytes.
const LONGEST_ID: usize = 1023;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// What an authenticator says.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    pub(super) rp_id_hash: &'a [u8],
    flags: u8,
    pub(super) counter: u32,
    pub(super) attested: Option<Attested<'a>>,
}

/// A new passkey, as its authenticator shows it.
#[derive(Debug)]
pub(super) struct Attested<'a> {
    pub(super) id: &'a [u8],
    /// The `COSE_Key`, which can be read.
    pub(super) key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Reads all of it; nothing may follow.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_at_checked(32)?;
        let (&flags, rest) = rest.split_first()?;
        let (counter, mut rest) = rest.split_at_checked(4)?;
        let counter = u32::from_be_bytes(counter.try_into().ok()?);
        let mut attested = None;
        if flags & ATTESTED != 0 {
            let (taken, behind) = Attested::read(rest)?;
            (attested, rest) = (Some(taken), behind);
        }
        if flags & EXTENSIONS != 0 {
            let (extensions, behind) = Value::read(rest)?;
            if !matches!(extensions, Value::Map(_)) {
                return None;
            }
            rest = behind;
        }
        rest.is_empty().then_some(Self {
            rp_id_hash,
            flags,
            counter,
            attested,
        })
    }

    /// Whether somebody touched it, and proved to it that they may.
    pub(super) fn is_verified(&self) -> bool {
        self.flags & USER_PRESENT != 0 && self.flags & USER_VERIFIED != 0
    }

    /// Whether the passkey can be copied to other devices, and whether it has been (level 3
    /// §6.1.3). One that cannot be copied has not been.
    pub(super) fn backup(&self) -> Option<(bool, bool)> {
        let (can, has) = (
            self.flags & BACKUP_ELIGIBLE != 0,
            self.flags & BACKED_UP != 0,
        );
        (can || !has).then_some((can, has))
    }
}

impl<'a> Attested<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        // The model of the authenticator is nobody's business (attestation "none").
        let (_aaguid, rest) = bytes.split_at_checked(16)?;
        let (length, rest) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        let (id, key) = rest.split_at_checked(length)?;
        let (_, behind) = Key::read(key)?;
        let key = key.get(..key.len() - behind.len())?;
        (!id.is_empty() && id.len() <= LONGEST_ID).then_some((Self { id, key }, behind))
    }
}

/// What a browser says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

/// Whether a browser says that this was asked for here, in no frame of another site.
pub(super) fn is_ours(json: &[u8], what: &str, challenge: &[u8], rp: &RelyingParty) -> bool {
    let Ok(said) = serde_json::from_slice::<ClientData>(json) else {
        return false;
    };
    let answered = URL_SAFE_NO_PAD.decode(&said.challenge);
    said.r#type == what
        && answered.is_ok_and(|answered| answered == challenge)
        && said.origin == rp.origin
        && !said.cross_origin
        && said.top_origin.is_none()
}
