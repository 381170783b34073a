//! `writ audit sinks` and `truncate`

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        Failure,
        api::{Api, Connection},
        print,
    },
    events::moment,
    verify,
};

/// Where events are delivered to, and how far that is.
#[derive(Debug, Args)]
pub(super) struct Sinks {}

impl Sinks {
    pub(super) async fn run(
        self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let api = Api::connect(connection).await?;
        let sinks: Vec<Value> = api.get("/audit/sinks").await?;
        if json {
            print::json(&sinks);
        } else {
            let rows: Vec<_> = sinks
                .iter()
                .map(|sink| {
                    vec![
                        print::text(sink, "sink"),
                        print::text(sink, "node"),
                        sink["delivered"].to_string(),
                        sink["lag"].to_string(),
                        print::text(sink, "target"),
                        print::text(sink, "problem"),
                    ]
                })
                .collect();
            let head = ["sink", "node", "delivered", "waiting", "target", "problem"];
            print::table(&head, &rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The beginning of the trail taken away.
#[derive(Debug, Args)]
pub(super) struct Truncate {
    /// Events before this moment (RFC 3339), or older than this, for example 90d.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    before: String,
}

impl Truncate {
    /// The whole trail is judged first; a broken one stays as it is.
    pub(super) async fn run(
        self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let api = Api::connect(connection).await?;
        if verify::whole(&api).await?["intact"] != true {
            return Err(Failure::new(
                "the trail does not hold, so nothing is taken away: see `writ audit verify`",
            ));
        }
        let mut events = 0;
        loop {
            let body = json!({ "before": self.before });
            let done: Value = api.post("/audit/truncate", &body).await?;
            events += done["events"].as_i64().unwrap_or_default();
            if done["more"] == true {
                continue;
            }
            if json {
                print::json(&json!({ "events": events, "first_seq": done["first_seq"] }));
            } else {
                print::line(&format!(
                    "{events} events before {} taken away",
                    self.before
                ));
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
}
