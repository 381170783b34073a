//! `POST /ssf/poll/{stream_id}` (RFC 8936): a receiver fetches its SETs and says which it has.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::header;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    acknowledge,
    asked::{own, receiver, still_own},
    queue, set,
};
use crate::{
    app::{App, AppState},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{EventsScope, Signal, Stream, Tenant},
    store::progress::Step,
    web::extract::{ForTenant, Id, body},
};

/// Most SETs in one answer.
const MOST: usize = 100;
/// Most SETs that one request says something of: twenty answers' worth.
const MOST_DONE: usize = 20 * MOST;
/// Milliseconds for which a SET that was handed out does not end another poll's wait: its receiver
/// may still be at it.
const WORKING: i64 = 5000;

/// RFC 8936 §2.2
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    max_events: Option<usize>,
    return_immediately: bool,
    ack: Vec<String>,
    set_errs: BTreeMap<String, SetError>,
}

/// RFC 8935 §2.4
#[derive(Debug, Deserialize)]
struct SetError {
    err: String,
    #[serde(default)]
    description: String,
}

/// RFC 8936 §2.3
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    sets: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more_available: bool,
}

/// Answers a poll.
pub(super) async fn poll(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(stream_id): Id,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let claims = receiver(&app, &tenant, &credentials, EventsScope::Manage).await?;
    let asked = read(&app, request).await?;
    let stream = own(&app, &tenant, &claims, &stream_id).await?;
    if stream.endpoint_url().is_some() {
        return Err(OAuthError::not_found("This stream is pushed, not polled."));
    }
    let progress = queue::progress(&app, &stream).await?;
    let progress = progress.ok_or_else(|| OAuthError::not_found("There is no such stream."))?;
    for (jti, error) in &asked.set_errs {
        let (err, why) = (error.err.as_str(), error.description.as_str());
        tracing::warn!(
            stream = stream_id,
            jti,
            err,
            why,
            "a receiver refuses a SET"
        );
        app.metrics.deliveries.refused("poll");
    }
    // First what it has, then what it has not (RFC 8936 §2.4).
    let done = asked.ack.iter().chain(asked.set_errs.keys());
    let done = done.map(String::as_str);
    let progress = acknowledge::each(&app, &tenant, &stream, progress, done).await?;
    let poll = Poll {
        most: asked.max_events.unwrap_or(MOST).min(MOST),
        waits: !asked.return_immediately && asked.max_events != Some(0),
        app: &app,
        tenant: &tenant,
        who: &claims,
        stream_id: &stream_id,
    };
    let answer = poll.answer(progress).await?;
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(answer)).into_response())
}

/// An empty body is a poll with nothing to say.
async fn read(app: &App, request: Request) -> Result<Asked> {
    let patience = Duration::from_secs(app.config.limits.request_timeout);
    let body = timeout(patience, body(request, app.config.limits.body));
    let body = body
        .await
        .unwrap_or_else(|_| Err(OAuthError::invalid_request("The body took too long.")))?;
    if body.is_empty() {
        return Ok(Asked::default());
    }
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(OAuthError::invalid_request(
            "The body must be a JSON object (RFC 8936 section 2.2).",
        ));
    }
    let asked: Asked = serde_json::from_slice(&body).map_err(|why| {
        OAuthError::invalid_request(format!(
            "The body is no poll (RFC 8936 section 2.2): {why}."
        ))
    })?;
    if asked.ack.len() + asked.set_errs.len() > MOST_DONE {
        return Err(OAuthError::invalid_request(format!(
            "ack and setErrs: at most {MOST_DONE} SETs in one request."
        )));
    }
    Ok(asked)
}

struct Poll<'a> {
    app: &'a App,
    tenant: &'a Tenant,
    who: &'a AccessClaims,
    stream_id: &'a str,
    most: usize,
    waits: bool,
}

impl Poll<'_> {
    /// What is there; else, when it may wait, what comes.
    async fn answer(&self, mut progress: Step) -> Result<Answer> {
        let wait = Duration::from_secs(self.app.config.events.poll_wait);
        let deadline = Instant::now() + wait;
        let Some(stream) = self.stream() else {
            return Ok(Answer::default());
        };
        let live = stream.live().clone();
        // Whoever waited until now is answered: one waits for each stream. Who does not wait, but
        // acknowledges for example, is in nobody's way.
        let begun = &live.waiting;
        let turn = (self.waits).then(|| begun.fetch_add(1, Ordering::SeqCst) + 1);
        if turn.is_some() {
            live.bell.notify_waiters();
        }
        loop {
            let bell = live.bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            let last = turn.is_none_or(|turn| begun.load(Ordering::SeqCst) == turn);
            // It may have gone, or stopped, meanwhile.
            let Some(stream) = self.stream().filter(|_| last) else {
                return Ok(Answer::default());
            };
            let found = self.find(&stream, &progress).await?;
            if !self.waits || !found.signals.is_empty() || !stream.is_enabled() {
                return self.hand_out(&stream, found);
            }
            let again = found.again_in.map(|millis| Instant::now() + millis);
            let until = again.map_or(deadline, |again| again.min(deadline));
            tokio::select! {
                () = &mut bell => {}
                () = sleep_until(until) => {
                    if until == deadline {
                        return Ok(Answer::default());
                    }
                }
                () = self.app.readiness.closed() => return Ok(Answer::default()),
            }
            // What was handed out before may have been acknowledged meanwhile.
            match queue::progress(self.app, &stream).await? {
                Some(now) => progress = now,
                None => return Ok(Answer::default()),
            }
        }
    }

    /// The stream, while whoever waits may hear it here.
    fn stream(&self) -> Option<Arc<Stream>> {
        let stream = still_own(self.app, self.tenant, self.who, self.stream_id)?;
        stream.endpoint_url().is_none().then_some(stream)
    }

    /// Those never handed out, oldest first; then those that were, and are not acknowledged.
    async fn find(&self, stream: &Stream, progress: &Step) -> Result<Found> {
        let Self { app, tenant, .. } = *self;
        let (position, settled) = (progress.position, &progress.settled);
        // One more than is handed out tells whether there is more.
        let most = self.most + 1;
        if !stream.is_enabled() {
            let told = queue::of_status(app, tenant, stream, position, settled, most).await?;
            return Ok(Found {
                signals: told.signals,
                again_in: None,
            });
        }
        let live = stream.live();
        let offered = live.offered.load(Ordering::SeqCst).max(position);
        let fresh = queue::waiting(app, tenant, stream, offered, settled, most).await?;
        let mut found = Found {
            signals: fresh.signals,
            again_in: None,
        };
        if found.signals.len() < most && offered > position {
            let left = most - found.signals.len();
            let old = queue::waiting(app, tenant, stream, position, settled, left).await?;
            let old = old.signals.into_iter().filter(|s| s.seq() <= offered);
            let old: Vec<_> = old.collect();
            let since = app.clock.millis() - live.offered_at.load(Ordering::SeqCst);
            if !self.waits || !found.signals.is_empty() || since >= WORKING {
                found.signals.extend(old);
            } else if !old.is_empty() {
                let left = u64::try_from(WORKING - since).unwrap_or_default();
                found.again_in = Some(Duration::from_millis(left));
            }
        }
        Ok(found)
    }

    fn hand_out(&self, stream: &Stream, mut found: Found) -> Result<Answer> {
        let Self { app, tenant, .. } = *self;
        let more = found.signals.len() > self.most;
        found.signals.truncate(self.most);
        let now = app.clock.seconds();
        let sets = found
            .signals
            .iter()
            .map(|signal| set::mint(tenant, stream, signal, now));
        let sets = sets.collect::<Result<BTreeMap<_, _>, _>>()?;
        // What tells of a stop goes ahead of what is held, and does not count as its being offered.
        let last = found.signals.iter().map(|signal| signal.seq()).max();
        if let Some(last) = last.filter(|_| stream.is_enabled()) {
            let live = stream.live();
            live.offered.fetch_max(last, Ordering::SeqCst);
            live.offered_at.store(app.clock.millis(), Ordering::SeqCst);
        }
        for signal in &found.signals {
            let deliveries = &app.metrics.deliveries;
            deliveries.told("poll", app.clock.millis() - signal.row.at);
        }
        Ok(Answer {
            sets,
            more_available: more,
        })
    }
}

struct Found {
    signals: Vec<Arc<Signal>>,
    /// When what was handed out a moment ago may be handed out again.
    again_in: Option<Duration>,
}
