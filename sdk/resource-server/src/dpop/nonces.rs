//! The server's nonces (RFC 9449 §8, §9), without a memory.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Makes and knows again nonces that tell the server's own time: a MAC over
/// the current period. Servers that share a key accept each other's.
#[derive(Clone, Debug)]
pub struct Nonces {
    key: hmac::Key,
    period: i64,
}

impl Nonces {
    /// Nonces that are accepted for at least `lifetime` seconds and at most
    /// twice that long.
    #[must_use]
    pub fn new(key: &[u8; 32], lifetime: i64) -> Self {
        Self {
            key: hmac::Key::new(HMAC_SHA256, key),
            period: lifetime.max(1),
        }
    }

    /// The nonce to give out at this time. `context` keeps apart what one key
    /// serves: an issuer, a resource.
    #[must_use]
    pub fn current(&self, context: &str, now: i64) -> String {
        let period = now.div_euclid(self.period);
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &message(context, period)))
    }

    /// Whether this nonce was given out in this period or the one before it.
    /// One of the next period counts too: another server's clock may be ahead.
    #[must_use]
    pub fn accepts(&self, context: &str, nonce: &str, now: i64) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else {
            return false;
        };
        let period = now.div_euclid(self.period);
        [period, period - 1, period + 1]
            .into_iter()
            .any(|period| hmac::verify(&self.key, &message(context, period), &tag).is_ok())
    }
}

fn message(context: &str, period: i64) -> Vec<u8> {
    [&period.to_be_bytes(), context.as_bytes()].concat()
}
