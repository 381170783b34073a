//! What answers of the stream API have in common: nobody keeps them.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use serde::Serialize;

const NO_STORE: [(http::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// An answer with a body.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, NO_STORE, Json(body)).into_response()
}

/// An answer without one.
pub(super) fn done(status: StatusCode) -> Response {
    (status, NO_STORE).into_response()
}
