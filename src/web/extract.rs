//! What handlers take: the tenant, a bounded body, a parameter, a registration access token.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, Path, Request},
};
use http::{HeaderMap, header, request::Parts};

use crate::{
    error::{OAuthError, Result},
    oauth::{
        error_code::ErrorCode,
        params::{Params, ParamsError},
    },
    registry::Tenant,
};

/// The issuer this request is for; the router has found it from the path.
#[derive(Clone, Debug)]
pub struct ForTenant(pub Arc<Tenant>);

impl<S: Send + Sync> FromRequestParts<S> for ForTenant {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| OAuthError::not_found("There is no issuer at this path."))
    }
}

/// The one parameter of a path.
#[derive(Clone, Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = OAuthError;

    /// What is not UTF-8 (RFC 3986 §2.5) names nothing of ours.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(id) = Path::from_request_parts(parts, state)
            .await
            .map_err(|why| OAuthError::not_found("There is nothing at this path.").because(why))?;
        Ok(Self(id))
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer; what `Content-Length` says is enough.
pub async fn body(request: Request, limit: usize) -> Result<Bytes> {
    read(request.into_body(), limit).await
}

async fn read(body: Body, limit: usize) -> Result<Bytes> {
    let too_large = || {
        OAuthError::new(
            ErrorCode::TooLarge,
            format!("The body is limited to {limit} bytes."),
        )
    };
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > limit as u64 {
        return Err(too_large());
    }
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(cause) = source {
            if cause.is::<http_body_util::LengthLimitError>() {
                return too_large();
            }
            source = cause.source();
        }
        OAuthError::invalid_request("The body could not be read.").because(error)
    })
}

/// Reads an `application/x-www-form-urlencoded` body.
///
/// # Errors
/// `invalid_request` for another media type (RFC 6749 §3.2), 413 when it is too long.
pub async fn form(request: Request, limit: usize) -> Result<(HeaderMap, Bytes)> {
    require_media_type(request.headers(), "application/x-www-form-urlencoded")?;
    let (parts, body) = request.into_parts();
    Ok((parts.headers, read(body, limit).await?))
}

/// The parameters of a form.
///
/// # Errors
/// `invalid_request` with what is wrong with it.
pub fn parameters(body: &[u8]) -> Result<Params<'_>> {
    Params::parse(body).map_err(|why| unreadable(&why))
}

/// The parameters of a form of ours in which `choice` is given once for each thing chosen.
///
/// # Errors
/// As [`parameters`].
pub fn parameters_with_choice<'b>(body: &'b [u8], choice: &str) -> Result<Params<'b>> {
    Params::parse_with_choice(body, choice).map_err(|why| unreadable(&why))
}

fn unreadable(why: &ParamsError) -> OAuthError {
    OAuthError::invalid_request(format!("{}.", capitalised(&why.to_string())))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// Reads a JSON body.
///
/// # Errors
/// `invalid_request` for another media type, 413 when it is too long.
pub async fn json(request: Request, limit: usize) -> Result<Bytes> {
    require_media_type(request.headers(), "application/json")?;
    body(request, limit).await
}

fn require_media_type(headers: &HeaderMap, wanted: &'static str) -> Result<()> {
    // RFC 9110 §8.3: of two there is no telling which one is meant.
    let mut sent = headers.get_all(header::CONTENT_TYPE).iter();
    let sent = sent
        .next()
        .filter(|_| sent.next().is_none())
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(OAuthError::invalid_request(format!(
        "The one Content-Type must be {wanted}."
    )))
}

/// The bearer token of a request's only `Authorization` header (RFC 6750 §2.1).
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
