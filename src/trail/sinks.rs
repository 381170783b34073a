//! Every event goes to the sinks that the configuration names, in the order of its chain: at least
//! once to a file and a webhook, which say that they have it; to a syslog receiver, which says
//! nothing, as well as can be known.
//!
//! Each sink has a task of its own that reads the trail behind a cursor. The cursor is moved, and
//! written through the journal, when the sink has the events; a sink that is away delays nobody and
//! loses nothing, and a restart goes on from there. What it refuses of one tenant does not keep the
//! other tenants' events. A node hands on its own chains.

mod exporter;
mod file;
mod syslog;
mod webhook;

use std::time::Duration;

use entity::audit_event;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use self::{exporter::Exporter, file::File, syslog::Syslog, webhook::Webhook};
use crate::{
    app::{App, AppState},
    audit::{
        delivery::{FILE, WEBHOOK},
        hexadecimal,
        ocsf::{self, Source},
    },
    config::{ExportFormat, SyslogTarget},
    fetch::{Fetch, FetchError},
};

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
                    fetch: Fetch::new(&guard, &app.config.events)?,
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
        let exporter = Exporter::new(app.clone(), name, sink);
        tokio::spawn(exporter.run(stopped.clone()))
    });
    Ok(tasks.collect())
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
