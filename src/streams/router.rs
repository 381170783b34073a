//! The room's URLs.

use axum::{
    Router,
    routing::{get, post},
};

use super::{feed, manage, metadata, poll, status, subjects, verification};
use crate::app::AppState;

/// What anybody may read.
pub fn metadata_router() -> Router<AppState> {
    Router::new().route("/.well-known/ssf-configuration", get(metadata::show))
}

/// The stream management API (SSF 1.0 §8.1).
pub fn router() -> Router<AppState> {
    Router::new()
        .route(
            "/ssf/streams",
            get(manage::read)
                .post(manage::create)
                .patch(manage::update)
                .put(manage::replace)
                .delete(manage::delete),
        )
        .route("/ssf/status", get(status::show).post(status::set))
        .route("/ssf/subjects/add", post(subjects::add))
        .route("/ssf/subjects/remove", post(subjects::remove))
        .route("/ssf/verify", post(verification::verify))
}

/// What may take longer than other answers.
pub fn patient_router() -> Router<AppState> {
    Router::new()
        .route("/ssf/poll/{stream_id}", post(poll::poll))
        .route("/ssf/feed", get(feed::open))
}
