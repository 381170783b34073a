//! How far the trail has been handed on, and what is in the way.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The name of a sink that is a file.
pub const FILE: &str = "file";
/// The name of a sink that is a URL.
pub const WEBHOOK: &str = "webhook";
/// The name of a sink that is a syslog receiver.
pub const SYSLOG: &str = "syslog";

/// Every sink that events go to.
#[derive(Debug, Default)]
pub struct Deliveries(Vec<Delivery>);

/// One sink.
#[derive(Debug)]
pub struct Delivery {
    /// What kind of sink it is; its name in the database.
    pub sink: &'static str,
    /// Where the events go.
    pub target: String,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    chains: BTreeMap<String, Progress>,
    trouble: Option<Trouble>,
}

/// How far one tenant's chain has been handed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Position of the last row that the sink surely has.
    pub delivered: i64,
    /// Position of the last row there is.
    pub written: i64,
}

/// Why a sink gets nothing at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// What it says.
    pub why: String,
}

impl Deliveries {
    /// To these sinks, of which nobody has heard yet.
    pub fn new(sinks: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let sinks = sinks.into_iter().map(|(sink, target)| Delivery {
            sink,
            target,
            state: Mutex::default(),
        });
        Self(sinks.collect())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Delivery] {
        &self.0
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, sink: &str) -> Option<&Delivery> {
        self.0.iter().find(|delivery| delivery.sink == sink)
    }
}

impl Delivery {
    /// How far a tenant's chain has been handed on; none before that is known.
    #[must_use]
    pub fn progress(&self, tenant: &str) -> Option<Progress> {
        self.state().chains.get(tenant).copied()
    }

    /// Rows that are written and not delivered, of all tenants of this node.
    #[must_use]
    pub fn lag(&self) -> i64 {
        let state = self.state();
        let behind = state.chains.values();
        behind.map(|one| (one.written - one.delivered).max(0)).sum()
    }

    /// What is in the way.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.state().trouble.clone()
    }

    /// Says how far a chain is.
    pub fn set_progress(&self, tenant: &str, progress: Progress) {
        self.state().chains.insert(tenant.to_owned(), progress);
    }

    /// Says that something is in the way, from now, Unix milliseconds; whether that is new.
    pub fn set_trouble(&self, now: i64, why: &str) -> bool {
        let trouble = &mut self.state().trouble;
        let since = trouble.as_ref().map_or(now, |known| known.since);
        let why = why.to_owned();
        trouble.replace(Trouble { since, why }).is_none()
    }

    /// Says that nothing is in the way; whether something was.
    pub fn clear_trouble(&self) -> bool {
        self.state().trouble.take().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
