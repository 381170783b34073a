//! What must hold of all inputs.

mod delegation;
mod htu;
mod redirect_uri;
mod resource;
mod scopes;
mod text;
