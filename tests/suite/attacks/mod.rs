//! What attackers send: one file for each class. Every test cites the cases it stands for.

mod browsers;
mod client_authentication;
mod client_id_metadata;
mod dpop;
mod http;
mod jose;
mod junk;
mod metadata;
mod registration;
mod resources;
mod revocation;
mod token_endpoint;
mod token_exchange;
mod upstream;
