//! Tickets: what the server hands to a browser or a client and wants back unchanged and unread.
//!
//! A ticket is JSON sealed with AES-256-GCM-SIV under a key of its purpose, so that it opens only
//! where it belongs, and whatever number of them may be made under random nonces (RFC 8452 §6).
//! Nothing is stored: every node with the same sealing key opens it.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use super::{KeyError, sealed::Sealer};
use crate::entropy::Entropy;

/// Seals and opens the tickets of one purpose.
pub struct Tickets {
    cipher: LessSafeKey,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    /// Those of `purpose`, which no other kind of ticket has.
    ///
    /// # Errors
    /// Never for keys of this length; the library's type says it may.
    pub fn new(sealer: &Sealer, purpose: &str) -> Result<Self, KeyError> {
        let key = sealer.derive(&format!("ticket {purpose}"))?;
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*key).map_err(|_| KeyError::Sealing)?;
        Ok(Self {
            cipher: LessSafeKey::new(key),
        })
    }

    /// A ticket that opens only for the same tenant.
    ///
    /// # Errors
    /// When `value` is not JSON, or the cipher fails.
    pub fn seal<T: Serialize>(
        &self,
        tenant: &str,
        value: &T,
        entropy: &Entropy,
    ) -> Result<String, KeyError> {
        let mut text = serde_json::to_vec(value).map_err(|_| KeyError::Sealing)?;
        let nonce = entropy.bytes::<NONCE_LEN>();
        self.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(tenant),
                &mut text,
            )
            .map_err(|_| KeyError::Sealing)?;
        text.splice(0..0, nonce);
        Ok(URL_SAFE_NO_PAD.encode(text))
    }

    /// What a ticket holds; none when it is not one of these, or another tenant's.
    #[must_use]
    pub fn open<T: DeserializeOwned>(&self, tenant: &str, ticket: &str) -> Option<T> {
        let mut sealed = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (nonce, body) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self
            .cipher
            .open_in_place(nonce, Aad::from(tenant), body)
            .ok()?;
        serde_json::from_slice(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_where_it_belongs() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let entropy = Entropy::seeded(1);
        let codes = Tickets::new(&sealer, "code").unwrap();
        let ticket = codes.seal("default", &("a", 1), &entropy).unwrap();
        let open = |tickets: &Tickets, tenant| tickets.open::<(String, i64)>(tenant, &ticket);
        assert_eq!(open(&codes, "default"), Some(("a".to_owned(), 1)));
        assert_eq!(open(&codes, "other"), None);
        let errands = Tickets::new(&sealer, "errand").unwrap();
        assert_eq!(open(&errands, "default"), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(codes.open::<(String, i64)>("default", &changed), None);
        }
    }
}
