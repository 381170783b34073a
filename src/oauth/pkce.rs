//! Proof Key for Code Exchange (RFC 7636): S256, and nothing else.
//!
//! The shape of challenge and verifier is checked here, the proof is oxide-auth's.

use std::borrow::Cow;

use oxide_auth::{code_grant::extensions::Pkce, primitives::grant::Value};
use serde::{Deserialize, Serialize};

/// A challenge as it was made, to be kept with the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge(String);

impl Challenge {
    /// The challenge of an authorization request; none when it holds none.
    ///
    /// # Errors
    /// A sentence for the client's developer.
    pub fn read(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Self>, String> {
        let Some(text) = challenge else {
            return match method {
                None => Ok(None),
                Some(_) => Err("code_challenge_method comes without a code_challenge.".into()),
            };
        };
        // RFC 7636 §4.3: a request without a method means `plain`, which proves nothing to
        // whoever can read the request.
        if method != Some("S256") {
            return Err("code_challenge_method must be S256 (RFC 7636 section 4.2).".into());
        }
        // A SHA-256 in base64url is 43 characters; the grammar of RFC 7636 §4.2 allows more.
        if !is_of_shape(text) {
            return Err(
                "code_challenge must have 43 to 128 characters of A-Z a-z 0-9 - . _ ~ (RFC 7636 \
                 section 4.2)."
                    .into(),
            );
        }
        let made = Pkce::required().challenge(Some("S256".into()), Some(Cow::Borrowed(text)));
        match made.ok().flatten().map(Value::into_private_value) {
            Some(Ok(Some(kept))) => Ok(Some(Self(kept))),
            _ => Err("code_challenge cannot be used.".into()),
        }
    }

    /// Whether `verifier` is what the challenge was made of (RFC 7636 §4.6).
    #[must_use]
    pub fn holds(&self, verifier: &str) -> bool {
        let kept = Value::private(Some(self.0.clone()));
        is_of_shape(verifier)
            && Pkce::required()
                .verify(Some(kept), Some(Cow::Borrowed(verifier)))
                .is_ok()
    }
}

/// RFC 7636 §4.1: `43*128unreserved`.
fn is_of_shape(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_holds() {
        let kept = Challenge::read(Some(CHALLENGE), Some("S256"));
        let kept = kept.unwrap().unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        let kept: Challenge = serde_json::from_str(&text).unwrap();
        assert!(kept.holds(VERIFIER));
        assert!(!kept.holds(&VERIFIER.replace('d', "e")));
        assert!(!kept.holds(CHALLENGE));
        assert!(!kept.holds(""));
    }

    #[test]
    fn nothing_but_s256_of_the_right_shape() {
        for method in [None, Some("plain"), Some("s256"), Some("S512"), Some("")] {
            assert!(Challenge::read(Some(CHALLENGE), method).is_err());
        }
        let long = "a".repeat(129);
        let short = &CHALLENGE[1..];
        let odd = CHALLENGE.replace('E', "+");
        for challenge in [&long, short, odd.as_str()] {
            assert!(Challenge::read(Some(challenge), Some("S256")).is_err());
        }
        assert!(Challenge::read(None, Some("S256")).is_err());
        assert_eq!(Challenge::read(None, None), Ok(None));
    }
}
