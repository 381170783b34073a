//! Metadata: RFC 8414 and OpenID Connect discovery, the same document at every path form.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use serde_json::Value;

use crate::{
    app::{App, AppState},
    config::RegistrationMode,
    error::{OAuthError, Result},
    grant_types,
    keys::SigningAlgorithm,
    oauth::{grant_type::AuthMethod, metadata},
    registry::{ADMIN_ID, EVENTS_ID, Tenant, USERINFO_ID},
    web::extract::ForTenant,
};

/// The tenant's authorization server metadata.
pub async fn authorization_server(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
) -> Response {
    let mut document = metadata::authorization_server(
        tenant.issuer(),
        &grant_types::names(),
        &AuthMethod::ALL.map(AuthMethod::as_str),
        &SigningAlgorithm::ALL.map(SigningAlgorithm::as_str),
        tenant.registration() != RegistrationMode::Off,
    );
    // OAuth Client ID Metadata Document §6
    if app.config.metadata_documents.enabled {
        document["client_id_metadata_document_supported"] = Value::Bool(true);
    }
    cached(&app, "application/json", document.to_string())
}

/// The RFC 9728 document of the tenant's admin API.
///
/// # Errors
/// Never for a tenant that exists.
pub async fn admin_resource(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
) -> Result<Response> {
    own_resource(&app, &tenant, ADMIN_ID)
}

/// The RFC 9728 document of the tenant's streams of security events.
///
/// # Errors
/// Never for a tenant that exists.
pub async fn events_resource(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
) -> Result<Response> {
    own_resource(&app, &tenant, EVENTS_ID)
}

/// The RFC 9728 document of what is told of people.
///
/// # Errors
/// Never for a tenant that exists.
pub async fn userinfo_resource(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
) -> Result<Response> {
    own_resource(&app, &tenant, USERINFO_ID)
}

fn own_resource(app: &App, tenant: &Tenant, id: &str) -> Result<Response> {
    let resources = tenant.resources();
    let resource = resources
        .by_id(id)
        .ok_or_else(|| OAuthError::not_found("There is no such resource."))?;
    Ok(document(app, &resource.metadata(tenant.issuer())))
}

/// A public JSON document that clients may keep for a while.
#[must_use]
pub fn document(app: &App, document: &Value) -> Response {
    cached(app, "application/json", document.to_string())
}

/// A public body that clients may keep for a while.
#[must_use]
pub fn cached(app: &App, media_type: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = body.into().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let cache = format!("public, max-age={}", app.config.keys.cache);
    if let Ok(value) = HeaderValue::from_str(&cache) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}
