//! What a server tells those who run it: log records, metrics, traces.
//!
//! Nothing here ever holds a token, a secret, an assertion, a cookie or a query string: routes are
//! told as the URL table writes them, clients by their identifiers, refusals by their codes.

pub mod log;
pub mod metrics;
mod process;
#[cfg_attr(not(feature = "otlp"), path = "telemetry/no_traces.rs")]
pub mod traces;

use std::time::Duration;

use http::{Method, StatusCode};

use crate::oauth::error_code::ErrorCode;

pub use log::{filter, start};

/// What is told of a request that has been answered, besides what its context knows.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The method, or `OTHER` for one that is not registered.
    pub method: &'static str,
    /// The status.
    pub status: StatusCode,
    /// The registered error code of a refusal.
    pub error: Option<ErrorCode>,
    /// From the first byte of the request's body that could be read to the answer's headers.
    pub took: Duration,
}

/// The name of a method: one of a few, so that nobody can invent labels.
#[must_use]
pub fn method_name(method: &Method) -> &'static str {
    const NAMES: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let known = NAMES.into_iter().find(|name| *name == method.as_str());
    known.unwrap_or("OTHER")
}
