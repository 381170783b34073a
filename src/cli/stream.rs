//! `writ stream`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{self, Api, Connection},
    print::{self, moment, text},
};

/// Streams of security events: who is told what ends, and how.
#[derive(Debug, Args)]
pub(super) struct Stream {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List streams.
    List,
    /// Show a stream and what waits for it.
    Show {
        /// Its stream_id.
        id: String,
    },
    /// Hold what a stream is to be told.
    Pause(Status),
    /// Have a stream delivered, what was held first.
    Enable(Status),
    /// Tell a stream nothing, and forget what it was to be told.
    Disable(Status),
    /// Remove a stream; its receiver may create another one.
    Remove {
        /// Its stream_id.
        id: String,
    },
}

#[derive(Debug, Args)]
struct Status {
    /// Its stream_id.
    id: String,
    /// Why, for its receiver.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Stream {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let api = Api::connect(&self.connection).await?;
        match self.action {
            Action::List => list(&api.get::<Vec<Value>>("/streams").await?, json),
            Action::Show { id } => show(&api.get(&api::path("streams", &id)).await?, json),
            Action::Pause(status) => status.set(&api, "pause", json).await?,
            Action::Enable(status) => status.set(&api, "enable", json).await?,
            Action::Disable(status) => status.set(&api, "disable", json).await?,
            Action::Remove { id } => {
                api.delete(&api::path("streams", &id)).await?;
                print::removed("stream", &id, json);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    async fn set(self, api: &Api, verb: &str, json: bool) -> Result<(), Failure> {
        let path = format!("{}/{verb}", api::path("streams", &self.id));
        let why = self
            .reason
            .map_or_else(|| json!({}), |why| json!({ "reason": why }));
        show(&api.post(&path, &why).await?, json);
        Ok(())
    }
}

/// How a stream is delivered, in a word.
fn delivery(stream: &Value) -> String {
    match stream["method"].as_str() {
        Some("urn:ietf:rfc:8935") => "push".to_owned(),
        _ => "poll, feed".to_owned(),
    }
}

fn list(streams: &[Value], json: bool) {
    if json {
        print::json(&streams);
        return;
    }
    let rows: Vec<_> = streams
        .iter()
        .map(|stream| {
            vec![
                text(stream, "stream_id"),
                text(stream, "client_id"),
                text(stream, "status"),
                delivery(stream),
                text(stream, "endpoint_url"),
                text(stream, "reason"),
            ]
        })
        .collect();
    let head = ["stream_id", "receiver", "status", "by", "at", "why"];
    print::table(&head, &rows);
}

fn show(stream: &Value, json: bool) {
    if json {
        print::json(stream);
        return;
    }
    let list = |member: &str| {
        let all = stream[member].as_array().into_iter().flatten();
        let all: Vec<&str> = all.filter_map(Value::as_str).collect();
        all.join(", ")
    };
    let backlog = &stream["backlog"];
    let mut rows = vec![
        ("receiver", text(stream, "client_id")),
        ("about", list("aud")),
        ("status", text(stream, "status")),
        ("by", delivery(stream)),
        ("at", text(stream, "endpoint_url")),
        ("events", list("events_delivered")),
        ("signed with", text(stream, "signing_algorithm")),
        ("waiting", backlog["waiting"].to_string()),
        (
            "changed",
            moment(stream["updated_at"].as_i64().unwrap_or_default()),
        ),
    ];
    for (name, member) in [("why", "reason"), ("description", "description")] {
        if stream.get(member).is_some() {
            rows.push((name, text(stream, member)));
        }
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    print::table(&["stream", &text(stream, "stream_id")], &rows);
}
