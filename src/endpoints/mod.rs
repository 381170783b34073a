//! OAuth over HTTP: one thin file for each endpoint.
//!
//! A handler takes typed inputs, calls one function, answers. Reading and limits are in
//! [`crate::web::extract`], what it takes to present an access token in [`protected`].

pub mod apps;
pub mod authorize;
mod described;
pub mod discovery;
pub mod health;
pub mod introspect;
pub mod jwks;
pub mod metrics;
pub mod par;
pub mod protected;
pub mod refused;
pub mod register;
pub mod revoke;
pub mod token;
pub mod userinfo;
