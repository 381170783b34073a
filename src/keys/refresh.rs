//! Refresh tokens as text: each names its line and its place in it, under a MAC of this server. A
//! stranger's guess costs no look at the database, and the database holds nothing that could be
//! used as one.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// How every refresh token begins.
const PREFIX: &str = "wrt_";

/// The place of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its line.
    pub line: String,
    /// Its generation.
    pub generation: i64,
}

/// Writes and reads the tokens themselves.
pub struct RefreshTokens(hmac::Key);

impl std::fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshTokens")
    }
}

impl RefreshTokens {
    /// Those of the servers that have this key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token at a place.
    #[must_use]
    pub fn write(&self, tenant: &str, place: &Place) -> String {
        let text = format!("{}.{}", place.line, place.generation);
        let tag = hmac::sign(&self.0, &named(tenant, &text));
        format!("{PREFIX}{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The place of a token; none when it is not one of this tenant's.
    #[must_use]
    pub fn read(&self, tenant: &str, token: &str) -> Option<Place> {
        let (text, tag) = token.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, &named(tenant, text), &tag).ok()?;
        let (line, generation) = text.split_once('.')?;
        Some(Place {
            line: line.to_owned(),
            generation: generation.parse().ok()?,
        })
    }
}

fn named(tenant: &str, text: &str) -> Vec<u8> {
    format!("{tenant} {text}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_tenant_and_one_place() {
        let tokens = RefreshTokens::new(&[1; 32]);
        let (one, other) = ("default", "other");
        let place = Place {
            line: "abc".into(),
            generation: 7,
        };
        let token = tokens.write(one, &place);
        assert_eq!(tokens.read(one, &token), Some(place));
        assert_eq!(tokens.read(other, &token), None);
        assert_eq!(tokens.read(one, &token.replace(".7.", ".8.")), None);
        assert_eq!(RefreshTokens::new(&[2; 32]).read(one, &token), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            assert_eq!(tokens.read(one, &changed), None, "{changed}");
        }
    }
}
