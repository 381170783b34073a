//! The answers the layer gives itself: challenges (RFC 6750 §3, RFC 9449 §7.1,
//! RFC 9728 §5.1), refused bodies, and the metadata document.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::dpop::{ALGORITHMS, NONCE_HEADER, ProofError, Seen};
use crate::rpc::RpcError;
use crate::verifier::VerifyError;

pub(crate) type Answer = Response<Full<Bytes>>;

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750 §2.1
    Bearer,
    /// RFC 9449 §7.1
    Dpop,
}

/// What challenges tell about getting in.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) metadata_url: String,
    /// The scope to ask for before it is known what the caller wants.
    pub(crate) scope: String,
    /// Tokens that are bound to no key are taken as well.
    pub(crate) takes_bearer: bool,
}

/// Why a request does not reach the server.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No credentials: the challenge says only how to get some.
    NoToken,
    /// The credentials are in the wrong place or shape.
    InvalidRequest(&'static str),
    /// The token is wrong.
    InvalidToken(VerifyError),
    /// A bound token without a proof.
    NoProof,
    /// The proof is wrong.
    Proof(ProofError),
    /// The proof was used before, or may have been.
    Seen(Seen),
    /// The proof must hold this nonce.
    UseNonce(String),
    /// The token does not allow this; these scopes would.
    InsufficientScope(String),
    /// The token cannot be checked at the moment.
    Unavailable(String),
    /// The body is one the layer does not read.
    Unreadable(StatusCode, &'static str),
    /// The body is not one unambiguous JSON-RPC message or batch.
    Rpc(RpcError),
}

impl Refusal {
    /// The whole answer to a request that presented its token like this.
    pub(crate) fn answer(&self, entrance: &Entrance, scheme: Scheme) -> Answer {
        let challenge = |status, code, description: &str, scope| {
            let error = Error { code, description };
            entrance.challenged(status, &error, scope, scheme)
        };
        let unauthorized =
            |code, description: &str| challenge(StatusCode::UNAUTHORIZED, code, description, "");
        match self {
            Self::NoToken => entrance.bare(),
            Self::InvalidRequest(description) => {
                challenge(StatusCode::BAD_REQUEST, "invalid_request", description, "")
            }
            Self::InvalidToken(error) => challenge(
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                &error.to_string(),
                &entrance.scope,
            ),
            Self::NoProof => unauthorized("invalid_dpop_proof", "a DPoP header is needed"),
            Self::Proof(error) => unauthorized("invalid_dpop_proof", &error.to_string()),
            Self::Seen(error) => unauthorized("invalid_dpop_proof", &error.to_string()),
            Self::UseNonce(nonce) => {
                let words = "the DPoP proof must hold the nonce of this answer";
                with_nonce(unauthorized("use_dpop_nonce", words), Some(nonce))
            }
            Self::InsufficientScope(needed) => challenge(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the access token does not allow this",
                needed,
            ),
            Self::Unavailable(why) => unavailable(why),
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

/// What was wrong.
struct Error<'a> {
    code: &'static str,
    description: &'a str,
}

impl Entrance {
    /// 401 to somebody who showed nothing: no error code (RFC 6750 §3.1), since
    /// nothing went wrong yet. The body has one, for people.
    fn bare(&self) -> Answer {
        let body = json!({
            "error": "invalid_token",
            "error_description": "an access token is needed in the Authorization header",
            "resource_metadata": self.metadata_url,
        });
        let answer = json_answer(StatusCode::UNAUTHORIZED, &body);
        self.with_challenges(answer, None, &self.scope, Scheme::Bearer)
    }

    /// A challenge that says what was wrong (RFC 6750 §3, RFC 9449 §7.1,
    /// RFC 9728 §5.1).
    fn challenged(
        &self,
        status: StatusCode,
        error: &Error<'_>,
        scope: &str,
        scheme: Scheme,
    ) -> Answer {
        let mut body = json!({
            "error": error.code,
            "error_description": error.description,
            "resource_metadata": self.metadata_url,
        });
        if !scope.is_empty() {
            body["scope"] = scope.into();
        }
        self.with_challenges(json_answer(status, &body), Some(error), scope, scheme)
    }

    /// Bearer first, which is all that most clients read; whoever knows DPoP
    /// is told about that alone.
    fn with_challenges(
        &self,
        mut answer: Answer,
        error: Option<&Error<'_>>,
        scope: &str,
        presented: Scheme,
    ) -> Answer {
        let bearer_too = self.takes_bearer && presented == Scheme::Bearer;
        let headers = answer.headers_mut();
        let mut add = |challenge: String| {
            // Scopes and URLs were checked to fit a header, and the words are our own.
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                headers.append(WWW_AUTHENTICATE, challenge);
            }
        };
        if bearer_too {
            add(format!("Bearer {}", self.parameters(error, scope)));
        }
        let error = error.filter(|_| !bearer_too);
        let algorithms = ALGORITHMS.join(" ");
        let parameters = self.parameters(error, scope);
        add(format!(r#"DPoP {parameters}, algs="{algorithms}""#));
        answer
    }

    fn parameters(&self, error: Option<&Error<'_>>, scope: &str) -> String {
        let mut parameters = String::new();
        // Writing to a `String` cannot fail.
        if let Some(Error { code, description }) = error {
            let _ = write!(
                parameters,
                r#"error="{code}", error_description="{description}", "#
            );
        }
        if !scope.is_empty() {
            let _ = write!(parameters, r#"scope="{scope}", "#);
        }
        let _ = write!(parameters, r#"resource_metadata="{}""#, self.metadata_url);
        parameters
    }
}

/// Hands out a nonce (RFC 9449 §9).
pub(crate) fn with_nonce<B>(mut answer: Response<B>, nonce: Option<&str>) -> Response<B> {
    if let Some(Ok(nonce)) = nonce.map(HeaderValue::try_from) {
        answer.headers_mut().insert(NONCE_HEADER, nonce);
    }
    answer
}

/// Nobody's fault who asks: a 401 would make clients throw good tokens away.
fn unavailable(why: &str) -> Answer {
    let mut answer = json_answer(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({
            "error": "temporarily_unavailable",
            "error_description": why,
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
