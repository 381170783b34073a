//! One error type for the OAuth surface: a registered code, words for the client, a private cause.

use std::{borrow::Cow, fmt};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use writ_resource::dpop::NONCE_HEADER;

use crate::oauth::error_code::ErrorCode;

/// An answer that says no.
///
/// The description is for the client's developer; the cause goes to the log, with the request's
/// id, and nowhere else.
#[derive(Debug)]
pub struct OAuthError {
    /// The registered code.
    pub code: ErrorCode,
    description: Cow<'static, str>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a refusal has said to the client, for whoever sees its response pass by.
#[derive(Clone, Debug)]
pub struct Said {
    /// The registered code.
    pub code: ErrorCode,
    description: String,
}

impl Said {
    /// The words for the client.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)
    }
}

/// Short for a result that ends in an [`OAuthError`].
pub type Result<T, E = OAuthError> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident;)*) => {
        impl OAuthError {
            $($(#[$doc])*
            pub fn $name(description: impl Into<Cow<'static, str>>) -> Self {
                Self::new(ErrorCode::$code, description)
            })*
        }
    };
}

constructors! {
    /// `invalid_request`.
    invalid_request => InvalidRequest;
    /// `invalid_client`.
    invalid_client => InvalidClient;
    /// `invalid_grant`.
    invalid_grant => InvalidGrant;
    /// `unauthorized_client`.
    unauthorized_client => UnauthorizedClient;
    /// `unsupported_grant_type`.
    unsupported_grant_type => UnsupportedGrantType;
    /// `invalid_scope`.
    invalid_scope => InvalidScope;
    /// `invalid_target`.
    invalid_target => InvalidTarget;
    /// `invalid_token`.
    invalid_token => InvalidToken;
    /// `insufficient_scope`.
    insufficient_scope => InsufficientScope;
    /// `invalid_client_metadata`.
    invalid_client_metadata => InvalidClientMetadata;
    /// `invalid_redirect_uri`.
    invalid_redirect_uri => InvalidRedirectUri;
    /// `invalid_dpop_proof`.
    invalid_dpop_proof => InvalidDpopProof;
    /// `access_denied`.
    access_denied => AccessDenied;
    /// Nothing is there.
    not_found => NotFound;
    /// It is there already.
    conflict => Conflict;
}

impl OAuthError {
    /// An error with this code and these words.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            description: description.into(),
            cause: None,
            headers: Vec::new(),
        }
    }

    /// Our own failure; the cause is logged with the request.
    pub fn server_error(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(
            ErrorCode::ServerError,
            "The server could not answer this request.",
        )
        .because(cause)
    }

    /// Keeps a private cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Asks for the nonce that comes with this answer (RFC 9449 §8, §9).
    #[must_use]
    pub fn use_dpop_nonce(nonce: &str) -> Self {
        Self::new(
            ErrorCode::UseDpopNonce,
            "The DPoP proof must hold the nonce of this answer's DPoP-Nonce header.",
        )
        .header(NONCE_HEADER, nonce)
    }

    /// Answers with this `WWW-Authenticate` header, beside those before it.
    #[must_use]
    pub fn challenge(self, challenge: &str) -> Self {
        self.header(header::WWW_AUTHENTICATE, challenge)
    }

    /// Says after how many seconds it is worth asking again (RFC 9110 §10.2.3).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, &seconds.to_string())
    }

    /// Adds the headers that go with it to an answer, whatever that says it in.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        headers.extend(self.headers.iter().cloned());
        if matches!(
            self.code,
            ErrorCode::TemporarilyUnavailable | ErrorCode::TooMany
        ) {
            let soon = HeaderValue::from_static("1");
            headers.entry(header::RETRY_AFTER).or_insert(soon);
        }
    }

    /// Text that cannot be a header is left out.
    fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).ok();
        self.headers.extend(value.map(|value| (name, value)));
        self
    }

    /// Whether the server failed, and not whoever asked.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.code.status() >= 500
    }

    /// A proof that does not hold is a wrong request at the token endpoint (RFC 9449 §5), and
    /// wrong credentials wherever a challenge goes with it (§7.1).
    fn status(&self) -> StatusCode {
        let challenged = self
            .headers
            .iter()
            .any(|(name, _)| name == header::WWW_AUTHENTICATE);
        match self.code {
            ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce if challenged => {
                StatusCode::UNAUTHORIZED
            }
            code => {
                StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Code and words as the client sees them, without the private cause.
    #[must_use]
    pub fn said(&self) -> Said {
        Said {
            code: self.code,
            description: self.description().into_owned(),
        }
    }

    /// The words for the client.
    #[must_use]
    pub fn description(&self) -> Cow<'_, str> {
        printable(&self.description)
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description())?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for OAuthError {}

/// `error_description` is limited to `%x20-21 / %x23-5B / %x5D-7E` (RFC 6749 §5.2); input that is
/// quoted back may hold anything.
fn printable(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    if text.chars().all(allowed) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| match c {
                '"' => '\'',
                c if allowed(c) => c,
                _ => '?',
            })
            .collect(),
    )
}

impl OAuthError {
    /// The description is left out: it may quote what was sent, and that may be a secret in the
    /// wrong place.
    fn log(&self) {
        let cause = self.cause.as_deref().map(tracing::field::display);
        let error = self.code.as_str();
        if self.code == ErrorCode::ServerError {
            tracing::error!(error, cause, "request failed");
        } else {
            tracing::debug!(error, cause, "request refused");
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let body = serde_json::json!({
            "error": self.code.as_str(),
            "error_description": self.description(),
        });
        let mut response = (status, Json(body)).into_response();
        // For what is noted of the answer.
        response.extensions_mut().insert(self.said());
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.stamp(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_hold_only_the_allowed_characters() {
        let error = OAuthError::invalid_request("bad \"x\"\r\n\t\\ \u{e9}");
        assert_eq!(error.description(), "bad 'x'???? ?");
    }
}
