//! `GET /ssf/feed`: the SETs of a polled stream as server-sent events, for receivers that nobody
//! can reach and for those that want to hear at once.
//!
//! The same queue as for polls: what is sent here waits until it is acknowledged, by a poll or by
//! the `Last-Event-ID` of the next connection, which acknowledges everything up to that place.
//!
//! A replay of a pushed stream, which ends, says so with an event `end`. Without it, and when the
//! answer breaks off, more was to come.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Query, State},
    response::{IntoResponse as _, Response, Sse, sse},
};
use futures_util::stream;
use http::HeaderMap;
use serde::Deserialize;
use tokio::{sync::oneshot, time::Instant};

use super::{
    acknowledge,
    asked::{nothing, own, receiver, still_own},
    queue, set,
};
use crate::{
    app::{App, AppState},
    clock::Clock,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{EventsScope, Live, Stream, Tenant},
    signals::LASTING,
    store,
    web::extract::ForTenant,
};

/// SETs that are signed before the first of them is handed on.
const PAGE: usize = 64;
/// Feeds of one stream at each node; a further one ends the oldest. Servers that share a stream
/// need one each, and a moment passes until one whose connection broke is missed.
const FEEDS: usize = 16;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    stream_id: String,
    /// Seconds of the past that are told again.
    replay: Option<i64>,
}

/// Opens a feed.
pub(super) async fn open(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    headers: HeaderMap,
    query: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response> {
    let claims = receiver(&app, &tenant, &credentials, EventsScope::Manage).await?;
    let Query(wanted) = query.map_err(|why| {
        OAuthError::invalid_request(
            "The query needs stream_id, and may have replay, a number of seconds.",
        )
        .because(why)
    })?;
    let stream = own(&app, &tenant, &claims, &wanted.stream_id).await?;
    let replay = wanted.replay.map(|seconds| seconds.clamp(0, LASTING));
    let live = stream.endpoint_url().is_none();
    if !live && replay.is_none() {
        return Err(OAuthError::invalid_request(
            "The events of this stream are pushed: a feed of it can only replay the past.",
        ));
    }
    if live && let Some(last) = headers.get("last-event-id") {
        let last = last.to_str().unwrap_or_default();
        acknowledge::up_to(&app, &stream, last).await?;
    }
    let (position, settled) = beginning(&app, &tenant, &stream, replay).await?;
    let until = lifetime(&app.clock, claims.exp);
    let open = app.metrics.feeds.one();
    let feed = Feed {
        keep_alive: Duration::from_secs(app.config.events.feed_keep_alive),
        app,
        tenant,
        who: claims,
        id: wanted.stream_id,
        live,
        position,
        settled,
        ready: Vec::new().into_iter(),
        until,
        ended: false,
        superseded: begin(stream.live()),
        _open: open,
    };
    let keep_alive = sse::KeepAlive::new().interval(feed.keep_alive);
    let events = stream::unfold(feed, Feed::next);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// After which place a feed tells, and what it leaves out.
async fn beginning(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    replay: Option<i64>,
) -> Result<(i64, BTreeSet<i64>)> {
    let progress = queue::progress(app, stream).await?;
    let progress = progress.ok_or_else(nothing)?;
    let (position, mut settled) = (progress.position, progress.settled);
    let Some(seconds) = replay else {
        return Ok((position, settled));
    };
    let since = app.clock.millis() - seconds * 1000;
    let before = store::signals::before(&app.db, tenant.name(), since).await?;
    if stream.endpoint_url().is_some() {
        return Ok((before, BTreeSet::new()));
    }
    // What waits from before that comes too: whoever resumes acknowledges it with the rest.
    settled.retain(|place| *place <= before);
    Ok((before.min(position), settled))
}

/// Begins a feed of a stream; what this gives resolves when there are too many later ones.
fn begin(live: &Live) -> oneshot::Receiver<()> {
    let (end, ended) = oneshot::channel();
    let mut feeds = live.feeds.lock().unwrap_or_else(PoisonError::into_inner);
    feeds.retain(|feed| !feed.is_closed());
    feeds.push_back(end);
    if feeds.len() > FEEDS {
        feeds.pop_front();
    }
    ended
}

/// Until when a token of this age lets somebody listen.
fn lifetime(clock: &Clock, exp: i64) -> Instant {
    let left = u64::try_from(exp - clock.seconds()).unwrap_or_default();
    Instant::now() + Duration::from_secs(left)
}

struct Feed {
    app: AppState,
    tenant: Arc<Tenant>,
    who: AccessClaims,
    id: String,
    /// Whether it goes on when everything of the past has been told.
    live: bool,
    position: i64,
    settled: BTreeSet<i64>,
    ready: std::vec::IntoIter<sse::Event>,
    until: Instant,
    /// Whether the last thing has been said.
    ended: bool,
    superseded: oneshot::Receiver<()>,
    keep_alive: Duration,
    _open: crate::telemetry::metrics::OpenGuard,
}

impl Feed {
    /// The next SET, when there is one; nothing at the end.
    async fn next(mut self) -> Option<(Result<sse::Event, Broken>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            if self.superseded.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
                return None;
            }
            let stream = self.stream()?;
            if let Some(event) = self.ready.next() {
                return Some((Ok(event), self));
            }
            let live = stream.live().clone();
            let bell = live.bell.notified();
            tokio::pin!(bell);
            // From here on nothing is missed.
            bell.as_mut().enable();
            if self.stream()?.row() != stream.row() {
                continue;
            }
            match self.fill(&stream).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(why) => {
                    tracing::error!(error = %why, stream = self.id, "a feed breaks off");
                    self.ended = true;
                    return Some((Err(why), self));
                }
            }
            if !self.live {
                self.ended = true;
                let end = sse::Event::default().event("end").data("{}");
                return Some((Ok(end), self));
            }
            tokio::select! {
                () = &mut bell => {}
                _ = &mut self.superseded => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                () = self.app.readiness.closed() => return None,
            }
        }
    }

    /// The stream, while its receiver may hear it here.
    fn stream(&self) -> Option<Arc<Stream>> {
        let stream = still_own(&self.app, &self.tenant, &self.who, &self.id)?;
        let polled = stream.endpoint_url().is_none();
        (stream.is_enabled() && (polled || !self.live)).then_some(stream)
    }

    /// Signs what waits; whether that was anything.
    async fn fill(&mut self, stream: &Stream) -> Result<bool, Broken> {
        let Self { app, tenant, .. } = &*self;
        let waiting = queue::waiting(app, tenant, stream, self.position, &self.settled, PAGE);
        let waiting = waiting.await?;
        let now = app.clock.seconds();
        let sets = waiting.signals.iter().map(|signal| {
            let (jti, set) = set::mint(tenant, stream, signal, now)?;
            Ok(sse::Event::default().event("set").id(jti).data(set))
        });
        let sets: Result<Vec<_>, Broken> = sets.collect();
        let sets = sets?;
        note(app, &waiting.signals);
        self.position = waiting.up_to;
        self.ready = sets.into_iter();
        Ok(!waiting.signals.is_empty())
    }
}

/// Why a feed breaks off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("signals cannot be read: {0}")]
    Database(#[from] store::DbErr),
    #[error("a SET cannot be signed: {0}")]
    Key(#[from] crate::keys::KeyError),
}

fn note(app: &App, signals: &[Arc<crate::registry::Signal>]) {
    let now = app.clock.millis();
    for signal in signals {
        app.metrics.deliveries.told("feed", now - signal.row.at);
    }
}
