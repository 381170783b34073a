//! `writ audit`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Failure,
    api::{Api, Connection, query},
    print,
};

/// What happened, in a chain that shows tampering.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List events, oldest first.
    List {
        /// Only events after this position.
        #[arg(long, value_name = "N")]
        after: Option<i64>,
        /// Only of this kind, for example token.issued.
        #[arg(long)]
        kind: Option<String>,
        /// At most this many, up to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
    },
    /// Read the whole chain and check every hash; exit code 1 if one does not hold.
    Verify,
}

impl Audit {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let api = Api::connect(&self.connection).await?;
        match self.action {
            Action::List { after, kind, limit } => {
                let query = query(&[
                    ("after", after.map(|n| n.to_string())),
                    ("kind", kind),
                    ("limit", Some(limit.to_string())),
                ]);
                let events: Vec<Value> = api.get(&format!("/audit{query}")).await?;
                if json {
                    print::json(&events);
                } else {
                    let rows: Vec<_> = events.iter().map(row).collect();
                    print::table(&["seq", "at", "kind", "client", "what"], &rows);
                }
                Ok(ExitCode::SUCCESS)
            }
            Action::Verify => {
                let found: Value = api.get("/audit/verify").await?;
                let intact = found["intact"] == true;
                if json {
                    print::json(&found);
                } else {
                    print::line(&verdict(&found));
                }
                Ok(if intact {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
        }
    }
}

fn verdict(found: &Value) -> String {
    let events = &found["events"];
    match found["problem"].as_str() {
        None => format!("intact: {events} events"),
        Some(problem) => format!("BROKEN after {events} events: {}", print::tame(problem)),
    }
}

fn row(event: &Value) -> Vec<String> {
    let said = &event["event"];
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let what = ["object", "aud", "scope", "act", "reason"]
        .into_iter()
        .filter_map(|name| text(&said[name]))
        .collect::<Vec<_>>()
        .join("  ");
    vec![
        event["seq"].to_string(),
        print::moment(event["at"].as_i64().unwrap_or_default() / 1000),
        text(&event["kind"]).unwrap_or_default(),
        text(&said["client_id"]).unwrap_or_else(|| "-".to_owned()),
        what,
    ]
}
