//! Writ's tables: one file per table, models only, no logic.
//!
//! Every row belongs to a tenant, but for those about nodes and the head of the signals. Times are Unix seconds unless a name says
//! milliseconds.

pub mod audit_cursor;
pub mod audit_event;
pub mod audit_head;
pub mod client;
pub mod consent;
pub mod courier;
pub mod credential;
pub mod grant;
pub mod logout;
pub mod node;
pub mod outbox;
pub mod pushed_request;
pub mod refresh_token;
pub mod replay;
pub mod resource;
pub mod revoked_token;
pub mod session;
pub mod signal;
pub mod signal_head;
pub mod signing_key;
pub mod stream;
pub mod stream_progress;
pub mod tenant;
pub mod user;
