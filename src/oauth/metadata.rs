//! The authorization server metadata document (RFC 8414 §2, OpenID Connect Discovery 1.0 §3).

use serde_json::{Value, json};

use super::openid::{Acr, IdentityScope, PROMPTS};
use writ_resource::dpop;

/// Algorithms a client may sign its assertions and requests with.
/// (`Ed25519` is the name of RFC 9864 for `EdDSA` on that curve).
pub const ASSERTION_ALGORITHMS: [&str; 5] = ["EdDSA", "Ed25519", "ES256", "RS256", "PS256"];

/// The document of one issuer: the same at every well-known path.
///
/// Strict clients want `authorization_endpoint`, `response_types_supported`, `jwks_uri`,
/// `subject_types_supported` and `id_token_signing_alg_values_supported` to be there whatever
/// grant they use; members without a value are left out, never null.
#[must_use]
pub fn authorization_server(
    issuer: &str,
    grant_types: &[&str],
    auth_methods: &[&str],
    signing_algorithms: &[&str],
    registration: bool,
) -> Value {
    // RFC 8414 §2: client authentication methods, and types of access token. Whoever proves nothing
    // may not ask (RFC 7662 §2.1).
    let introspection: Vec<&str> = auth_methods
        .iter()
        .copied()
        .filter(|method| *method != "none")
        .chain(["Bearer", "DPoP"])
        .collect();
    let own = ["admin", "ssf", "userinfo"].map(|name| format!("{issuer}/{name}"));
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks.json"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "pushed_authorization_request_endpoint": format!("{issuer}/par"),
        "scopes_supported": IdentityScope::ALL.map(IdentityScope::as_str),
        "grant_types_supported": grant_types,
        "token_endpoint_auth_methods_supported": auth_methods,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "introspection_endpoint": format!("{issuer}/introspect"),
        "introspection_endpoint_auth_methods_supported": introspection,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "introspection_signing_alg_values_supported": signing_algorithms,
        "revocation_endpoint": format!("{issuer}/revoke"),
        "revocation_endpoint_auth_methods_supported": auth_methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "dpop_signing_alg_values_supported": dpop::ALGORITHMS,
        "code_challenge_methods_supported": ["S256"],
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "end_session_endpoint": format!("{issuer}/logout"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": signing_algorithms,
        "userinfo_signing_alg_values_supported": signing_algorithms,
        "claim_types_supported": ["normal"],
        "claims_supported": claims(),
        "claims_parameter_supported": true,
        "acr_values_supported": Acr::ALL.map(Acr::as_str),
        "prompt_values_supported": PROMPTS,
        "ui_locales_supported": ["en"],
        "request_parameter_supported": true,
        "request_object_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "require_signed_request_object": false,
        // OpenID Connect Discovery §3: left out, it would be true.
        "request_uri_parameter_supported": false,
        "require_pushed_authorization_requests": false,
        "authorization_response_iss_parameter_supported": true,
        "protected_resources": own,
    });
    if registration {
        document["registration_endpoint"] = json!(format!("{issuer}/register"));
    }
    document
}

/// What ID tokens and the userinfo endpoint can say: of the sign-in, and of the person.
fn claims() -> Vec<&'static str> {
    const OF_SIGN_IN: [&str; 11] = [
        "iss",
        "sub",
        "aud",
        "exp",
        "iat",
        "at_hash",
        "sid",
        "auth_time",
        "amr",
        "acr",
        "nonce",
    ];
    let of_person = IdentityScope::ALL.map(IdentityScope::claims);
    let of_person = of_person.into_iter().flatten().copied();
    OF_SIGN_IN.into_iter().chain(of_person).collect()
}
