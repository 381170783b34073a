//! `GET|POST /authorize`.
//!
//! No client of this server can use the front channel: no grant type behind it is served. Nothing
//! in such a request can be trusted, so the answer is a page and never a redirect (RFC 6749
//! §4.1.2.1).

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Not \
                    available</title>\n<h1>Not available</h1>\n<p id=\"error\">\
                    unsupported_response_type</p>\n<p>This server issues tokens to programs \
                    (client credentials and token exchange). It does not sign people \
                    in.</p>\n</html>\n";

/// Says that there is nobody to ask.
pub async fn answer() -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
    ];
    (StatusCode::BAD_REQUEST, headers, PAGE).into_response()
}
