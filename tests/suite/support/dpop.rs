//! Proofs of possession (RFC 9449), made without the server's code.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Key, TestApp, app::overlay, b64};

/// The RFC 7638 thumbprint of a key, by the letter of section 3.
pub(crate) fn thumbprint(key: &Key) -> String {
    let jwk = key.jwk();
    let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
    let text = match jwk["kty"].as_str().unwrap() {
        "OKP" => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, member("x")),
        "EC" => format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
            member("x"),
            member("y")
        ),
        _ => format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            member("e"),
            member("n")
        ),
    };
    b64(digest(&SHA256, text.as_bytes()))
}

/// The `ath` of a token (RFC 9449 §4.2).
pub(crate) fn ath(token: &str) -> String {
    b64(digest(&SHA256, token.as_bytes()))
}

/// The header of an honest proof: only what identifies the key.
pub(crate) fn proof_header(key: &Key) -> Value {
    let mut jwk = key.jwk();
    for extra in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(extra);
    }
    json!({ "typ": "dpop+jwt", "alg": key.alg, "jwk": jwk })
}

impl TestApp {
    /// The claims of an honest proof for the token endpoint; each has a `jti` of its own. Members
    /// of `overrides` replace them, and `null` takes one away.
    pub(crate) fn proof_claims(&self, overrides: &Value) -> Value {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let jti = format!("proof-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let htu = format!("{}/token", self.issuer);
        let mut claims = json!({ "jti": jti, "htm": "POST", "htu": htu, "iat": self.now() });
        overlay(&mut claims, overrides);
        claims
    }

    /// A proof for the token endpoint.
    pub(crate) fn proof(&self, key: &Key, overrides: &Value) -> String {
        key.sign(&proof_header(key), &self.proof_claims(overrides))
    }

    /// A proof for a request with a token.
    pub(crate) fn proof_with(
        &self,
        key: &Key,
        (method, path): (&str, &str),
        token: &str,
        overrides: &Value,
    ) -> String {
        let htu = format!("{}{path}", self.issuer);
        let mut claims = json!({ "htm": method, "htu": htu, "ath": ath(token) });
        overlay(&mut claims, overrides);
        self.proof(key, &claims)
    }

    /// A token of the client's own that is bound to this key.
    pub(crate) async fn bound_token(&self, client_id: &str, key: &Key, resource: &str) -> String {
        self.ask(client_id, &[("resource", resource)])
            .header("dpop", &self.proof(key, &json!({})))
            .await
            .token()
    }
}
