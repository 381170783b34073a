//! Receivers of security events, their streams, and delivery (SSF 1.0, RFC 8935, RFC 8936).
//!
//! What is told is in [`crate::signals`], and is written with the change that it follows from.
//! Here it is handed out: every stream reads the one log of signals from its own place, and what
//! concerns it is signed at the moment it is sent.
//!
//! Order of refusal at every endpoint: the token (401), its scope (403), the body (400), the
//! stream (404), what is asked of it (400, 429).
//!
//! | URL | what |
//! |---|---|
//! | `GET /.well-known/ssf-configuration` | where everything is |
//! | `POST, GET, PATCH, PUT, DELETE /ssf/streams` | a receiver's streams |
//! | `GET, POST /ssf/status` | whether one is delivered, held or thrown away |
//! | `POST /ssf/subjects/add`, `/ssf/subjects/remove` | whom it is about |
//! | `POST /ssf/verify` | whether it works |
//! | `POST /ssf/poll/{id}`, `GET /ssf/feed` | what waits for it |

mod acknowledge;
pub mod agreement;
mod answers;
pub mod asked;
mod bells;
pub mod changes;
pub mod declared;
mod feed;
mod manage;
mod metadata;
mod poll;
mod push;
pub mod queue;
mod room;
mod router;
pub mod secret;
pub mod set;
pub mod status;
mod subjects;
pub mod verification;

use tokio::{sync::watch, task::JoinHandle};

pub use self::router::{metadata_router, patient_router, router};
use crate::app::AppState;

/// Begins to deliver, until the server stops.
pub fn start(app: &AppState, stopped: &watch::Receiver<bool>) -> [JoinHandle<()>; 2] {
    [
        tokio::spawn(bells::ring(app.clone(), stopped.clone())),
        tokio::spawn(push::share_out(app.clone(), stopped.clone())),
    ]
}
