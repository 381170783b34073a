//! Nodes that share a database hear of each other's changes.
//!
//! Whoever commits news rings a doorbell (`NOTIFY`); the truth is how far each node has come, and
//! that is looked up with every ring and once a second. A ring that is missed costs a second,
//! never a change. What is heard is taken over by the journal's writer, which alone changes the
//! registry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use sqlx::postgres::PgListener;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use crate::{
    journal::Refresh,
    store::{DbErr, Lease, outbox::DOORBELL},
};

/// How often the others' positions are looked up without a ring.
const ROUND: Duration = Duration::from_secs(1);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two who catch up.
const BREATH: Duration = Duration::from_millis(2);
/// Rounds that may fail before what is in memory counts as old.
const ROUNDS: u32 = 3;

/// Whether this node knows what the others have done.
#[derive(Debug, Default)]
pub struct Feed {
    /// None for a node alone.
    refresh: Option<Refresh>,
    /// Held while somebody catches up.
    turn: Mutex<()>,
    /// How often that was begun.
    begun: AtomicU64,
    stale: AtomicBool,
    heard: ArcSwapOption<Instant>,
}

impl Feed {
    /// Whether it does. A node alone always does.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !self.stale.load(Ordering::Relaxed)
    }

    /// How long ago it last knew; nothing for a node alone.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let heard = self.heard.load();
        heard.as_ref().map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Whether there are, or may come, other nodes.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.refresh.is_some()
    }

    /// That of a node which shares its database.
    #[must_use]
    pub fn shared(refresh: Refresh) -> Self {
        Self {
            refresh: Some(refresh),
            ..Self::default()
        }
    }

    /// Takes over what the others have committed by now, for whoever is about to refuse what it
    /// does not know: another node may have answered with it a moment ago. Says whether it is
    /// worth looking again, which it never is on a node alone.
    pub async fn catch_up(&self) -> bool {
        let Some(refresh) = &self.refresh else {
            return false;
        };
        // One for all who wait, and never many in a row: strangers can ask for it.
        let asked = self.begun.load(Ordering::SeqCst);
        let _turn = self.turn.lock().await;
        if self.begun.load(Ordering::SeqCst) > asked {
            return true;
        }
        sleep(BREATH).await;
        self.begun.fetch_add(1, Ordering::SeqCst);
        matches!(timeout(PATIENCE, refresh.now()).await, Ok(Ok(())))
    }

    fn set(&self, fresh: bool) {
        if self.stale.swap(!fresh, Ordering::Relaxed) == fresh {
            if fresh {
                tracing::info!("the other nodes' changes are heard again");
            } else {
                tracing::error!("the other nodes' changes are not heard");
            }
        }
    }
}

/// Follows the other nodes until the writer has ended.
pub async fn follow(url: String, node: String, lease: Lease, refresh: Refresh, feed: Arc<Feed>) {
    let mut follower = Follower {
        url,
        node,
        lease,
        listener: None,
        refresh,
        feed,
        failures: 0,
    };
    let ended = follower.refresh.clone();
    tokio::select! {
        () = ended.closed() => {}
        () = follower.run() => {}
    }
}

struct Follower {
    url: String,
    node: String,
    lease: Lease,
    listener: Option<PgListener>,
    refresh: Refresh,
    feed: Arc<Feed>,
    failures: u32,
}

impl Follower {
    async fn run(&mut self) {
        loop {
            let outcome = timeout(PATIENCE, self.round()).await;
            let outcome = outcome.unwrap_or_else(|_| Err(DbErr::Custom("it took too long".into())));
            self.failures = match outcome {
                Ok(()) => {
                    self.feed.heard.store(Some(Arc::new(Instant::now())));
                    0
                }
                Err(error) => {
                    tracing::debug!(%error, "the other nodes' changes cannot be read");
                    self.failures.saturating_add(1)
                }
            };
            self.feed.set(self.failures < ROUNDS);
            self.wait().await;
        }
    }

    /// Looks whether the name is still ours and the doorbell hangs, and takes over what is new.
    async fn round(&mut self) -> Result<(), DbErr> {
        let ours = self.lease.holds().await?;
        self.refresh.suspend(!ours);
        if !ours {
            let why = format!("another process is node '{}' now", self.node);
            return Err(DbErr::Custom(why));
        }
        if self.listener.is_none() {
            let away = |error: sqlx::Error| DbErr::Custom(error.to_string());
            let mut listener = PgListener::connect(&self.url).await.map_err(away)?;
            listener.listen(DOORBELL).await.map_err(away)?;
            self.listener = Some(listener);
        }
        // After the doorbell was hung: what was rung before is seen here.
        self.refresh.now().await
    }

    /// Until another node rings, or a round is over.
    async fn wait(&mut self) {
        let Some(listener) = &mut self.listener else {
            return sleep(ROUND).await;
        };
        let rung = async {
            loop {
                match listener.try_recv().await {
                    Ok(Some(ring)) if ring.payload() == self.node => {}
                    Ok(Some(_)) => return true,
                    // The connection was lost, and rings with it.
                    Ok(None) | Err(_) => return false,
                }
            }
        };
        match timeout(ROUND, rung).await {
            Ok(true) => while let Some(_more) = listener.next_buffered() {},
            Ok(false) => {
                self.listener = None;
                sleep(ROUND / 10).await;
            }
            Err(_) => {}
        }
    }
}
