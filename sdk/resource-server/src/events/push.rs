//! SETs that the transmitter sends here (RFC 8935).

use std::error::Error;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::json;
use url::Url;

use super::set::{MAX_SET, SetError};
use super::state::State;
use crate::verifier::{SetupError, trusted_url};

/// Where SETs are pushed to, and what proves that they come from the
/// transmitter.
pub(super) struct Push {
    pub(super) url: Url,
    /// The value of `Authorization`.
    pub(super) secret: String,
}

impl Push {
    /// A path is one at the origin of the resource.
    pub(super) fn new(path_or_url: &str, resource: &Url) -> Result<Self, SetupError> {
        let url = if path_or_url.starts_with('/') {
            let origin = resource.origin().ascii_serialization();
            trusted_url("push", &format!("{origin}{path_or_url}"))?
        } else {
            trusted_url("push", path_or_url)?
        };
        if url.query().is_some() {
            return Err(SetupError::Url {
                name: "push",
                value: path_or_url.to_owned(),
                problem: "events are pushed to a path without a query",
            });
        }
        let mut octets = [0; 32];
        rand::fill(&mut octets).map_err(|_| SetupError::Random)?;
        Ok(Self {
            url,
            secret: format!("Bearer {}", URL_SAFE_NO_PAD.encode(octets)),
        })
    }

    /// The answer to a request at [`Push::url`] (RFC 8935 §2).
    pub(super) async fn answer<B>(
        &self,
        state: &State,
        request: Request<B>,
    ) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
            let headers = answer.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        if !self.is_from_transmitter(&parts.headers) {
            return refused(
                "authentication_failed",
                "Authorization is not the one this stream was given",
            );
        }
        if !is_set(&parts.headers) {
            return refused(
                "invalid_request",
                "Content-Type is application/secevent+jwt",
            );
        }
        let Ok(body) = Limited::new(body, MAX_SET).collect().await else {
            let error = SetError::TooLong;
            return refused(error.code(), &error.to_string());
        };
        let body = body.to_bytes();
        let Ok(compact) = std::str::from_utf8(&body) else {
            return refused("invalid_request", "the SET is not a compact JWS");
        };
        match state.receive(compact).await {
            Ok(()) => empty(StatusCode::ACCEPTED),
            Err(SetError::Unavailable) => {
                let mut answer = empty(StatusCode::SERVICE_UNAVAILABLE);
                let headers = answer.headers_mut();
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
                answer
            }
            Err(error) => refused(error.code(), &error.to_string()),
        }
    }

    fn is_from_transmitter(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        verify_slices_are_equal(value.as_bytes(), self.secret.as_bytes()).is_ok()
    }
}

fn is_set(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| {
            media
                .trim()
                .eq_ignore_ascii_case("application/secevent+jwt")
        })
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// RFC 8935 §2.3.
fn refused(code: &str, description: &str) -> Response<Full<Bytes>> {
    let body = json!({ "err": code, "description": description });
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
