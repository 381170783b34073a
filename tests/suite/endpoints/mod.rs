//! OAuth over HTTP. What must be refused is in `attacks`.

mod advertised;
mod apps;
mod discovery;
mod health;
mod introspect;
mod jwks;
mod metrics;
mod revoke;
mod token;
mod userinfo;
