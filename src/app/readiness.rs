//! Whether this server should be sent requests.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout},
};

use super::App;
use crate::{journal::Command, keys::SigningAlgorithm, store::outbox};

/// How long an answer holds: strangers may ask as often as they like.
const HOLDS: Duration = Duration::from_secs(1);
/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is remembered of it.
#[derive(Debug, Default)]
pub struct Readiness {
    answering: AtomicBool,
    stopping: AtomicBool,
    closed: watch::Sender<bool>,
    last: Mutex<Option<(Instant, Report)>>,
}

impl Readiness {
    /// Whoever connects is answered: before, the server is not ready.
    pub fn begin(&self) {
        self.answering.store(true, Ordering::Relaxed);
    }

    /// The server has been told to stop: from now on it is not ready.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Answers that wait for something to happen end now.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until they do.
    pub async fn closed(&self) {
        // Never an error: the sender is here.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }
}

/// What each check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether all checks hold.
    pub ready: bool,
    /// By name: `ok`, or in a few words what is wrong.
    pub checks: BTreeMap<&'static str, &'static str>,
}

/// That a check holds.
const OK: &str = "ok";

impl App {
    /// Checks whether requests can be answered.
    ///
    /// | check | holds while |
    /// |---|---|
    /// | `accepting` | it has begun to answer, and nobody has told it to stop |
    /// | `journal` | the last commit was made, and another is in time |
    /// | `database` | it can be read in time |
    /// | `signing_keys` | every tenant can sign with every algorithm |
    /// | `nodes` | what other nodes have changed is known here |
    pub async fn ready(&self) -> Report {
        let mut last = self.readiness.last.lock().await;
        let known = last.take().filter(|(at, _)| at.elapsed() < HOLDS);
        let (at, mut report) = match known {
            Some(known) => known,
            None => (Instant::now(), self.check().await),
        };
        *last = Some((at, report.clone()));
        let accepting = if self.readiness.stopping.load(Ordering::Relaxed) {
            "stopping"
        } else if self.readiness.answering.load(Ordering::Relaxed) {
            OK
        } else {
            "starting"
        };
        if accepting != OK {
            report.ready = false;
            report.checks.insert("accepting", accepting);
        }
        report
    }

    async fn check(&self) -> Report {
        let (journal, database) = tokio::join!(self.check_journal(), self.check_database());
        let checks = BTreeMap::from([
            ("accepting", OK),
            ("journal", journal),
            ("database", database),
            ("signing_keys", self.check_keys()),
            ("nodes", self.check_nodes()),
        ]);
        Report {
            ready: checks.values().all(|found| *found == OK),
            checks,
        }
    }

    async fn check_journal(&self) -> &'static str {
        // The writer tries by itself until it can again, and has told why it cannot.
        if self.journal.state().failure().is_some() {
            return "the database takes no writes";
        }
        match timeout(PATIENCE, self.journal.commit(Command::default())).await {
            Ok(Ok(())) => OK,
            Ok(Err(error)) => wrong("journal", &error, "cannot commit"),
            Err(late) => wrong("journal", &late, "does not commit in time"),
        }
    }

    async fn check_database(&self) -> &'static str {
        match timeout(PATIENCE, outbox::positions(&self.db)).await {
            Ok(Ok(_)) => OK,
            Ok(Err(error)) => wrong("database", &error, "cannot be read"),
            Err(late) => wrong("database", &late, "does not answer in time"),
        }
    }

    fn check_nodes(&self) -> &'static str {
        if self.feed.is_fresh() {
            OK
        } else {
            "the other nodes' changes are not heard"
        }
    }

    fn check_keys(&self) -> &'static str {
        for tenant in self.registry.all() {
            let keys = tenant.keys();
            let lacks = |algorithm: &SigningAlgorithm| keys.signer(*algorithm).is_err();
            if let Some(algorithm) = SigningAlgorithm::ALL.iter().find(|a| lacks(a)) {
                tracing::warn!(tenant = tenant.name(), ?algorithm, "no key to sign with");
                return "a tenant lacks a key to sign with";
            }
        }
        OK
    }
}

/// The cause is for the log: whoever asks learns which check it is.
fn wrong(check: &str, error: &dyn std::error::Error, words: &'static str) -> &'static str {
    tracing::warn!(check, %error, "not ready");
    words
}
