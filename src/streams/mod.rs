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

pub mod agreement;
mod answers;
pub mod asked;
pub mod changes;
mod manage;
mod metadata;
pub mod queue;
mod router;
pub mod secret;
pub mod set;
pub mod status;
mod subjects;
pub mod verification;

pub use self::router::{metadata_router, router};
