//! Every event goes to the sinks that the configuration names: at least once, and in the order of
//! its chain.
//!
//! Each sink has a task of its own that reads the trail behind a cursor. The cursor is moved, and
//! written through the journal, when the sink has the events; a sink that is away delays nobody and
//! loses nothing, and a restart goes on from there. A node hands on its own chains.

mod file;
mod syslog;
mod webhook;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use entity::{audit_cursor, audit_event};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use self::{file::File, syslog::Syslog, webhook::Webhook};
use crate::{
    app::{App, AppState},
    audit::{
        delivery::{Delivery, FILE, Progress, WEBHOOK},
        hexadecimal,
        ocsf::{self, Source},
    },
    config::{ExportFormat, SyslogTarget},
    error::Result,
    fetch::{Fetch, FetchError},
    journal::Command,
    store::{self, Change, audit::Prefilter},
};

/// Events handed over at a time.
const BATCH: u64 = 500;
/// Batches between two looks at the other tenants.
const ROUND: usize = 20;
/// How often is looked for new events.
const POLL: Duration = Duration::from_millis(500);
/// The longest wait before a sink that failed is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An event on its way out.
struct Outgoing {
    /// Its position.
    seq: i64,
    /// Unix milliseconds.
    at: i64,
    kind: String,
    /// The event, in the configured format.
    line: String,
}

/// How events leave.
enum Sink {
    File(File),
    Webhook(Webhook),
    Syslog(Syslog),
}

impl Sink {
    async fn send(&mut self, events: &[Outgoing]) -> Result<(), String> {
        match self {
            Self::File(file) => file.send(events).await,
            Self::Webhook(webhook) => webhook.send(events).await,
            Self::Syslog(syslog) => syslog.send(events).await,
        }
    }

    /// How long after it was sent an event is sure to have arrived, if nothing was heard.
    const fn linger(&self) -> Duration {
        match self {
            Self::File(_) | Self::Webhook(_) => Duration::ZERO,
            Self::Syslog(syslog) => syslog.linger(),
        }
    }

    /// Whether what was sent may still be on its way.
    fn holds(&mut self) -> bool {
        match self {
            Self::File(_) | Self::Webhook(_) => true,
            Self::Syslog(syslog) => syslog.holds(),
        }
    }
}

/// Starts a task for each sink of the configuration; they end when the server stops.
///
/// # Errors
/// When the HTTP client cannot be made.
pub fn start(
    app: &AppState,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, FetchError> {
    let config = &app.config.audit;
    let mut sinks = Vec::new();
    for delivery in app.deliveries.all() {
        let sink = match delivery.sink {
            FILE => Sink::File(File::new(config.export_file.clone())),
            WEBHOOK => {
                let mut guard = app.config.fetch.clone();
                guard.allow_private_addresses_for_tests |= config.export_webhook_private;
                Sink::Webhook(Webhook {
                    fetch: Fetch::new(&guard)?,
                    url: config.export_webhook.clone(),
                    token_file: config.export_webhook_token_file.clone(),
                })
            }
            _ => {
                let Some(target) = SyslogTarget::parse(&config.export_syslog) else {
                    continue;
                };
                let node = app.journal.chains().node();
                Sink::Syslog(Syslog::new(target, app.registry.root().issuer(), node))
            }
        };
        sinks.push((delivery.sink, sink));
    }
    let tasks = sinks.into_iter().map(|(name, sink)| {
        let exporter = Exporter {
            app: app.clone(),
            name,
            sink,
            sent: BTreeMap::new(),
            sure: BTreeMap::new(),
            written: BTreeMap::new(),
            pending: VecDeque::new(),
        };
        tokio::spawn(exporter.run(stopped.clone()))
    });
    Ok(tasks.collect())
}

/// One sink's task.
struct Exporter {
    app: AppState,
    name: &'static str,
    sink: Sink,
    /// By tenant, what was sent.
    sent: BTreeMap<String, i64>,
    /// By tenant, what has surely arrived, and is written down as such.
    sure: BTreeMap<String, i64>,
    /// By tenant, where the chain ends.
    written: BTreeMap<String, i64>,
    /// Sent, and not sure yet.
    pending: VecDeque<(Instant, String, i64)>,
}

impl Exporter {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
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
            self.report(&outcome);
            wait = match outcome {
                Ok(true) => continue,
                Ok(false) => POLL,
                Err(_) => (wait * 2).min(LONGEST_WAIT),
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

    /// Hands on a part of what there is; whether there is more.
    async fn round(&mut self) -> Result<bool, String> {
        self.written.extend(self.app.journal.chains().ends());
        if !self.sink.holds() {
            self.go_back();
        }
        let chains: Vec<(String, i64)> = self.written.clone().into_iter().collect();
        let mut more = false;
        for (tenant, end) in chains {
            for _ in 0..ROUND {
                let after = self.sent.get(&tenant).copied().unwrap_or_default();
                if after >= end {
                    break;
                }
                let last = match self.hand_on(&tenant, after, end).await {
                    Ok(last) => last,
                    Err(why) => {
                        self.go_back();
                        return Err(why);
                    }
                };
                self.sent.insert(tenant.clone(), last);
                self.pending
                    .push_back((Instant::now(), tenant.clone(), last));
            }
            more |= self.sent.get(&tenant).is_none_or(|sent| *sent < end);
        }
        if let Err(why) = self.settle().await {
            self.go_back();
            return Err(why.to_string());
        }
        Ok(more)
    }

    /// Sends the next batch of a chain; the position of its last row.
    async fn hand_on(&mut self, tenant: &str, after: i64, end: i64) -> Result<i64, String> {
        let chain = (tenant, self.app.journal.chains().node());
        let all = Prefilter::default();
        let rows = store::audit::select(&self.app.db, chain, (after, end), &all, BATCH).await;
        let rows = rows.map_err(|why| why.to_string())?;
        let events: Vec<_> = rows
            .into_iter()
            .map(|row| outgoing(&self.app, row))
            .collect();
        // What somebody has removed cannot be handed on; verification says so.
        let last = events.last().map_or(end, |event| event.seq);
        if !events.is_empty() {
            self.sink.send(&events).await?;
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
    fn report(&self, outcome: &Result<bool, String>) {
        let Some(delivery) = self.delivery() else {
            return;
        };
        for (tenant, written) in &self.written {
            let delivered = self.sure.get(tenant).copied().unwrap_or_default();
            let written = *written;
            delivery.set_progress(tenant, Progress { delivered, written });
        }
        let sink = self.name;
        match outcome {
            Ok(_) if delivery.clear_trouble() => {
                tracing::info!(sink, "events are delivered again");
            }
            Err(why) if delivery.set_trouble(self.app.clock.millis(), why) => {
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

/// An event in the configured format.
fn outgoing(app: &App, row: audit_event::Model) -> Outgoing {
    let event: Value = serde_json::from_str(&row.event).unwrap_or(Value::Null);
    let issuer = match app.registry.find(&row.tenant) {
        Some(tenant) => tenant.issuer().to_owned(),
        // It has ended; its trail goes on being delivered.
        None => app.registry.root().url(&format!("/t/{}", row.tenant)),
    };
    let line = match app.config.audit.export_format {
        ExportFormat::Ocsf => {
            let source = Source {
                issuer: &issuer,
                node: &row.node,
                seq: row.seq,
                hash: &hexadecimal(&row.hash),
                at: row.at,
                kind: &row.kind,
            };
            ocsf::event(&source, &event)
        }
        ExportFormat::Jsonl => json!({
            "issuer": issuer,
            "node": row.node,
            "seq": row.seq,
            "at": row.at,
            "kind": row.kind,
            "event": event,
        }),
    };
    Outgoing {
        seq: row.seq,
        at: row.at,
        kind: row.kind,
        line: line.to_string(),
    }
}
