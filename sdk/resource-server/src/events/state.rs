//! What is known of revocations, and what a SET changes about it.

mod echoes;
mod effects;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use url::Url;

use super::deny::{Deny, Judgement};
use super::health::{Attention, Flag, Health, Trouble};
use super::name::Name;
use super::seen::Seen;
use super::set::{self, Expected, SetError};
use super::settings::Hooks;
use crate::claims::AccessClaims;
use crate::clock::Clock;
use crate::introspection::Introspector;
use crate::jwks::Jwks;
use crate::verifier::VerifyError;

/// Seconds that clocks may differ by, when something is given up.
const SLACK: i64 = 60;

/// How many verification events may be on their way.
const MAX_EXPECTED: usize = 16;

/// Whether the state speaks for a token that it says nothing about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// It was not revoked.
    Known,
    /// It may have been.
    Unknown,
}

/// Everything that requests and arriving SETs share.
pub(super) struct State {
    pub(super) issuer: String,
    pub(super) resource: String,
    pub(super) clock: Clock,
    pub(super) name: Name,
    /// When this process began to receive.
    began: i64,
    pub(super) attention: Arc<Attention>,
    /// Seconds a token lives at most.
    pub(super) lifetime: i64,
    /// Seconds that a proof counts.
    max_age: i64,
    /// Until when the last one does. Timers find a lack of proof as well, but
    /// in a process that was frozen they run after the first requests.
    proved_until: AtomicI64,
    /// The least time between two fetches of the transmitter's keys.
    pub(super) keys_floor: Duration,
    /// Seconds from its `iat` for which something about it has to be known.
    pub(super) needed: i64,
    deny: Deny,
    hooks: Hooks,
    /// The answers to forget when something is revoked.
    answers: Option<Arc<Introspector>>,
    trust: ArcSwapOption<Trust>,
    changes: watch::Sender<u64>,
    echoes: watch::Sender<Option<String>>,
    /// The transmitter said that it stopped the stream, or set it going.
    stop: Notify,
    /// Somebody else receives from the stream.
    shared: Notify,
    doubt_until: AtomicI64,
    /// Tokens with an `iat` up to the first are unknown until the second.
    cold: (AtomicI64, AtomicI64),
    notes: Mutex<Notes>,
}

/// What discovery said.
pub(super) struct Trust {
    pub(super) jwks: Arc<Jwks>,
    pub(super) jwks_uri: Url,
    pub(super) critical: Vec<String>,
}

/// What is only written down.
#[derive(Default)]
struct Notes {
    seen: Seen,
    /// The states of verification events that are on their way, the newest last.
    expected: VecDeque<(String, Instant)>,
    past: Past,
    stream_id: Option<String>,
    /// That the stream is shared was said.
    said_shared: bool,
    lag: Option<Duration>,
    verified_at: Option<i64>,
    received: u64,
    repeated: u64,
    refused: u64,
}

/// Whether the stream told what was revoked before it was followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Past {
    /// It did not.
    #[default]
    Untold,
    /// It began to. A verification event that was asked for since comes after
    /// all of it.
    Coming,
    /// It is here, or tokens from then are unknown.
    Settled,
}

/// What a [`State`] is made from.
pub(super) struct Parts {
    pub(super) issuer: String,
    pub(super) resource: String,
    pub(super) clock: Clock,
    pub(super) name: Name,
    pub(super) lifetime: i64,
    /// Seconds that a proof counts.
    pub(super) max_age: i64,
    /// Seconds that tokens are accepted past their end.
    pub(super) leeway: i64,
    pub(super) keys_floor: Duration,
    pub(super) capacity: usize,
    pub(super) hooks: Hooks,
    pub(super) answers: Option<Arc<Introspector>>,
}

impl State {
    pub(super) fn new(parts: Parts) -> Self {
        let attention = Arc::new(Attention::new(Flag::Starting));
        let needed = parts
            .lifetime
            .saturating_add(SLACK.max(parts.leeway.saturating_mul(2)));
        Self {
            deny: Deny::new(Arc::clone(&attention), needed, parts.capacity),
            needed,
            attention,
            issuer: parts.issuer,
            resource: parts.resource,
            began: parts.clock.now(),
            clock: parts.clock,
            name: parts.name,
            lifetime: parts.lifetime,
            max_age: parts.max_age,
            proved_until: AtomicI64::new(i64::MIN),
            keys_floor: parts.keys_floor,
            hooks: parts.hooks,
            answers: parts.answers,
            trust: ArcSwapOption::empty(),
            changes: watch::Sender::new(0),
            echoes: watch::Sender::new(None),
            stop: Notify::new(),
            shared: Notify::new(),
            doubt_until: AtomicI64::new(i64::MIN),
            cold: (AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN)),
            notes: Mutex::default(),
        }
    }

    /// Refuses the token, narrows its scope, or tells whether what is not
    /// said here can be relied on.
    pub(super) fn judge(&self, claims: &mut AccessClaims) -> Result<Certainty, VerifyError> {
        // A marker may be given up before such a token ends.
        let outlives = claims.exp.saturating_sub(claims.iat) > self.lifetime;
        let (look, now) = (self.attention.look(), self.clock.now());
        let stale = self.is_stale(now);
        if look.is_clear() && !outlives && !stale {
            return Ok(Certainty::Known);
        }
        if look.has(Flag::Markers) {
            match self.deny.judge(claims, now) {
                Judgement::Stands => {}
                Judgement::Ended => return Err(VerifyError::Revoked),
                Judgement::Narrowed(scope) => claims.scope = Some(scope),
            }
        }
        let doubtful = look.has(Flag::Doubt) && now < self.doubt_until.load(Ordering::Acquire);
        let cold = look.has(Flag::Cold) && self.is_before_start(claims, now);
        if outlives || stale || doubtful || cold || look.trouble().is_some() {
            Ok(Certainty::Unknown)
        } else {
            Ok(Certainty::Known)
        }
    }

    /// Whether the token is over.
    pub(super) fn ends(&self, claims: &AccessClaims) -> bool {
        self.attention.look().has(Flag::Markers)
            && self.deny.judge(claims, self.clock.now()) == Judgement::Ended
    }

    /// Whether the last proof is too old.
    fn is_stale(&self, now: i64) -> bool {
        now >= self.proved_until.load(Ordering::Acquire)
    }

    fn is_before_start(&self, claims: &AccessClaims, now: i64) -> bool {
        claims.iat <= self.cold.0.load(Ordering::Acquire)
            && now < self.cold.1.load(Ordering::Acquire)
    }

    /// Changes whenever something was revoked.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn trust(&self, trust: Trust) {
        self.trust.store(Some(Arc::new(trust)));
    }

    pub(super) fn trusted(&self) -> Option<Arc<Trust>> {
        self.trust.load_full()
    }

    /// Reads a SET and does what it says. When this returns, the next request
    /// feels it.
    ///
    /// # Errors
    /// [`SetError`]; nothing was changed then.
    pub(super) async fn receive(&self, compact: &str) -> Result<(), SetError> {
        let taken = match self.trusted() {
            None => Err(SetError::Unavailable),
            Some(trust) => self.check_and_take(compact, &trust).await,
        };
        let mut notes = self.notes();
        notes.received += 1;
        if let Err(error) = taken {
            notes.refused += 1;
            tracing::warn!(%error, code = error.code(), "a SET was not taken");
        }
        taken
    }

    /// The same for a SET that was fetched, which nobody sends again when it
    /// is refused: a key that is unknown may be too new to be fetched just now.
    ///
    /// # Errors
    /// As [`State::receive`].
    pub(super) async fn receive_only_once(&self, compact: &str) -> Result<(), SetError> {
        let taken = self.receive(compact).await;
        if taken != Err(SetError::UnknownKey) {
            return taken;
        }
        let floor = i64::try_from(self.keys_floor.as_secs()).unwrap_or(i64::MAX);
        self.clock.sleep(floor).await;
        let taken = self.receive(compact).await;
        if taken == Err(SetError::UnknownKey) {
            let until = self.clock.now().saturating_add(self.needed);
            self.doubt(until, "nobody knows what it says");
        }
        taken
    }

    async fn check_and_take(&self, compact: &str, trust: &Trust) -> Result<(), SetError> {
        let now = self.clock.now();
        let expected = Expected {
            issuer: &self.issuer,
            resource: &self.resource,
            now,
        };
        let set = set::verify(compact, &trust.jwks, expected).await?;
        {
            let mut notes = self.notes();
            if notes.seen.contains(&set.jti, now) {
                notes.repeated += 1;
                return Ok(());
            }
        }
        self.take(&set, trust, now)?;
        self.notes().seen.insert(&set.jti, now);
        Ok(())
    }

    pub(super) fn degrade(&self, flag: Flag, why: &str) {
        if self.attention.set(flag) {
            tracing::warn!(
                why,
                "revocations do not arrive: all tokens are asked about or refused"
            );
        }
    }

    /// Waits until the transmitter says that it stopped the stream, or set it
    /// going.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }

    /// What was revoked before, and until now, has to be told: by a stream
    /// that was not followed, or that threw away what it should have delivered.
    pub(super) fn lacks_past(&self) {
        self.forget_past(&mut self.notes());
    }

    fn forget_past(&self, notes: &mut Notes) {
        notes.past = Past::Untold;
        // What was asked for earlier may come back in the midst of it.
        notes.expected.clear();
        self.attention.set(Flag::Starting);
    }

    /// A stream is followed, which tells the past first when it `replays`.
    pub(super) fn follows(&self, stream_id: &str, replays: bool) {
        if !self.is_settled(stream_id) {
            self.lacks_past();
        }
        let mut notes = self.notes();
        notes.stream_id = Some(stream_id.to_owned());
        if notes.past != Past::Settled && replays {
            notes.past = Past::Coming;
        }
    }

    /// Whether this stream need not tell the past any more.
    pub(super) fn is_settled(&self, stream_id: &str) -> bool {
        let notes = self.notes();
        notes.past == Past::Settled && notes.stream_id.as_deref() == Some(stream_id)
    }

    /// Gives up what is over.
    pub(super) fn tidy(&self) {
        let now = self.clock.now();
        self.deny.forget_before(now);
        let look = self.attention.look();
        if look.has(Flag::Cold) && now >= self.cold.1.load(Ordering::Acquire) {
            self.attention.clear(Flag::Cold);
        }
        if look.has(Flag::Doubt) && now >= self.doubt_until.load(Ordering::Acquire) {
            self.attention.clear(Flag::Doubt);
            // An event may have come in between.
            if now < self.doubt_until.load(Ordering::Acquire) {
                self.attention.set(Flag::Doubt);
            }
        }
    }

    pub(super) fn health(&self) -> Health {
        let (look, now) = (self.attention.look(), self.clock.now());
        let in_doubt = look.has(Flag::Doubt) && now < self.doubt_until.load(Ordering::Acquire);
        let stale = self.is_stale(now).then_some(Trouble::NoEcho);
        let is_cold = look.has(Flag::Cold) && now < self.cold.1.load(Ordering::Acquire);
        let remembered = self.deny.len();
        let notes = self.notes();
        Health {
            trouble: look
                .trouble()
                .or(stale)
                .or(in_doubt.then_some(Trouble::Doubt)),
            unknown_before: is_cold.then(|| self.cold.0.load(Ordering::Acquire) + 1),
            lag: notes.lag,
            verified_at: notes.verified_at,
            stream_id: notes.stream_id.clone(),
            remembered,
            received: notes.received,
            repeated: notes.repeated,
            refused: notes.refused,
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
