//! One stream's courier.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{backoff::delay, post::post, progress::Progress, verdict::Verdict};
use crate::{
    app::AppState,
    registry::{Signal, Status, Stream, Tenant},
    store::{DbErr, progress::Step},
    streams::{
        queue::{self, Waiting},
        set, status,
    },
};

/// Signals that are looked up at a time.
const PAGE: usize = 64;
/// Seconds after which a SET whose key the receiver did not know is sent again, and once more.
const NEW_KEY: [u64; 2] = [60, 600];
/// How long to wait when the database or a key is away.
const AWAY: Duration = Duration::from_secs(1);
/// How often wrong parties are named in a row before the stream is paused.
const WRONG_PARTIES: usize = 3;

/// Brings one stream's SETs to its receiver, in order.
pub(super) struct Courier {
    pub(super) app: AppState,
    pub(super) tenant: Arc<Tenant>,
    pub(super) id: String,
    pub(super) progress: Progress,
    /// Pushes under way, of all couriers of this node.
    pub(super) connections: Arc<Semaphore>,
    position: i64,
    settled: BTreeSet<i64>,
    /// When the stream had last changed, when it was looked at.
    version: Option<i64>,
    /// In a row, and since when.
    failures: usize,
    failing_since: Option<i64>,
    refusals: usize,
}

/// Why a courier stops in the middle.
enum Interrupted {
    /// The stream is not what it was.
    Changed,
    /// This SET is done with.
    Done,
}

impl Courier {
    pub(super) fn new(
        app: AppState,
        tenant: Arc<Tenant>,
        from: Step,
        progress: Progress,
        connections: Arc<Semaphore>,
    ) -> Self {
        Self {
            app,
            tenant,
            id: from.stream,
            progress,
            connections,
            position: from.position,
            settled: from.settled,
            version: None,
            failures: 0,
            failing_since: None,
            refusals: 0,
        }
    }

    /// Goes on until the stream is stopped, or nobody runs it any more.
    pub(super) async fn run(mut self) {
        while let Some(stream) = self.stream() {
            let live = stream.live().clone();
            let bell = live.bell.notified();
            tokio::pin!(bell);
            // From here on nothing is missed.
            bell.as_mut().enable();
            let waiting = match self.waiting(&stream).await {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::warn!(%error, "signals cannot be read");
                    sleep(AWAY).await;
                    continue;
                }
            };
            if waiting.signals.is_empty() {
                self.pass(waiting.up_to);
                bell.await;
                continue;
            }
            for signal in &waiting.signals {
                match self.deliver(&stream, signal).await {
                    Interrupted::Done => self.done(signal.seq()),
                    Interrupted::Changed => break,
                }
            }
        }
    }

    /// What is to be sent next. Whoever has stopped a stream meanwhile may have thrown away what
    /// waited, or told of that, which is written down.
    async fn waiting(&mut self, stream: &Stream) -> Result<Waiting, DbErr> {
        let (app, tenant, version) = (&self.app, &self.tenant, stream.row().updated_at);
        if self.version.is_some_and(|known| known != version) {
            let stored = queue::progress(app, stream).await?;
            if let Some(stored) = stored {
                self.position = self.position.max(stored.position);
                self.settled = stored.settled;
            }
        }
        self.version = Some(version);
        queue::waiting(app, tenant, stream, self.position, &self.settled, PAGE).await
    }

    /// The stream, while there is something to do for it.
    fn stream(&self) -> Option<Arc<Stream>> {
        let stream = self.tenant.stream(&self.id)?;
        let receiver = self.tenant.client(stream.client_id())?;
        let ours = stream.is_enabled() && stream.endpoint_url().is_some();
        (ours && !receiver.is_disabled()).then_some(stream)
    }

    fn done(&mut self, place: i64) {
        self.position = place;
        let row = (self.tenant.name().to_owned(), self.id.clone(), place);
        // The writer of progress lives as long as the server.
        let _ = self.progress.send(row);
    }

    /// Nothing waits up to there. That is worth a write only now and then.
    fn pass(&mut self, place: i64) {
        const NOW_AND_THEN: i64 = 1000;
        if place / NOW_AND_THEN > self.position / NOW_AND_THEN {
            self.done(place);
        }
        self.position = place;
    }

    /// Sends one SET until it is done with.
    async fn deliver(&mut self, stream: &Arc<Stream>, signal: &Arc<Signal>) -> Interrupted {
        let mut unknown_key = NEW_KEY.iter();
        loop {
            if !stream.concerns(signal, self.app.clock.seconds()) {
                // It has expired meanwhile.
                self.app.metrics.deliveries.refused("push");
                return Interrupted::Done;
            }
            let Some(verdict) = self.send(stream, signal).await else {
                return Interrupted::Changed;
            };
            let pause = match verdict {
                Verdict::Taken => {
                    self.taken(signal);
                    return Interrupted::Done;
                }
                Verdict::Refused => return self.refused(stream, signal).await,
                Verdict::UnknownKey => match unknown_key.next() {
                    Some(seconds) => Duration::from_secs(*seconds),
                    None => return self.refused(stream, signal).await,
                },
                Verdict::Later(retry_after) => {
                    if self.gives_up(stream).await {
                        return Interrupted::Changed;
                    }
                    self.failures += 1;
                    delay(self.failures, retry_after, &self.app.entropy)
                }
            };
            self.app.metrics.deliveries.failed("push");
            if self.rest(stream, pause).await {
                return Interrupted::Changed;
            }
        }
    }

    fn taken(&mut self, signal: &Signal) {
        (self.failures, self.failing_since, self.refusals) = (0, None, 0);
        let took = self.app.clock.millis() - signal.row.at;
        self.app.metrics.deliveries.told("push", took);
    }

    /// A SET that its receiver will never take. Another one may be taken, but not for long when
    /// nothing fits (RFC 8935 §2.4).
    async fn refused(&mut self, stream: &Arc<Stream>, signal: &Signal) -> Interrupted {
        tracing::error!(
            stream = self.id,
            jti = set::jti(signal, &self.id),
            "a receiver refuses a SET for good"
        );
        self.app.metrics.deliveries.refused("push");
        self.refusals += 1;
        if self.refusals >= WRONG_PARTIES {
            self.done(signal.seq());
            self.pause(stream, "the receiver refuses what it is sent")
                .await;
            return Interrupted::Changed;
        }
        Interrupted::Done
    }

    /// Whether nothing was taken for so long that nobody tries any more.
    async fn gives_up(&mut self, stream: &Arc<Stream>) -> bool {
        let now = self.app.clock.seconds();
        let since = *self.failing_since.get_or_insert(now);
        if now - since < self.app.config.events.give_up {
            return false;
        }
        self.pause(stream, status::UNREACHABLE).await;
        true
    }

    async fn pause(&self, stream: &Arc<Stream>, why: &'static str) {
        let (app, tenant, stream) = (self.app.clone(), self.tenant.clone(), stream.clone());
        // The end of this courier, which a stream that is stopped needs no more, is not the end of
        // telling its receiver so.
        let pausing = tokio::spawn(async move {
            let paused = Status::Paused;
            status::set_status_by_us(&app, &tenant, &stream, paused, Some(why)).await
        });
        if let Ok(Err(error)) = pausing.await {
            tracing::error!(stream = self.id, %error, "a stream cannot be paused");
            sleep(AWAY).await;
        }
    }

    /// Sends a SET once; nothing when the stream is not what it was.
    async fn send(&self, stream: &Arc<Stream>, signal: &Signal) -> Option<Verdict> {
        let _one = self.connections.acquire().await.ok()?;
        let _sending = stream.live().sending.lock().await;
        let url = stream.endpoint_url()?;
        let push = post(&self.app, &self.tenant, stream, url, signal);
        tokio::pin!(push);
        loop {
            let bell = stream.live().bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            // Whoever stops the stream waits for this to end.
            if !self.is_current(stream) {
                return None;
            }
            tokio::select! {
                verdict = &mut push => return Some(verdict),
                () = bell => {}
            }
        }
    }

    fn is_current(&self, stream: &Arc<Stream>) -> bool {
        self.stream().is_some_and(|now| Arc::ptr_eq(&now, stream))
    }

    /// Waits before another attempt; whether the stream has changed meanwhile. A sign of life of
    /// its receiver ends the wait.
    async fn rest(&self, stream: &Arc<Stream>, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            let bell = stream.live().bell.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            if !self.is_current(stream) {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                () = stream.live().alive.notified() => return false,
                () = bell => {}
            }
        }
    }
}
