//! Profiles: sets of rules, one of which each client lives under.
//!
//! | | `strict` | `fapi2` | `oidc_compat` |
//! |---|---|---|---|
//! | what for | OAuth 2.1 and MCP | FAPI 2.0 Security Profile | older OpenID Connect libraries |
//! | who | any client | `private_key_jwt` only | clients that authenticate |
//! | authorization requests | by the browser or pushed | pushed, with `redirect_uri` | as `strict` |
//! | PKCE with S256 | required | required | optional |
//! | tokens | bound to a key on demand | always bound (DPoP) | as `strict` |
//! | `aud` of assertions | the issuer, as text | as `strict` | also the token endpoint, or a list |
//! | what a client signs | EdDSA, ES256, PS256, RS256 | not RS256 | as `strict` |
//! | ID tokens, unless it says otherwise | RS256 | ES256, never RS256 | RS256 |
//! | codes live | as configured | at most 60 seconds | as configured |
//! | refresh tokens | rotate for public clients | never rotate | as `strict` |
//!
//! [`Profile::rules`] is that table; whoever keeps a rule asks it there.

use serde::{Deserialize, Serialize};
use writ_resource::jws::Algorithm;

use crate::keys::SigningAlgorithm;

/// Which set of rules a client lives under.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// OAuth 2.1 and MCP.
    #[default]
    Strict,
    /// FAPI 2.0 Security Profile: pushed requests, bound tokens, signed assertions.
    Fapi2,
    /// What older OpenID Connect libraries do: no PKCE, and assertions may name the token endpoint
    /// as `aud`.
    OidcCompat,
}

/// What a profile means.
#[derive(Debug)]
pub struct Rules {
    /// Whether authorization requests have to be pushed, and to name their redirect URI (FAPI 2.0
    /// Security Profile §5.3.2.2).
    pub pushed: bool,
    /// Whether a client that authenticates may do without PKCE.
    pub pkce_optional: bool,
    /// Whether tokens have to be bound to a key (RFC 9449).
    pub bound: bool,
    /// Whether an assertion may name the token endpoint as its audience, or a list.
    pub lenient_audience: bool,
    /// What a client may sign its assertions and requests with.
    pub algorithms: &'static [Algorithm],
    /// What ID tokens are signed with, unless the client says otherwise.
    pub id_token: SigningAlgorithm,
    /// Longest life of a code, seconds.
    pub code_lifetime: i64,
    /// Whether refresh tokens may rotate.
    pub may_rotate: bool,
}

impl Profile {
    /// What it means.
    #[must_use]
    pub const fn rules(self) -> &'static Rules {
        use Algorithm::{ES256, EdDSA, PS256, RS256};
        const STRICT: Rules = Rules {
            pushed: false,
            pkce_optional: false,
            bound: false,
            lenient_audience: false,
            algorithms: &[EdDSA, ES256, PS256, RS256],
            id_token: SigningAlgorithm::RS256,
            code_lifetime: i64::MAX,
            may_rotate: true,
        };
        match self {
            Self::Strict => &STRICT,
            Self::Fapi2 => &Rules {
                pushed: true,
                bound: true,
                algorithms: &[EdDSA, ES256, PS256],
                id_token: SigningAlgorithm::ES256,
                code_lifetime: 60,
                may_rotate: false,
                ..STRICT
            },
            Self::OidcCompat => &Rules {
                pkce_optional: true,
                lenient_audience: true,
                ..STRICT
            },
        }
    }
}
