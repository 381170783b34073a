//! `{issuer}/ssf/verify`: a receiver finds out whether what is sent arrives (SSF 1.0 §8.1.4).

use std::sync::atomic::Ordering;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;

use super::{
    answers::done,
    asked::{members, named, receiver, text},
};
use crate::{
    app::{App, AppState},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    journal::Command,
    oauth::error_code::ErrorCode,
    registry::{EventsScope, Status, Stream},
    signals::{Audience, Cause, Draft, EventKind, Initiator, Level, subject},
    store::Change,
    web::extract::ForTenant,
};

/// Longest state, bytes.
const MAX_STATE: usize = 1000;
/// Seconds that a verification waits: whoever asks for one listens, or asks again. Receivers may
/// ask all day, and nobody needs what they heard, or did not.
const WAITS: i64 = 600;
/// Seconds that it is held while its stream is paused.
const HELD: i64 = 3600;

/// Sends a verification event, which repeats the state that comes with the request.
///
/// # Errors
/// 401, 403, 400, 404, 429 when a stream is verified too often.
pub(super) async fn verify(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let who = receiver(&app, &tenant, &credentials, EventsScope::Manage).await?;
    let members = members(&app, request).await?;
    let stream = named(&app, &tenant, &who, &members).await?;
    let state = text(&members, "state", MAX_STATE)?;
    not_too_often(&app, &stream)?;
    // Whoever asks is there: a push that waits for it is tried again.
    stream.live().alive.notify_waiters();
    // Nobody would ever hear it.
    if stream.status() != Status::Disabled {
        let cause = Cause::new(&app.entropy, Initiator::User, "verification");
        let change = event(&app, &stream, state, &cause);
        let command = Command::new(vec![change], Vec::new());
        app.journal.commit(command).await?;
    }
    Ok(done(StatusCode::NO_CONTENT))
}

/// Each stream by itself: a receiver may have many.
fn not_too_often(app: &App, stream: &Stream) -> Result<()> {
    let seconds = app.config.events.verification_interval;
    let interval = i64::try_from(seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    let now = app.clock.millis();
    let verified_at = &stream.live().verified_at;
    // The distance: a clock that was set back puts nobody off until it has caught up.
    let verify = |last: i64| (now.abs_diff(last) >= interval.unsigned_abs()).then_some(now);
    match verified_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, verify) {
        Ok(_) => Ok(()),
        Err(last) => {
            let left = (last - now).saturating_add(interval);
            let left = left.unsigned_abs().div_ceil(1000);
            let why = format!("This stream is verified every {seconds} seconds at most.");
            Err(OAuthError::new(ErrorCode::TooMany, why).retry_after(left))
        }
    }
}

/// How long a verification waits for the receiver of a stream, seconds.
#[must_use]
pub fn lifetime(stream: &Stream) -> i64 {
    match stream.status() {
        Status::Paused => HELD,
        Status::Enabled | Status::Disabled => WAITS,
    }
}

/// The event. One that nobody asked for has no state (SSF 1.0 §8.1.4).
pub fn event(app: &App, stream: &Stream, state: Option<&str>, cause: &Cause) -> Change {
    let state = state.map(|state| ("state".to_owned(), state.into()));
    let draft = Draft {
        audience: Audience::Stream(stream.id().to_owned()),
        level: Level::Stream,
        kind: EventKind::VERIFICATION,
        subject: subject::stream(stream.id()),
        members: state.into_iter().collect(),
        lifetime: lifetime(stream),
    };
    let tenant = &stream.row().tenant;
    Change::Signal(draft.row(tenant, cause, &app.entropy, app.clock.millis()))
}
