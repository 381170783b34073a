//! How the writer fares, for whoever watches.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use sea_orm::DbErr;

/// Figures since the start, and the trouble of now.
#[derive(Debug, Default)]
pub struct State {
    transactions: AtomicU64,
    commands: AtomicU64,
    failure: ArcSwapOption<String>,
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
        self.failure.load_full()
    }

    pub(super) fn committed(&self, commands: usize) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
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
