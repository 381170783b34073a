//! OAuth over HTTP. What must be refused is in `attacks`.

mod authorize;
mod discovery;
mod health;
mod jwks;
mod metrics;
mod token;
