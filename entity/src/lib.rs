//! Writ's tables: one file per table, models only, no logic.
//!
//! Every row but a node's belongs to a tenant. Times are Unix seconds unless a name says
//! milliseconds.

pub mod audit_cursor;
pub mod audit_event;
pub mod audit_head;
pub mod client;
pub mod grant;
pub mod node;
pub mod outbox;
pub mod replay;
pub mod resource;
pub mod revoked_token;
pub mod signing_key;
pub mod tenant;
