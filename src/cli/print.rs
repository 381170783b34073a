//! What the command line prints: lines for people, JSON for programs.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command line speaks to a person"
)]

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat};

use serde::Serialize;

use crate::admin::apply::{Action, Line};

/// One line, or several.
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// Words beside the result, which may be going to a file.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// Text from elsewhere, without the control characters that could move a terminal's cursor.
pub(super) fn tame(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        return text.replace(char::is_control, " ").into();
    }
    text.into()
}

/// A member of an answer as text; nothing when it is not there.
pub(super) fn text(answer: &serde_json::Value, member: &str) -> String {
    answer[member].as_str().unwrap_or_default().to_owned()
}

/// A moment, from Unix seconds.
pub(super) fn moment(seconds: i64) -> String {
    let moment = DateTime::from_timestamp_secs(seconds).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        println!("{text}");
    }
}

/// A table: columns as wide as their widest cell.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(head.get(column).map_or(0, |cell| cell.len()))
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let print = |cells: &[String]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(&format!("{:<width$}  ", tame(cell)));
        }
        println!("{}", text.trim_end());
    };
    print(
        &head
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
    );
    for row in rows {
        print(row);
    }
}

/// That something is there no more.
pub(super) fn removed(noun: &str, name: &str, as_json: bool) {
    if as_json {
        json(&serde_json::json!({ "removed": { noun: name } }));
    } else {
        line(&format!("removed {noun} {name}"));
    }
}

/// What `apply` did.
pub(super) fn applied(lines: &[Line], dry_run: bool) {
    for entry in lines {
        let action = match (entry.action, dry_run) {
            (Action::Unchanged, _) => "unchanged",
            (Action::Created, false) => "created",
            (Action::Changed, false) => "changed",
            (Action::Created, true) => "would create",
            (Action::Changed, true) => "would change",
        };
        let place = if entry.kind == "tenant" || entry.tenant == crate::registry::DEFAULT {
            String::new()
        } else {
            format!("  (tenant {})", entry.tenant)
        };
        println!("{action:<12}  {:<8}  {}{place}", entry.kind, entry.id);
        if let Some(secret) = &entry.client_secret {
            println!("              client_secret  {secret}   (shown once)");
        }
        if let Some(administrator) = &entry.administrator {
            println!("              administrator, shown once; keep it in a file of its own:");
            json(administrator);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_not_move_the_cursor() {
        assert_eq!(tame("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(tame("weather"), "weather");
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
    }
}
