//! `GET /healthz`: the process answers. `GET /readyz`: it can do its work.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};

use crate::app::AppState;

/// Always 200.
pub async fn healthy() -> &'static str {
    "ok\n"
}

/// 200 or 503, with each check and what it found in a few words.
pub async fn ready(State(app): State<AppState>) -> Response {
    let report = app.ready().await;
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, Json(report)).into_response()
}
