//! Who pushes what: nodes that share a database share the streams, each held by one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{courier::Courier, progress::Progress, write_down};
use crate::{
    app::AppState,
    journal::{Command, JournalError},
    registry::Tenant,
    store::{
        self, Change, DbErr,
        progress::{Hold, Step},
    },
};

/// How often a node says that it is there, where there may be others.
const ROUND: Duration = Duration::from_secs(1);
/// Milliseconds for which it holds its streams.
const HOLD: i64 = 4000;
/// How often a node alone looks, though nothing has changed.
const NOW_AND_THEN: Duration = Duration::from_secs(30);
/// After a failure.
const BREATH: Duration = Duration::from_millis(500);

/// Tenant and id.
type Key = (String, String);

/// Has couriers for this node's share of the pushed streams, until the server stops.
pub(in crate::streams) async fn share_out(app: AppState, mut stopped: watch::Receiver<bool>) {
    let (progress, reports) = mpsc::unbounded_channel();
    let writing = tokio::spawn(write_down(app.clone(), reports));
    let mut shares = Shares {
        connections: Arc::new(Semaphore::new(app.config.events.push_connections)),
        couriers: BTreeMap::new(),
        progress,
        app,
    };
    loop {
        let pause = match shares.round().await {
            Ok(()) if shares.app.feed.is_shared() => ROUND,
            Ok(()) => NOW_AND_THEN,
            Err(error) => {
                tracing::warn!(%error, "pushed streams cannot be shared out");
                sleep(BREATH).await;
                BREATH
            }
        };
        tokio::select! {
            _ = timeout(pause, shares.app.registry.streams_changed()) => {}
            _ = stopped.changed() => break,
        }
    }
    shares.stop().await;
    let _ = writing.await;
}

struct Shares {
    app: AppState,
    couriers: BTreeMap<Key, JoinHandle<()>>,
    progress: Progress,
    connections: Arc<Semaphore>,
}

/// Why a round was not made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl Shares {
    async fn round(&mut self) -> Result<(), Failure> {
        self.couriers.retain(|_, courier| !courier.is_finished());
        let wanted = self.wanted();
        let alone = !self.app.feed.is_shared();
        let new = wanted.keys().any(|key| !self.couriers.contains_key(key));
        if !(new || !alone && !wanted.is_empty()) {
            return Ok(());
        }
        let node = self.app.config.storage.node.clone();
        let now = self.app.clock.millis();
        let (take, release) = self.fair_share(&wanted, now).await?;
        let hold = Hold {
            node: node.clone(),
            take,
            alone,
            release,
            now,
            until: now + HOLD,
        };
        let command = Command::new(vec![Change::HoldStreams(hold)], Vec::new());
        self.app.journal.commit(command).await?;
        let mut mine = BTreeMap::new();
        for row in store::progress::held(&self.app.db, now).await? {
            if row.node == node {
                let step = Step::of(row);
                mine.insert((step.tenant.clone(), step.stream.clone()), step);
            }
        }
        self.couriers.retain(|key, courier| {
            let stays = mine.contains_key(key);
            if !stays {
                courier.abort();
            }
            stays
        });
        for (key, step) in mine {
            if let Some(tenant) = wanted.get(&key)
                && !self.couriers.contains_key(&key)
            {
                let (app, progress) = (self.app.clone(), self.progress.clone());
                let connections = self.connections.clone();
                let courier = Courier::new(app, tenant.clone(), step, progress, connections);
                self.couriers.insert(key, tokio::spawn(courier.run()));
            }
        }
        Ok(())
    }

    /// Every stream that is to be pushed by somebody.
    fn wanted(&self) -> BTreeMap<Key, Arc<Tenant>> {
        let mut wanted = BTreeMap::new();
        for tenant in self.app.registry.all() {
            tenant.each_stream(|stream| {
                let receiver = tenant.client(stream.client_id());
                let hears = receiver.is_some_and(|client| !client.is_disabled());
                if hears && stream.is_enabled() && stream.endpoint_url().is_some() {
                    let key = (tenant.name().to_owned(), stream.id().to_owned());
                    wanted.insert(key, tenant.clone());
                }
            });
        }
        wanted
    }

    /// What to take, and what to leave to others.
    async fn fair_share(
        &self,
        wanted: &BTreeMap<Key, Arc<Tenant>>,
        now: i64,
    ) -> Result<(Vec<Key>, Vec<Key>), DbErr> {
        let new = wanted
            .keys()
            .filter(|key| !self.couriers.contains_key(*key));
        if !self.app.feed.is_shared() {
            return Ok((new.cloned().collect(), Vec::new()));
        }
        let node = &self.app.config.storage.node;
        let others = store::progress::other_couriers(&self.app.db, node, now).await?;
        let share = wanted.len().div_ceil(others + 1);
        let release = self.couriers.keys().skip(share).cloned().collect();
        let held = store::progress::held(&self.app.db, now).await?;
        let held = held.into_iter().filter(|row| row.node != *node);
        let held: BTreeSet<Key> = held.map(|row| (row.tenant, row.stream)).collect();
        let free = new.filter(|key| !held.contains(*key));
        let room = share.saturating_sub(self.couriers.len());
        Ok((free.take(room).cloned().collect(), release))
    }

    async fn stop(self) {
        for courier in self.couriers.values() {
            courier.abort();
        }
        for (_, courier) in self.couriers {
            let _ = courier.await;
        }
    }
}
