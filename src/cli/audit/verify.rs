//! `writ audit verify`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        Failure,
        api::{Api, Connection, query},
        print,
    },
    checkpoint,
};

/// Pages after which a person wants to know how far it is.
const PAGES_PER_NOTE: usize = 10;

/// Whether the trail is what was written.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Hold it against this checkpoint, too: the history must still be the one it vouches for.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

impl Verify {
    pub(super) async fn run(
        self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let api = Api::connect(connection).await?;
        let mut found = whole(&api).await?;
        if let Some(file) = &self.checkpoint {
            let compared = checkpoint::compare(&api, file).await?;
            if !compared.problems.is_empty() {
                found["intact"] = json!(false);
            }
            if let Some(problems) = found["problems"].as_array_mut() {
                problems.extend(compared.problems);
            }
            found["checkpoint"] = compared.said;
        }
        let intact = found["intact"] == true;
        if json {
            print::json(&found);
        } else {
            for line in verdict(&found) {
                print::line(&line);
            }
        }
        Ok(if intact {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Asks page after page, and puts together what they found.
pub(super) async fn whole(api: &Api) -> Result<Value, Failure> {
    let (mut problems, mut cursor) = (Vec::new(), None);
    for page in 1.. {
        let query = query(&[("cursor", cursor.take())]);
        let mut found: Value = api.get(&format!("/audit/verify{query}")).await?;
        problems.extend(found["problems"].as_array().cloned().unwrap_or_default());
        let Some(next) = found["next"].as_str() else {
            found["problems"] = json!(problems);
            return Ok(found);
        };
        cursor = Some(next.to_owned());
        if page % PAGES_PER_NOTE == 0 {
            let (events, total) = (&found["events"], &found["total"]);
            print::note(&format!("{events} of {total} events hold so far"));
        }
    }
    Err(Failure::new("the server's answers do not end"))
}

fn verdict(found: &Value) -> Vec<String> {
    let events = &found["events"];
    let problems = found["problems"].as_array();
    let mut lines: Vec<String> = problems
        .into_iter()
        .flatten()
        .map(|problem| {
            let place = match problem["node"].as_str() {
                Some(node) => format!("node {node}, after row {}", problem["after"]),
                None => "the whole trail".to_owned(),
            };
            let what = problem["problem"].as_str().unwrap_or_default();
            print::tame(&format!("BROKEN: {place}: {what}")).into_owned()
        })
        .collect();
    if let Some(signed_at) = found["checkpoint"]["signed_at"].as_i64() {
        let (kid, key) = (&found["checkpoint"]["kid"], &found["checkpoint"]["key"]);
        let signed_at = print::moment(signed_at);
        print::note(&format!(
            "held against the checkpoint of {signed_at}, key {kid}, {key}"
        ));
    }
    lines.push(if lines.is_empty() {
        format!("intact: {events} events")
    } else {
        format!("BROKEN: {events} events hold of {}", found["total"])
    });
    lines
}
