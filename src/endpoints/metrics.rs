//! `GET /metrics`: numbers for Prometheus.

use axum::{extract::State, response::IntoResponse};
use http::header;

use super::protected::{Presented, administrator};
use crate::{
    app::{App, AppState},
    error::{OAuthError, Result},
    registry::AdminScope,
    telemetry::metrics::{MEDIA_TYPE, Now},
    web::extract::ForTenant,
};

/// All numbers, for a token of the default tenant's admin API: they are of all tenants.
///
/// # Errors
/// 401 or 403, and 404 at other tenants.
pub async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<impl IntoResponse> {
    if !tenant.is_default() {
        return Err(OAuthError::not_found(
            "The metrics are of all tenants, and at the default tenant's issuer alone.",
        ));
    }
    administrator(&app, &tenant, &credentials, AdminScope::Metrics).await?;
    Ok(text(&app))
}

/// All numbers, for whoever can reach the address set aside for it.
pub async fn show_inside(State(app): State<AppState>) -> impl IntoResponse {
    text(&app)
}

fn text(app: &App) -> impl IntoResponse + use<> {
    let text = app.metrics.text(&Now {
        queue: app.journal.depth(),
        sizes: app.registry.sizes(),
        lag: app.feed.lag(),
        early: app.registry.signals().early(),
    });
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text)
}
