//! `writ audit list` and `tail`

use std::{process::ExitCode, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use serde_json::Value;

use super::super::{
    Failure,
    api::{Api, Connection, Page, query},
    print,
};
use crate::clock::Clock;

/// How often is asked for what is new.
const POLL: Duration = Duration::from_secs(1);
/// Events asked for at a time.
pub(super) const PAGE: u32 = 500;

/// Which events.
#[derive(Clone, Debug, Args)]
pub(super) struct Selection {
    /// Of this client, as the one that asked or as one of the actors.
    #[arg(long, value_name = "CLIENT")]
    agent: Option<String>,
    /// For this subject.
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    /// About this resource, by id or URI.
    #[arg(long, value_name = "ID|URI")]
    resource: Option<String>,
    /// Of this run of an agent, by its W3C trace id.
    #[arg(long, value_name = "TRACE_ID")]
    run: Option<String>,
    /// Of this kind, for example token.issued, or all that begin so: token.*
    #[arg(long)]
    kind: Option<String>,
    /// Of this node.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Not earlier: a moment as in RFC 3339, or how long ago, for example 2h or 7d.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<String>,
    /// Earlier: a moment as in RFC 3339, or how long ago.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<String>,
}

impl Selection {
    pub(super) fn path(self, limit: u32, cursor: Option<String>) -> String {
        let query = query(&[
            ("agent", self.agent),
            ("subject", self.subject),
            ("resource", self.resource),
            ("run", self.run),
            ("kind", self.kind),
            ("node", self.node),
            ("since", self.since),
            ("until", self.until),
            ("limit", Some(limit.to_string())),
            ("cursor", cursor),
        ]);
        format!("/audit{query}")
    }
}

/// A moment as the server reads it.
pub(super) fn moment(text: &str) -> Result<String, String> {
    if DateTime::parse_from_rfc3339(text).is_ok() {
        return Ok(text.to_owned());
    }
    let ago = text.char_indices().next_back().and_then(|(at, unit)| {
        let number = text[..at].parse::<u32>().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        Clock::System
            .now()
            .checked_sub_signed(TimeDelta::seconds(i64::from(number) * seconds))
    });
    ago.map(written)
        .ok_or_else(|| "a moment as in RFC 3339, or a number and s, m, h or d".to_owned())
}

fn written(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A list, and its end.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    selection: Selection,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

impl List {
    pub(super) async fn run(
        self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let api = Api::connect(connection).await?;
        let mut path = self
            .selection
            .path(PAGE.min(u32::try_from(self.limit).unwrap_or(PAGE)), None);
        let mut events: Vec<Value> = Vec::new();
        loop {
            let page: Page<Vec<Value>> = api.page(&path).await?;
            events.extend(page.content);
            if !page.more || events.len() >= self.limit {
                break;
            }
            path = page.path;
        }
        events.truncate(self.limit);
        if json {
            print::json(&events);
        } else {
            let rows: Vec<_> = events.iter().map(row).collect();
            print::table(&["node", "seq", "at", "kind", "client", "what"], &rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What happens from now on, or since a moment.
#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    selection: Selection,
}

impl Tail {
    pub(super) async fn run(
        mut self,
        connection: &Connection,
        json: bool,
    ) -> Result<ExitCode, Failure> {
        let since = &mut self.selection.since;
        since.get_or_insert_with(|| written(Clock::System.now()));
        let path = self.selection.path(PAGE, None);
        follow(
            connection,
            path,
            |event, _| {
                print::line(&if json {
                    event.to_string()
                } else {
                    print::tame(&row(event).join("  ")).into_owned()
                });
                Ok(())
            },
            |_| Ok(()),
        )
        .await
    }
}

/// Asks for ever; a server that is away is waited for.
pub(super) async fn follow(
    connection: &Connection,
    mut path: String,
    mut each: impl FnMut(&Value, &str) -> Result<(), Failure>,
    mut done: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    // The first connection has to succeed: what is mistyped is said at once.
    let mut api = Api::connect(connection).await?;
    let mut away = false;
    loop {
        match api.page::<Vec<Value>>(&path).await {
            Ok(page) => {
                away = false;
                for event in &page.content {
                    each(event, api.issuer())?;
                }
                done(&page.path)?;
                path = page.path;
                if page.more {
                    continue;
                }
            }
            Err(failure) => {
                // A token that has expired fails once, too, and the next one is fetched.
                if let Ok(again) = Api::connect(connection).await {
                    api = again;
                } else if !away {
                    print::note(&format!("waiting for the server: {failure}"));
                    away = true;
                }
            }
        }
        tokio::time::sleep(POLL).await;
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
        text(&event["node"]).unwrap_or_default(),
        event["seq"].to_string(),
        print::moment(event["at"].as_i64().unwrap_or_default() / 1000),
        text(&event["kind"]).unwrap_or_default(),
        text(&said["client_id"]).unwrap_or_else(|| "-".to_owned()),
        what,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_out_or_counted_back() {
        assert_eq!(
            moment("2026-11-22T08:00:00+01:00").unwrap(),
            "2026-11-22T08:00:00+01:00"
        );
        let ago = DateTime::parse_from_rfc3339(&moment("2h").unwrap()).unwrap();
        let age = Clock::System.now().signed_duration_since(ago).num_seconds();
        assert!((7200..7260).contains(&age), "{age}");
        for bad in ["", "h", "2", "2x", "-2h", "2 h", "tomorrow", "9999999999d"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
