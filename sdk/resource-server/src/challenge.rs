//! The answers the layer gives itself: challenges (RFC 6750 §3, RFC 9728 §5.1),
//! refused bodies, and the metadata document.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::rpc::RpcError;
use crate::verifier::VerifyError;

pub(crate) type Answer = Response<Full<Bytes>>;

/// Why a request does not reach the server.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No credentials: the challenge says only how to get some.
    NoToken,
    /// The credentials are in the wrong place or shape.
    InvalidRequest(&'static str),
    /// The token is wrong.
    InvalidToken(VerifyError),
    /// The token does not allow this; these scopes would.
    InsufficientScope(String),
    /// The token cannot be checked at the moment.
    Unavailable(VerifyError),
    /// The body is one the layer does not read.
    Unreadable(StatusCode, &'static str),
    /// The body is not one unambiguous JSON-RPC message or batch.
    Rpc(RpcError),
}

impl Refusal {
    /// The whole answer. `scope` is what to ask for when nothing narrower is
    /// known.
    pub(crate) fn answer(&self, resource_metadata: &str, scope: &str) -> Answer {
        let challenge = |status, code, description: &str, scope| {
            challenged(status, code, description, scope, resource_metadata)
        };
        match self {
            Self::NoToken => bare_challenge(scope, resource_metadata),
            Self::InvalidRequest(description) => {
                challenge(StatusCode::BAD_REQUEST, "invalid_request", description, "")
            }
            Self::InvalidToken(error) => challenge(
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                &error.to_string(),
                scope,
            ),
            Self::InsufficientScope(needed) => challenge(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the access token does not allow this",
                needed,
            ),
            Self::Unavailable(error) => unavailable(*error),
            Self::Unreadable(status, description) => json_answer(
                *status,
                &json!({ "error": "invalid_request", "error_description": description }),
            ),
            Self::Rpc(error) => json_answer(
                StatusCode::BAD_REQUEST,
                &json!({
                    "jsonrpc": "2.0",
                    "id": null,
                    "error": { "code": error.code(), "message": error.message() },
                }),
            ),
        }
    }
}

/// 401 to somebody who showed nothing: no error code (RFC 6750 §3.1), since
/// nothing went wrong yet. The body has one, for people.
fn bare_challenge(scope: &str, resource_metadata: &str) -> Answer {
    let body = json!({
        "error": "invalid_token",
        "error_description": "an access token is needed in the Authorization header",
        "resource_metadata": resource_metadata,
    });
    let answer = json_answer(StatusCode::UNAUTHORIZED, &body);
    with_challenge(answer, String::new(), scope, resource_metadata)
}

/// A challenge that says what was wrong (RFC 6750 §3, RFC 9728 §5.1).
fn challenged(
    status: StatusCode,
    code: &str,
    description: &str,
    scope: &str,
    resource_metadata: &str,
) -> Answer {
    let mut body = json!({
        "error": code,
        "error_description": description,
        "resource_metadata": resource_metadata,
    });
    if !scope.is_empty() {
        body["scope"] = scope.into();
    }
    let parameters = format!(r#"error="{code}", error_description="{description}", "#);
    with_challenge(
        json_answer(status, &body),
        parameters,
        scope,
        resource_metadata,
    )
}

fn with_challenge(
    mut answer: Answer,
    mut parameters: String,
    scope: &str,
    resource_metadata: &str,
) -> Answer {
    if !scope.is_empty() {
        // Writing to a `String` cannot fail.
        let _ = write!(parameters, r#"scope="{scope}", "#);
    }
    let challenge = format!(r#"Bearer {parameters}resource_metadata="{resource_metadata}""#);
    // Scopes and URLs were checked to fit a header, and the words are our own.
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}

/// Nobody's fault who asks: a 401 would make clients throw good tokens away.
fn unavailable(error: VerifyError) -> Answer {
    let mut answer = json_answer(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({
            "error": "temporarily_unavailable",
            "error_description": error.to_string(),
        }),
    );
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("2"));
    answer
}

/// The RFC 9728 document, for browsers of any origin too.
pub(crate) fn metadata(method: &Method, document: &Bytes) -> Answer {
    let mut answer = match *method {
        // The server below HTTP leaves the body out of an answer to HEAD.
        Method::GET | Method::HEAD => {
            let mut answer = Response::new(Full::new(document.clone()));
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
            answer
        }
        Method::OPTIONS => {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            let headers = answer.headers_mut();
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, HEAD, OPTIONS"),
            );
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
            answer
        }
        _ => json_answer(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({ "error": "invalid_request", "error_description": "metadata is only read" }),
        ),
    };
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if *method != Method::GET && *method != Method::HEAD {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    answer
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
