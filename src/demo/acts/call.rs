//! The tool call, by `rmcp` on both sides.

use serde_json::json;

use crate::demo::{
    agent::Token,
    mcp::Session,
    notes::{Found, TOOLS},
    show::{Failed, Report, To, ensure, expect},
};

pub(super) async fn play(
    http: &reqwest::Client,
    mcp: &str,
    token: &Token,
    report: &mut Report,
) -> Result<(), Failed> {
    let session = Session::open(http, mcp, Some(token.secret())).await?;
    report.sent(To::Mcp, "POST /mcp  tools/list");
    let mut tools = session.tools().await?;
    tools.sort();
    let mut known = TOOLS.map(str::to_owned);
    known.sort();
    expect("tools", tools.as_slice(), &known)?;
    report.received(format!("{} tools: {}", tools.len(), tools.join(", ")));

    report.sent(To::Mcp, "POST /mcp  tools/call search_notes \"ferry\"");
    let found: Found = session
        .call("search_notes", json!({ "query": "ferry" }))
        .await?;
    let all = found.notes.iter().all(|note| note.text.contains("ferry"));
    let count = found.notes.len();
    ensure(
        all && count == 2,
        "the two notes about the ferry",
        format!("{count} notes"),
    )?;
    report.received(format!("{count} notes"));
    let notes: Vec<_> = found
        .notes
        .iter()
        .map(|note| (format!("note {}", note.id), note.text.clone()))
        .collect();
    let notes: Vec<_> = notes
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    report.facts(&notes);
    session.close().await;
    report.conclude("a real result from a real MCP server");
    Ok(())
}
