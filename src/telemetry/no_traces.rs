//! What stands in for traces in a build without the feature `otlp`: nothing.

use tokio::task::JoinHandle;

use crate::{
    config::Telemetry,
    context::{Request, Trace},
    entropy::Entropy,
    telemetry::Answered,
};

/// There is none.
#[derive(Debug)]
pub enum Traces {}

impl Traces {
    /// Nothing, whatever is configured.
    #[must_use]
    pub const fn start(_: &Telemetry, _: &Entropy) -> Option<(Self, JoinHandle<()>)> {
        None
    }

    /// Never called.
    #[must_use]
    pub const fn records(&self, _: &Trace) -> bool {
        match *self {}
    }

    /// Never called.
    pub const fn record(&self, _: &Request, _: &Answered) {
        match *self {}
    }
}

/// Only "none" can be had here.
///
/// # Errors
/// When a collector is named.
pub const fn check(endpoint: &str) -> Result<(), &'static str> {
    if endpoint.is_empty() {
        Ok(())
    } else {
        Err("this writ was built without the feature otlp")
    }
}
