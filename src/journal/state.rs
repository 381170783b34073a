//! How the writer fares, for whoever watches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use sea_orm::DbErr;

use super::{Command, Outcome};
use crate::{store::Change, telemetry::metrics};

/// Figures since the start, and the trouble of now.
#[derive(Debug, Default)]
pub struct State {
    transactions: AtomicU64,
    commands: AtomicU64,
    failure: ArcSwapOption<String>,
    /// Another process is this node.
    suspended: AtomicBool,
    numbers: metrics::Journal,
}

impl State {
    /// Transactions that were committed.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Commands in them.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Why the database did not take the last write; none when it did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<String>> {
        if self.suspended.load(Ordering::Relaxed) {
            return Some(Arc::new(
                "another process is this node (storage.node)".into(),
            ));
        }
        self.failure.load_full()
    }

    pub(super) fn suspend(&self, suspended: bool) {
        if self.suspended.swap(suspended, Ordering::Relaxed) != suspended && suspended {
            tracing::error!("another process is this node (storage.node): nothing is written");
        }
    }

    /// What is counted for the metrics.
    #[must_use]
    pub const fn numbers(&self) -> &metrics::Journal {
        &self.numbers
    }

    pub(super) fn committed(
        &self,
        commands: &[Command],
        outcomes: &[Outcome],
        changes: &[Change],
        took: Duration,
    ) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.commands
            .fetch_add(commands.len() as u64, Ordering::Relaxed);
        let kept = commands.iter().zip(outcomes);
        let kept = kept.filter(|(_, outcome)| outcome.is_ok());
        let events = kept.map(|(command, _)| command.audit.len()).sum();
        self.numbers.committed(commands.len(), events, took);
        for change in changes {
            match change {
                Change::RevokeToken { .. } => self.numbers.revoked("token", 1),
                Change::GrantsEnded { ids, .. } => self.numbers.revoked("grant", ids.len()),
                _ => {}
            }
        }
    }

    pub(super) fn worked(&self) {
        if self.failure.load().is_some() {
            self.failure.store(None);
            tracing::info!("the database takes writes again");
        }
    }

    pub(super) fn failed(&self, error: &DbErr) {
        let text = error.to_string();
        let known = self.failure.swap(Some(Arc::new(text.clone())));
        // Said once, not for every request that it fails.
        if known.is_none_or(|known| *known != text) {
            tracing::error!(error = text, "the database does not take writes");
        }
    }
}
