//! The back channel: one file for each grant type.
//!
//! A grant type is a value: its registered name, whether clients may register for it by
//! themselves, and a function that reads a request of its kind and gets it decided. To add one: a
//! file here with the value, one `mod` line and one entry in [`ALL`], a test file of the same
//! name, its clauses in `conformance/requirements/`. Discovery, registration and the token
//! endpoint read the list.

mod authorization_code;
mod client_credentials;
mod person;
mod refresh_token;
mod token_exchange;

use std::{future::Future, pin::Pin};

use crate::{
    app::App,
    clients::Authenticated,
    error::{OAuthError, Result},
    oauth::{params::Params, scope::Scope},
    registry::Tenant,
    tokens::Issue,
};

/// A request at the token endpoint whose client has authenticated.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The server.
    pub app: &'a App,
    /// The issuer that is asked.
    pub tenant: &'a Tenant,
    /// Who asks.
    pub authenticated: &'a Authenticated,
    /// What for.
    pub params: &'a Params<'a>,
    /// Thumbprint of the key that the client has proved to hold (RFC 9449 §5).
    pub proved_key: Option<&'a str>,
}

/// A decision on its way.
pub type Deciding<'a> = Pin<Box<dyn Future<Output = Result<Issue>> + Send + 'a>>;

/// A grant type.
#[derive(Debug)]
pub struct GrantType {
    /// The registered name.
    pub name: &'static str,
    /// Whether a client that registers itself may have it (RFC 7591).
    pub self_service: bool,
    /// The `issued_token_type` of its answer, where it has one (RFC 8693 §2.2.1).
    pub issues: fn(&Params<'_>) -> Option<&'static str>,
    /// Reads the request and gets it decided.
    pub decide: for<'a> fn(TokenRequest<'a>) -> Deciding<'a>,
}

/// Every grant type Writ serves.
pub const ALL: [&GrantType; 4] = [
    &authorization_code::AUTHORIZATION_CODE,
    &refresh_token::REFRESH_TOKEN,
    &client_credentials::CLIENT_CREDENTIALS,
    &token_exchange::TOKEN_EXCHANGE,
];

/// The grant type of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static GrantType> {
    ALL.into_iter().find(|grant_type| grant_type.name == name)
}

/// The registered names, for metadata.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|grant_type| grant_type.name).collect()
}

/// The `scope` parameter.
fn scope(params: &Params<'_>) -> Result<Option<Scope>> {
    params
        .get("scope")
        .map(|text| {
            text.parse()
                .map_err(|e| OAuthError::invalid_scope(format!("{e}.")))
        })
        .transpose()
}
