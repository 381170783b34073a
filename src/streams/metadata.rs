//! `/.well-known/ssf-configuration` (SSF 1.0 §7), at every path form of an issuer.

use axum::{extract::State, response::Response};
use serde_json::{Value, json};

use super::agreement::{POLL, PUSH};
use crate::{
    app::AppState, endpoints::discovery::document, registry::Tenant, web::extract::ForTenant,
};

/// The transmitter's metadata.
pub(super) async fn show(State(app): State<AppState>, ForTenant(tenant): ForTenant) -> Response {
    document(&app, &configuration(&tenant))
}

fn configuration(tenant: &Tenant) -> Value {
    json!({
        "issuer": tenant.issuer(),
        "spec_version": "1_0",
        "jwks_uri": tenant.url("/jwks.json"),
        "delivery_methods_supported": [PUSH, POLL],
        "configuration_endpoint": tenant.url("/ssf/streams"),
        "status_endpoint": tenant.url("/ssf/status"),
        "add_subject_endpoint": tenant.url("/ssf/subjects/add"),
        "remove_subject_endpoint": tenant.url("/ssf/subjects/remove"),
        "verification_endpoint": tenant.url("/ssf/verify"),
        // RFC 6749: what `oauth-protected-resource/ssf` says (CAEP interoperability profile §2.3.7).
        "authorization_schemes": [{ "spec_urn": "urn:ietf:rfc:6749" }],
        "default_subjects": "ALL",
        // Ours: the same SETs as server-sent events.
        "feed_endpoint": tenant.url("/ssf/feed"),
    })
}
