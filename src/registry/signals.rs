//! The last signals of all tenants, in memory and in order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use entity::signal as row;
use serde_json::Value;
use tokio::sync::watch;

use super::RegistryError;
use crate::{
    signals::{Audience, EventKind, Level},
    store::signals::AT_HAND,
};

/// A signal, read once.
#[derive(Debug)]
pub struct Signal {
    /// The stored row.
    pub row: row::Model,
    /// What it is about.
    pub level: Level,
    /// Whom it is for.
    pub audience: Audience,
    /// Its event type.
    pub kind: &'static EventKind,
    /// `sub_id`.
    pub subject: Value,
}

impl Signal {
    /// Reads a stored signal.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_row(row: row::Model) -> Result<Arc<Self>, RegistryError> {
        let broken = |why: &str| {
            RegistryError::Row("signal", row.id.clone(), row.tenant.clone(), why.into())
        };
        let level = Level::parse(&row.level).ok_or_else(|| broken("its level is not known"))?;
        let kind = EventKind::by_name(&row.kind).ok_or_else(|| broken("its kind is not known"))?;
        let subject = serde_json::from_str(&row.subject).map_err(|_| broken("its subject"))?;
        Ok(Arc::new(Self {
            audience: Audience::parse(level, &row.audience),
            level,
            kind,
            subject,
            row,
        }))
    }

    /// Its place.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.row.seq
    }
}

/// Signals in the order of their places. Nodes hear of each other's out of order: one that comes
/// too early waits until what is before it has come.
#[derive(Debug)]
pub struct Signals {
    state: RwLock<State>,
    head: watch::Sender<i64>,
}

#[derive(Debug, Default)]
struct State {
    /// The last ones up to `head`.
    recent: VecDeque<Arc<Signal>>,
    /// Every signal after this place, up to `head`, is among them.
    from: i64,
    /// Up to here there is no gap.
    head: i64,
    /// What came too early; at some places nothing is left.
    early: BTreeMap<i64, Option<Arc<Signal>>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            head: watch::Sender::new(0),
        }
    }
}

impl Signals {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with those that are stored; `head` was the last one's place before they were read.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn load(&self, head: i64, rows: Vec<row::Model>) -> Result<(), RegistryError> {
        let full = rows.len() as u64 >= AT_HAND;
        let signals = rows.into_iter().map(Signal::from_row);
        let signals = signals.collect::<Result<VecDeque<_>, _>>()?;
        let mut state = self.write();
        // Old ones are forgotten, so a gap before the head means nothing.
        state.from = match signals.front() {
            Some(first) if full => first.seq() - 1,
            _ => 0,
        };
        state.recent.clear();
        state.head = head;
        state.early = state.early.split_off(&(head + 1));
        for signal in signals {
            if signal.seq() <= head {
                state.recent.push_back(signal);
            } else {
                state.early.insert(signal.seq(), Some(signal));
            }
        }
        state.close_up();
        self.head.send_replace(state.head);
        Ok(())
    }

    /// Adds one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn add(&self, row: &row::Model) -> Result<(), RegistryError> {
        let signal = Signal::from_row(row.clone())?;
        self.take([(signal.seq(), Some(signal))]);
        Ok(())
    }

    /// Adds what others have added. At the places that are `gone` nothing is stored any more: it
    /// has expired, or its tenant has ended. What comes behind them must not wait for it.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn hear(&self, rows: Vec<row::Model>, gone: Vec<i64>) -> Result<(), RegistryError> {
        let signals = rows.into_iter().map(Signal::from_row);
        let signals = signals.collect::<Result<Vec<_>, _>>()?;
        let came = signals.into_iter().map(|one| (one.seq(), Some(one)));
        self.take(came.chain(gone.into_iter().map(|place| (place, None))));
        Ok(())
    }

    fn take(&self, places: impl IntoIterator<Item = (i64, Option<Arc<Signal>>)>) {
        let mut state = self.write();
        for (place, signal) in places {
            if place > state.head {
                // One that was heard of in time stays, though its row is gone by now.
                state.early.entry(place).or_insert(signal);
            }
        }
        state.close_up();
        self.head.send_if_modified(|head| {
            let moved = *head != state.head;
            *head = state.head;
            moved
        });
    }

    /// How many places wait for one before them. There are some for a moment where nodes share a
    /// database; where there are some for long, receivers are told nothing.
    #[must_use]
    pub fn early(&self) -> usize {
        self.read().early.len()
    }

    /// The place of the last one before which nothing is missing.
    #[must_use]
    pub fn head(&self) -> i64 {
        *self.head.borrow()
    }

    /// Tells when it moves.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// Those after a place, at most so many; nothing when memory does not reach back that far.
    #[must_use]
    pub fn after(&self, seq: i64, most: usize) -> Option<Vec<Arc<Signal>>> {
        let state = self.read();
        if seq < state.from {
            return None;
        }
        let first = state.recent.partition_point(|signal| signal.seq() <= seq);
        Some(state.recent.range(first..).take(most).cloned().collect())
    }

    /// The place of the one of this name, if it is in memory: the last ones are looked at first.
    #[must_use]
    pub fn place_of(&self, id: &str) -> Option<i64> {
        let state = self.read();
        let last = state.early.values().flatten().chain(&state.recent);
        last.rev()
            .find(|signal| signal.row.id == id)
            .map(|s| s.seq())
    }

    /// The one at a place, if it is in memory.
    #[must_use]
    pub fn at(&self, seq: i64) -> Option<Arc<Signal>> {
        let state = self.read();
        let at = state
            .recent
            .binary_search_by_key(&seq, |signal| signal.seq());
        at.ok().and_then(|at| state.recent.get(at).cloned())
    }
}

impl State {
    /// Moves on over what has come.
    fn close_up(&mut self) {
        while let Some(signal) = self.early.remove(&(self.head + 1)) {
            self.head += 1;
            self.recent.extend(signal);
        }
        while self.recent.len() as u64 > AT_HAND {
            if let Some(oldest) = self.recent.pop_front() {
                self.from = oldest.seq();
            }
        }
    }
}
