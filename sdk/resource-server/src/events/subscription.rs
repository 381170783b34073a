//! What a receiver does from its start to its end: it finds its stream or
//! makes one, has told what was revoked before, follows, and has the stream
//! proved at intervals. When something fails it begins again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::sync::oneshot;
use url::Url;

use super::feed::{Feed, Open};
use super::health::Flag;
use super::poll;
use super::push::Push;
use super::state::{State, Trust};
use super::transmitter::{Metadata, POLL, PUSH, Problem, Stream, Transmitter};
use crate::jwks::{Jwks, Source};
use crate::jws::KeySet;

/// Seconds within which a verification event must come back.
pub(super) const ECHO: i64 = 10;

/// Seconds until one is asked for again that did not: what transmitters may
/// ask for between two of them.
const AGAIN: i64 = 5;

/// How far back a transmitter tells what it sent, seconds.
pub(super) const MAX_REPLAY: i64 = 604_800;

/// How many of them are missed before everything begins again.
const MOST_MISSED: u32 = 2;

/// The longest time between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(5);

/// How SETs get here.
pub(super) enum Way {
    Feed,
    Poll,
    Push(Arc<Push>),
}

/// One receiver's stream.
pub(super) struct Subscription {
    pub(super) state: Arc<State>,
    pub(super) transmitter: Transmitter,
    pub(super) way: Way,
    pub(super) events: Vec<String>,
    /// Seconds between two verification events.
    pub(super) interval: i64,
}

/// Whatever ends the task, its end is known.
struct Ended(Arc<State>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.attention.set(Flag::Stopped);
    }
}

impl Subscription {
    /// Follows for as long as there is a use in it, or until `closing` is over.
    pub(super) async fn run(self, closing: oneshot::Receiver<Infallible>) {
        {
            let _ended = Ended(Arc::clone(&self.state));
            tokio::select! {
                () = self.follow_on() => {}
                _ = closing => {}
            }
        }
        if self.state.name.is_drawn {
            let left = tokio::time::timeout(LEAVING, self.leave()).await;
            if let Err(problem) = left.unwrap_or(Err(Problem::Silent)) {
                tracing::warn!(%problem, "the stream is left to the transmitter to delete");
            }
        }
    }

    async fn follow_on(&self) {
        let mut attempt = 0;
        loop {
            let echoes = self.state.echoes();
            let Err(problem) = self.follow().await;
            match &problem {
                Problem::Final(why) => {
                    tracing::error!(why, "no revocations are received any more");
                    return;
                }
                // Was said, and not all of it is here.
                Problem::Mute | Problem::Shared => {}
                Problem::Full => {
                    tracing::error!(%problem, "there is no stream");
                    self.state.degrade(Flag::Delivery, "there is no stream");
                }
                problem => self.state.degrade(Flag::Delivery, &problem.to_string()),
            }
            // Two that share a stream would have each other begin again for ever.
            let is_shared = matches!(problem, Problem::Shared);
            if !is_shared && echoes.has_changed().is_ok_and(|changed| changed) {
                attempt = 0;
            }
            tracing::debug!(%problem, attempt, "beginning again");
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn follow(&self) -> Result<Infallible, Problem> {
        let metadata = self.transmitter.discover().await?;
        self.trust(&metadata);
        let stream = self.stream(&metadata).await?;
        let id = &*stream.stream_id;
        // Also of a stream that was made just now: what is told again does not
        // depend on who listened then.
        let settled = self.state.is_settled(id);
        let replay = (!settled).then_some(self.state.needed.min(MAX_REPLAY));
        let feed = metadata.feed.as_ref().map(|url| Feed {
            transmitter: &self.transmitter,
            state: &self.state,
            url,
            stream_id: id,
        });
        let heartbeat = || self.heartbeat(&metadata, &stream);
        match (&self.way, feed) {
            (Way::Feed, None) => Err(Problem::Final(
                "the transmitter has no feed: choose poll or push".to_owned(),
            )),
            (Way::Feed, Some(feed)) => {
                let open = feed.open(replay).await?;
                self.state.follows(id, open.replays);
                let reports = self.polled(&stream)?;
                tokio::select! {
                    ended = feed.follow(open, &reports) => ended,
                    ended = heartbeat() => ended,
                }
            }
            (Way::Poll, feed) => {
                let url = self.polled(&stream)?;
                self.state.follows(id, false);
                if let (Some(feed), Some(_)) = (feed, replay) {
                    let open = feed.open(replay).await?;
                    self.catch_up(&feed, open, &url, &stream, &metadata).await?;
                }
                tokio::select! {
                    ended = poll::follow(&self.transmitter, &self.state, &url) => ended,
                    ended = heartbeat() => ended,
                }
            }
            (Way::Push(_), feed) => {
                self.state.follows(id, false);
                if let (Some(feed), Some(_)) = (feed, replay) {
                    let open = feed.open(replay).await?;
                    if open.replays {
                        feed.take_all(open).await?;
                        self.state.follows(id, true);
                    }
                }
                heartbeat().await
            }
        }
    }

    /// Follows a feed until what was revoked before has been told: until a
    /// verification event that was asked for after it began.
    async fn catch_up(
        &self,
        feed: &Feed<'_>,
        open: Open,
        reports: &Url,
        stream: &Stream,
        metadata: &Metadata,
    ) -> Result<(), Problem> {
        self.state.follows(&stream.stream_id, open.replays);
        let mut echoes = self.state.echoes();
        let never = tokio::select! {
            ended = feed.follow(open, reports) => ended?,
            ended = self.heartbeat(metadata, stream) => ended?,
            _ = echoes.changed() => return Ok(()),
        };
        match never {}
    }

    /// Whose signatures count from now on.
    fn trust(&self, metadata: &Metadata) {
        let known = self.state.trusted();
        let known = known.filter(|known| known.jwks_uri == metadata.jwks_uri);
        let jwks = known.map_or_else(
            || {
                Jwks::new(
                    Source::At(metadata.jwks_uri.clone()),
                    KeySet::default(),
                    self.state.clock.clone(),
                    self.state.keys_floor,
                    self.transmitter.http.clone(),
                )
            },
            |known| Arc::clone(&known.jwks),
        );
        self.state.trust(Trust {
            jwks,
            jwks_uri: metadata.jwks_uri.clone(),
            critical: metadata.critical.clone(),
        });
    }

    /// This receiver's stream, which is made when there is none.
    async fn stream(&self, metadata: &Metadata) -> Result<Stream, Problem> {
        let (method, delivery) = match &self.way {
            Way::Feed | Way::Poll => (POLL, json!({ "method": POLL })),
            Way::Push(push) => (
                PUSH,
                json!({
                    "method": PUSH,
                    "endpoint_url": push.url,
                    "authorization_header": push.secret,
                }),
            ),
        };
        let streams = self.transmitter.streams(metadata).await?.into_iter();
        let own = streams.filter(|stream| self.owns(stream));
        let known = own.max_by_key(|stream| stream.delivery.method == method);
        let Some(mut stream) = known else {
            let wanted = json!({
                "delivery": delivery,
                "events_requested": self.events,
                "description": self.state.name.description,
            });
            let stream = self.transmitter.create(metadata, &wanted).await?;
            self.check(metadata, &stream).await?;
            return Ok(stream);
        };
        self.check(metadata, &stream).await?;
        let mut changes = json!({ "stream_id": stream.stream_id });
        if stream.events_requested != self.events {
            changes["events_requested"] = json!(self.events);
        }
        // The secret of an earlier process is not known any more, and that
        // process may have been told in another way.
        if method == PUSH || stream.delivery.method != method {
            changes["delivery"] = delivery;
        }
        if changes.as_object().is_some_and(|changes| changes.len() > 1) {
            stream = self.transmitter.update(metadata, &changes).await?;
        }
        let id = &stream.stream_id;
        if self.transmitter.is_stopped(metadata, id).await? {
            // For one that is disabled nothing was kept (SSF 1.0 §8.1.2).
            self.state.lacks_past();
            self.transmitter.enable(metadata, id).await?;
        }
        Ok(stream)
    }

    fn owns(&self, stream: &Stream) -> bool {
        stream.description.as_deref() == Some(&self.state.name.description)
    }

    /// Nobody will find a stream with a drawn name again.
    async fn leave(&self) -> Result<(), Problem> {
        let metadata = self.transmitter.discover().await?;
        let streams = self.transmitter.streams(&metadata).await?;
        for stream in streams.iter().filter(|stream| self.owns(stream)) {
            self.transmitter
                .delete(&metadata, &stream.stream_id)
                .await?;
        }
        Ok(())
    }

    /// A stream for somebody else is of no use, and nobody's.
    async fn check(&self, metadata: &Metadata, stream: &Stream) -> Result<(), Problem> {
        if stream.iss == self.state.issuer && stream.aud.contains(&self.state.resource) {
            return Ok(());
        }
        self.transmitter.delete(metadata, &stream.stream_id).await?;
        Err(Problem::Final(format!(
            "the transmitter's stream is of {} for {}: these credentials are not this resource's",
            stream.iss,
            stream.aud.iter().collect::<Vec<_>>().join(", ")
        )))
    }

    /// Where a stream is asked for SETs, and told what became of them.
    fn polled(&self, stream: &Stream) -> Result<Url, Problem> {
        let url = stream.delivery.endpoint_url.as_deref();
        self.transmitter
            .named(url.ok_or(Problem::Answer("the stream has no endpoint_url"))?)
    }

    /// Has the stream proved for as long as it is what it was.
    async fn heartbeat(&self, metadata: &Metadata, stream: &Stream) -> Result<Infallible, Problem> {
        tokio::select! {
            ended = self.prove(metadata, stream) => ended,
            () = self.state.stopped() => Err(Problem::Stopped),
            () = self.state.shared() => Err(Problem::Shared),
        }
    }

    /// Has the stream proved at intervals (SSF 1.0 §8.1.4), which also keeps
    /// it from being unused for too long (§8.1.1, `inactivity_timeout`).
    async fn prove(&self, metadata: &Metadata, stream: &Stream) -> Result<Infallible, Problem> {
        let (state, clock) = (&self.state, &self.state.clock);
        let unused = stream.inactivity_timeout.unwrap_or(i64::MAX);
        let interval = self.interval.min(unused / 2).max(AGAIN);
        let (mut missed, mut put_off) = (0, 0);
        loop {
            state.tidy();
            let name = format!("{}.{}", state.name.mark, random_name()?);
            let mut echo = state.expect(&name);
            let proved = async {
                let id = &stream.stream_id;
                self.transmitter.verify(metadata, id, &name).await?;
                // Fails only when the state is gone, which is held here.
                let _ = echo.wait_for(|echoed| echoed.as_ref() == Some(&name)).await;
                Ok(())
            };
            let pause = tokio::select! {
                proved = proved => match proved {
                    Ok(()) => {
                        (missed, put_off) = (0, 0);
                        interval
                    }
                    Err(Problem::Gone) => return Err(Problem::Gone),
                    Err(Problem::TooSoon(seconds)) => {
                        put_off += seconds;
                        if put_off > ECHO {
                            state.degrade(Flag::Echo, "verification events are put off");
                        }
                        seconds
                    }
                    Err(problem) => {
                        state.degrade(Flag::Delivery, &problem.to_string());
                        AGAIN
                    }
                },
                () = clock.sleep(ECHO) => {
                    state.degrade(Flag::Echo, "a verification event did not come back");
                    missed += 1;
                    AGAIN
                }
            };
            // The stream may have been stopped, or be told another secret.
            if missed == MOST_MISSED {
                return Err(Problem::Mute);
            }
            clock.sleep(pause).await;
        }
    }
}

fn random_name() -> Result<String, Problem> {
    let mut octets = [0; 16];
    rand::fill(&mut octets).map_err(|_| Problem::Answer("there are no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

/// A quarter of a second, doubled with each attempt, and off by up to a
/// quarter of itself, so that servers which lost one transmitter do not all
/// come back at once.
fn pause(attempt: u32) -> Duration {
    let pause = Duration::from_millis(250)
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(MAX_PAUSE);
    let mut octet = [128];
    // Without random bytes the pause is the middle one.
    let _ = rand::fill(&mut octet);
    pause * (384 + u32::from(octet[0])) / 512
}
