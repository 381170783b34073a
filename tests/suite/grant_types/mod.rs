//! The back channel: one file for each grant type.

mod client_credentials;
pub(crate) mod token_exchange;
