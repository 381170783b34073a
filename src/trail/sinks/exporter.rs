//! One sink's task: reads the trail behind its cursor, and moves that.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use entity::audit_cursor;
use tokio::{sync::watch, time::Instant};

use super::{Sink, outgoing};
use crate::{
    app::AppState,
    audit::delivery::{Delivery, Progress},
    error::Result,
    journal::Command,
    store::{self, Change, audit::Prefilter},
};

/// Most events handed over at a time.
const BATCH: u64 = 500;
/// Most bytes handed over at a time; an event that is longer goes alone.
const MOST_BYTES: usize = 256 * 1024;
/// Tenants whose events are refused, none having been taken, after which the sink is thought to be
/// away.
const AWAY: usize = 3;
/// Batches between two looks at the other tenants.
const ROUND: usize = 20;
/// How often is looked for new events.
const POLL: Duration = Duration::from_millis(500);
/// The longest wait before a sink that took nothing is tried again; new events of tenants that are
/// well wait as long.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A tenant whose events were refused.
#[derive(Clone, Copy)]
struct Refused {
    /// How often, one after the other.
    times: u32,
    /// How many events are tried next.
    batch: u64,
}

/// What came of looking at every tenant once.
struct Round {
    /// Whether the sink has taken something.
    took: bool,
    /// Whether there is more that it may take at once.
    more: bool,
    /// What was in the way first.
    problem: Option<String>,
}

/// One sink's task.
pub(super) struct Exporter {
    app: AppState,
    name: &'static str,
    sink: Sink,
    /// By tenant, what was sent.
    sent: BTreeMap<String, i64>,
    /// By tenant, what has surely arrived, and is written down as such.
    sure: BTreeMap<String, i64>,
    /// By tenant, where the chain ends.
    written: BTreeMap<String, i64>,
    /// By tenant, what was refused last.
    refused: BTreeMap<String, Refused>,
    /// Sent, and not sure yet.
    pending: VecDeque<(Instant, String, i64)>,
}

impl Exporter {
    pub(super) const fn new(app: AppState, name: &'static str, sink: Sink) -> Self {
        Self {
            app,
            name,
            sink,
            sent: BTreeMap::new(),
            sure: BTreeMap::new(),
            written: BTreeMap::new(),
            refused: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut wait = POLL;
        let mut begun = false;
        while !*stopped.borrow() {
            let round = async {
                if !begun {
                    self.resume().await.map_err(|why| why.to_string())?;
                    begun = true;
                }
                self.round().await
            };
            let outcome = tokio::select! {
                outcome = round => outcome,
                _ = stopped.changed() => break,
            };
            let round = outcome.unwrap_or_else(|why| Round {
                took: false,
                more: false,
                problem: Some(why),
            });
            self.report(round.problem.as_deref());
            wait = match round {
                Round { more: true, .. } => continue,
                Round {
                    took: false,
                    problem: Some(_),
                    ..
                } => (wait * 2).min(LONGEST_WAIT),
                _ => POLL,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopped.changed() => break,
            }
        }
    }

    fn delivery(&self) -> Option<&Delivery> {
        self.app.deliveries.find(self.name)
    }

    /// Where the last start left off.
    async fn resume(&mut self) -> Result<()> {
        let node = self.app.journal.chains().node();
        for head in store::audit::heads_of(&self.app.db, node).await? {
            // Rows that are gone already have nowhere to go.
            self.sure.insert(head.tenant.clone(), head.first_seq);
            self.written.insert(head.tenant, head.last_seq);
        }
        for cursor in store::audit::cursors(&self.app.db, self.name, node).await? {
            let sure = self.sure.entry(cursor.tenant).or_default();
            *sure = cursor.seq.max(*sure);
        }
        self.sent = self.sure.clone();
        Ok(())
    }

    /// Hands on a part of what there is.
    async fn round(&mut self) -> Result<Round, String> {
        self.written.extend(self.app.journal.chains().ends());
        if !self.sink.holds() {
            self.go_back();
        }
        let mut chains: Vec<(String, i64)> = self.written.clone().into_iter().collect();
        // Those that were refused come last, and take turns.
        chains.sort_by_key(|(tenant, _)| self.refused.get(tenant).map_or(0, |one| one.times));
        let mut round = Round {
            took: false,
            more: false,
            problem: None,
        };
        let mut refused = 0;
        for (tenant, end) in chains {
            match self.part(&tenant, end, &mut round.took).await {
                Ok(more) => round.more |= more,
                Err(why) => {
                    refused += 1;
                    round.problem.get_or_insert(why);
                }
            }
            if refused == AWAY && !round.took {
                break;
            }
        }
        if let Err(why) = self.settle().await {
            self.go_back();
            return Err(why.to_string());
        }
        Ok(round)
    }

    /// Hands on a part of a chain; whether there is more.
    async fn part(&mut self, tenant: &str, end: i64, took: &mut bool) -> Result<bool, String> {
        for _ in 0..ROUND {
            let after = self.sent.get(tenant).copied().unwrap_or_default();
            if after >= end {
                return Ok(false);
            }
            let last = self.hand_on(tenant, after, end).await?;
            self.taken(tenant, last);
            *took = true;
        }
        Ok(true)
    }

    fn taken(&mut self, tenant: &str, last: i64) {
        self.sent.insert(tenant.to_owned(), last);
        self.pending
            .push_back((Instant::now(), tenant.to_owned(), last));
        if let Some(one) = self.refused.get_mut(tenant) {
            one.times = 0;
            one.batch *= 2;
            if one.batch >= BATCH {
                self.refused.remove(tenant);
            }
        }
    }

    /// The sink did not take so many events: half of them are tried next.
    fn refuse(&mut self, tenant: &str, events: usize) {
        let before = self.refused.get(tenant).map_or(0, |one| one.times);
        let half = u64::try_from(events / 2).unwrap_or(BATCH);
        let one = Refused {
            times: before.saturating_add(1),
            batch: half.clamp(1, BATCH),
        };
        self.refused.insert(tenant.to_owned(), one);
        // Where nothing is acknowledged, what was sent before may be lost too.
        if !self.sink.linger().is_zero() {
            self.go_back();
        }
    }

    /// Sends the next batch of a chain; the position of its last row.
    async fn hand_on(&mut self, tenant: &str, after: i64, end: i64) -> Result<i64, String> {
        let chain = (tenant, self.app.journal.chains().node());
        let all = Prefilter::default();
        let batch = self.refused.get(tenant).map_or(BATCH, |one| one.batch);
        let rows = store::audit::select(&self.app.db, chain, (after, end), &all, batch).await;
        let rows = rows.map_err(|why| why.to_string())?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let event = outgoing(&self.app, row);
            bytes += event.line.len();
            if bytes > MOST_BYTES && !events.is_empty() {
                break;
            }
            events.push(event);
        }
        // What somebody has removed cannot be handed on; verification says so.
        let last = events.last().map_or(end, |event| event.seq);
        if !events.is_empty() {
            let sent = self.sink.send(&events).await;
            sent.inspect_err(|_| self.refuse(tenant, events.len()))?;
        }
        Ok(last)
    }

    /// Forgets what was sent and may not have arrived.
    fn go_back(&mut self) {
        self.pending.clear();
        self.sent = self.sure.clone();
    }

    /// Writes down what has surely arrived.
    async fn settle(&mut self) -> Result<()> {
        let linger = self.sink.linger();
        let mut moved = BTreeMap::new();
        while let Some((at, ..)) = self.pending.front()
            && at.elapsed() >= linger
            && let Some((_, tenant, seq)) = self.pending.pop_front()
        {
            moved.insert(tenant, seq);
        }
        if moved.is_empty() {
            return Ok(());
        }
        let node = self.app.journal.chains().node();
        let cursors = moved.iter().map(|(tenant, seq)| audit_cursor::Model {
            sink: self.name.to_owned(),
            tenant: tenant.clone(),
            node: node.to_owned(),
            seq: *seq,
        });
        let command = Command {
            changes: vec![Change::AuditCursors(cursors.collect())],
            ..Command::default()
        };
        self.app.journal.commit(command).await?;
        self.sure.extend(moved);
        Ok(())
    }

    /// Shows how far it is, and says when a sink fails and when it is back.
    fn report(&self, problem: Option<&str>) {
        let Some(delivery) = self.delivery() else {
            return;
        };
        for (tenant, written) in &self.written {
            let delivered = self.sure.get(tenant).copied().unwrap_or_default();
            let written = *written;
            delivery.set_progress(tenant, Progress { delivered, written });
        }
        let sink = self.name;
        match problem {
            None if delivery.clear_trouble() => {
                tracing::info!(sink, "events are delivered again");
            }
            Some(why) if delivery.set_trouble(self.app.clock.millis(), why) => {
                tracing::warn!(
                    sink,
                    why,
                    "events are not delivered; they are kept and tried again"
                );
            }
            _ => {}
        }
    }
}
