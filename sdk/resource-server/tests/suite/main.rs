//! Everything `writ-resource` promises, through real HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop, wherever its helper is"
)]

mod calls;
mod claims;
mod dpop;
mod events;
mod introspection;
mod jws;
mod keys;
mod requests;
mod rmcp;
mod support;
mod wycheproof;
