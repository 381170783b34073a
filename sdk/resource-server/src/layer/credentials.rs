//! The token of a request, wherever it was put.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::challenge::{Refusal, Scheme};
use crate::jws::JwsError;

/// The token a request came with, for a handler that exchanges it (RFC 8693)
/// for one of a downstream server. It is in the request's extensions; the
/// `Authorization` header is not passed on, so that nothing forwards it by
/// mistake (MCP forbids passing a received token upstream).
#[derive(Clone)]
pub struct PresentedToken(Arc<str>);

impl PresentedToken {
    /// The token itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresentedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PresentedToken(…)")
    }
}

/// The token of the `Authorization` header, and of nowhere else (RFC 6750 §2.1;
/// OAuth 2.1 and MCP forbid the query, and §2.2's form body is not offered).
pub(super) fn presented_token(parts: &Parts) -> Result<(Scheme, PresentedToken), Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    if url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        return Err(Refusal::InvalidRequest(
            "a token in the query is never accepted: use the Authorization header",
        ));
    }
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) => return Err(Refusal::NoToken),
        (Some(header), None) => header,
        (Some(_), Some(_)) => {
            return Err(Refusal::InvalidRequest(
                "more than one Authorization header",
            ));
        }
    };
    credentials(header)
}

fn credentials(header: &HeaderValue) -> Result<(Scheme, PresentedToken), Refusal> {
    let text = header
        .to_str()
        .map_err(|_| Refusal::InvalidToken(JwsError::NotCompact.into()))?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let scheme = scheme_of(scheme).ok_or(Refusal::NoToken)?;
    let token = rest.trim_matches(' ');
    if token.is_empty() {
        return Err(Refusal::InvalidRequest("the token is empty"));
    }
    Ok((scheme, PresentedToken(token.into())))
}

/// Names of schemes are case-insensitive (RFC 9110 §11.1).
fn scheme_of(name: &str) -> Option<Scheme> {
    if name.eq_ignore_ascii_case("Bearer") {
        Some(Scheme::Bearer)
    } else if name.eq_ignore_ascii_case("DPoP") {
        Some(Scheme::Dpop)
    } else {
        None
    }
}

/// The scheme to answer in.
pub(super) fn presented_scheme(headers: &HeaderMap) -> Scheme {
    headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok())
        .and_then(|text| scheme_of(text.split(' ').next()?))
        .unwrap_or(Scheme::Bearer)
}
