//! Receivers of security events, their streams, and delivery (SSF 1.0, RFC 8935, RFC 8936).
//!
//! What is told is in [`crate::signals`], and is written with the change that it follows from.
//! Here it is handed out: every stream reads the one log of signals from its own place, and what
//! concerns it is signed at the moment it is sent.

mod acknowledge;
mod bells;
mod feed;
mod ours;
mod poll;
mod push;
pub mod queue;
mod secret;
pub mod set;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    app::AppState,
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{Stream, Tenant},
};

/// The URLs that may take longer than others to answer.
pub fn patient_router() -> Router<AppState> {
    Router::new()
        .route("/ssf/poll/{stream_id}", post(poll::poll))
        .route("/ssf/feed", get(feed::open))
}

/// Begins to deliver, until the server stops.
pub fn start(app: &AppState, stopped: &watch::Receiver<bool>) -> [JoinHandle<()>; 2] {
    [
        tokio::spawn(bells::ring(app.clone(), stopped.clone())),
        tokio::spawn(push::share_out(app.clone(), stopped.clone())),
    ]
}

/// A receiver's own stream. Another one's is as unknown as one that does not exist.
fn owned(tenant: &Tenant, claims: &AccessClaims, id: &str) -> Result<Arc<Stream>> {
    let stream = tenant.stream(id);
    let own = stream.filter(|stream| stream.client_id() == claims.client_id);
    own.ok_or_else(|| OAuthError::not_found("There is no such stream."))
}
