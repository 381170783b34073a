//! What is noted of every answer: numbers, a span, a line in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::response::Response;
use http::Method;
use tokio::time::Instant;

use crate::{
    app::App,
    config::RequestLines,
    context,
    error::Said,
    oauth::error_code::ErrorCode,
    telemetry::{Answered, method_name},
};

/// Lines a second for requests that were refused: whoever floods the server does not fill the
/// disk with it, nor hold up others by writing.
const LINES: u64 = 100;

/// Counts the lines of each second.
#[derive(Debug)]
pub(super) struct Observer {
    began: Instant,
    second: AtomicU64,
    lines: AtomicU64,
}

impl Observer {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            second: AtomicU64::new(0),
            lines: AtomicU64::new(0),
        }
    }

    /// Notes an answer.
    pub(super) fn answered(
        &self,
        app: &App,
        request: &context::Request,
        method: &Method,
        response: &Response,
    ) {
        let answered = Answered {
            method: method_name(method),
            status: response.status(),
            error: response.extensions().get::<Said>().map(|said| said.code),
            took: request.began().elapsed(),
        };
        app.metrics.answered(request, &answered);
        if let Some(traces) = app.traces.as_ref().filter(|_| request.is_recorded()) {
            traces.record(request, &answered);
        }
        let refused = response.status().is_client_error() || response.status().is_server_error();
        let line = match app.config.telemetry.requests {
            RequestLines::Off => false,
            RequestLines::Refused => refused && self.has_room(),
            RequestLines::All => true,
        };
        if line {
            write(request, &answered);
        }
    }

    /// Whether this second has room for another line. The first of a second says how many were
    /// left out before.
    fn has_room(&self) -> bool {
        let now = self.began.elapsed().as_secs();
        if self.second.swap(now, Ordering::Relaxed) != now {
            let left_out = self.lines.swap(0, Ordering::Relaxed).saturating_sub(LINES);
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "more requests were refused than lines are written"
                );
            }
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES
    }
}

fn write(request: &context::Request, answered: &Answered) {
    tracing::info!(
        method = answered.method,
        route = request.route().as_str(),
        status = answered.status.as_u16(),
        error = answered.error.map(ErrorCode::as_str),
        micros = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX),
        client_id = request.client_id(),
        address = request.address().map(tracing::field::display),
        "answered"
    );
}
