//! Logout tokens (OpenID Connect Back-Channel Logout §2.4).

use entity::logout;
use serde_json::json;

use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::{Client, Tenant},
    tokens::subject,
};

/// Seconds that one holds, two minutes at most (§2.4).
const LIFETIME: i64 = 120;
/// The one event in it.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The token that tells a client of the end of a session. It has no `nonce`, and a `typ` of its
/// own: nobody takes it for an ID token.
///
/// # Errors
/// When it cannot be signed.
pub(super) fn make(
    app: &App,
    tenant: &Tenant,
    client: &Client,
    ended: &logout::Model,
) -> Result<String> {
    let now = app.clock.seconds();
    let claims = json!({
        "iss": tenant.issuer(),
        "aud": client.id(),
        "iat": now,
        "exp": now + LIFETIME,
        "jti": app.entropy.id(),
        "events": { EVENT: {} },
        "sid": ended.sid,
        "sub": subject::known_as(app, tenant, client, &ended.user_id),
    });
    let payload = serde_json::to_vec(&claims).map_err(OAuthError::server_error)?;
    let keys = tenant.keys();
    // §2.4: signed as the client's ID tokens are.
    let algorithm = client.rights().id_token_algorithm();
    Ok(keys.signer(algorithm)?.sign("logout+jwt", &payload)?)
}
