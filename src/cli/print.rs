//! What the command line prints: lines for people, JSON for programs.

#![expect(clippy::print_stdout, reason = "the command line speaks to a person")]

use serde::Serialize;

use crate::admin::apply::{Action, Line};

/// One line, or several.
pub(super) fn line(text: &str) {
    println!("{text}");
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
            text.push_str(&format!("{cell:<width$}  "));
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
            println!(
                "              administrator  {} {}   (shown once)",
                administrator.client_id, administrator.client_secret
            );
        }
    }
}
