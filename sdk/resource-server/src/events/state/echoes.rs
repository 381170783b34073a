//! Verification events: the proof that events arrive, and arrive here alone.

use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{MAX_EXPECTED, Notes, Past, State};
use crate::events::health::Flag;
use crate::events::set::{self, Set, SetError};

impl State {
    /// A verification event (SSF 1.0 §8.1.4). One without a state is the
    /// transmitter's own, and proves nothing.
    pub(super) fn echoed(&self, set: &Set) -> Result<(), SetError> {
        let Some(state) = set::text(&set.payload, "state")? else {
            return Ok(());
        };
        let mut notes = self.notes();
        let found = notes.expected.iter().position(|(sent, _)| *sent == state);
        let Some(at) = found else {
            return self.unexpected(&mut notes, &state, set.iat);
        };
        let newest = at + 1 == notes.expected.len();
        if let Some((_, sent)) = notes.expected.remove(at)
            && newest
        {
            notes.lag = Some(sent.elapsed());
            notes.verified_at = Some(self.clock.now());
            tracing::debug!(lag = ?notes.lag, "a verification event came back");
            self.recovered(&mut notes, set.iat);
            drop(notes);
            self.echoes.send_replace(Some(state));
        }
        Ok(())
    }

    /// A verification event that is not on its way to here.
    fn unexpected(&self, notes: &mut Notes, state: &str, iat: i64) -> Result<(), SetError> {
        // Somebody asked for it before this process began.
        if self.attention.look().has(Flag::Starting) || iat < self.began {
            return Ok(());
        }
        if !self.name.asked_for(state) {
            if !std::mem::replace(&mut notes.said_shared, true) {
                tracing::warn!(
                    stream_id = notes.stream_id,
                    "another receiver uses this stream, so that each gets only a part of what \
                     is revoked: no two may have one name (Events::instance)"
                );
            }
            // What the other one took did not arrive here.
            self.forget_past(notes);
            self.shared.notify_one();
        }
        Err(SetError::State)
    }

    /// Events arrive, and all that came before this one has.
    fn recovered(&self, notes: &mut Notes, iat: i64) {
        if std::mem::replace(&mut notes.past, Past::Settled) == Past::Untold {
            let until = self.clock.now().saturating_add(self.needed);
            self.cold.0.store(iat, Ordering::Release);
            self.cold.1.store(until, Ordering::Release);
            self.attention.set(Flag::Cold);
        }
        let until = self.clock.now().saturating_add(self.max_age);
        self.proved_until.store(until, Ordering::Release);
        let was = self.attention.look().trouble();
        for flag in [Flag::Starting, Flag::Delivery, Flag::Echo] {
            self.attention.clear(flag);
        }
        if was.is_some() {
            tracing::info!(lag = ?notes.lag, "revocations arrive");
        }
    }

    /// Waits until it is known that somebody else receives from the stream.
    pub(in crate::events) async fn shared(&self) {
        self.shared.notified().await;
    }

    /// Expects the echo of a state that is about to be sent.
    pub(in crate::events) fn expect(&self, state: &str) -> watch::Receiver<Option<String>> {
        let mut notes = self.notes();
        if notes.expected.len() == MAX_EXPECTED {
            notes.expected.pop_front();
        }
        notes.expected.push_back((state.to_owned(), Instant::now()));
        self.echoes()
    }

    /// Changes whenever a verification event came back.
    pub(in crate::events) fn echoes(&self) -> watch::Receiver<Option<String>> {
        self.echoes.subscribe()
    }
}
