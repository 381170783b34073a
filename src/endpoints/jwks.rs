//! `GET /jwks.json`: the tenant's public keys (RFC 7517 §5).

use axum::{extract::State, response::Response};

use super::discovery::cached;
use crate::{app::AppState, web::extract::ForTenant};

/// The key set: the key that signs, the next one, and those that still verify.
pub async fn key_set(State(app): State<AppState>, ForTenant(tenant): ForTenant) -> Response {
    cached(
        &app,
        "application/jwk-set+json",
        tenant.keys().jwks().clone(),
    )
}
