//! `writ audit verify`

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::{
    Failure,
    api::{Api, Connection, query},
    print,
};

/// Pages after which a person wants to know how far it is.
const PAGES_PER_NOTE: usize = 10;

/// Whether the trail is what was written.
#[derive(Debug, Args)]
pub(super) struct Verify {}

impl Verify {
    pub(super) async fn run(
        self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let api = Api::connect(connection).await?;
        let found = whole(&api).await?;
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
async fn whole(api: &Api) -> Result<Value, Failure> {
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
    lines.push(if lines.is_empty() {
        format!("intact: {events} events")
    } else {
        format!("BROKEN: {events} events hold of {}", found["total"])
    });
    lines
}
