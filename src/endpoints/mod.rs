//! OAuth over HTTP: one thin file for each endpoint.
//!
//! A handler takes typed inputs, calls one function, answers. Reading, limits and bearer tokens
//! are in [`extract`].

pub mod authorize;
pub mod discovery;
pub mod extract;
pub mod health;
pub mod introspect;
pub mod jwks;
pub mod metrics;
pub mod register;
pub mod revoke;
pub mod token;
