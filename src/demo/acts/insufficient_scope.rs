//! What the token does not say, it does not open (RFC 6750 §3.1).

use http::StatusCode;
use serde_json::json;
use writ_resource::tool_scope;

use crate::demo::{
    agent::{Client, Token},
    mcp::Session,
    notes::{Found, Note},
    show::{Failed, Report, To, ensure, expect},
};

pub(super) async fn play(
    agent: &Client,
    mcp: &str,
    token: &Token,
    report: &mut Report,
) -> Result<(), Failed> {
    let needed = tool_scope("delete_note");
    let http = &agent.identity.http;
    report.sent(To::Mcp, "POST /mcp  tools/call delete_note 1");
    let session = Session::open(http, mcp, Some(token.secret())).await?;
    let challenge = match session
        .call::<Note>("delete_note", json!({ "id": 1 }))
        .await
    {
        Ok(note) => {
            return Err(Failed::new("403", format!("note {} is gone", note.id)));
        }
        Err(refused) => refused.challenge("403 with a challenge")?,
    };
    expect("status", &challenge.status, &403)?;
    expect("error", challenge.get("error"), "insufficient_scope")?;
    expect("scope", challenge.get("scope"), &needed)?;
    report.received("403 WWW-Authenticate: Bearer");
    report.facts(&[
        ("error", challenge.get("error").to_owned()),
        ("scope", challenge.get("scope").to_owned()),
    ]);
    session.close().await;

    // The challenge says what to ask for. Whether one gets it is another matter.
    report.sent(
        To::Writ,
        format!("POST /token  client_credentials  scope {needed}"),
    );
    let [audience] = token.claims.aud.iter().collect::<Vec<_>>()[..] else {
        return Err(Failed::new("one audience", "several"));
    };
    let answer = agent.ask(audience, &needed).await?;
    expect("status", &answer.status, &StatusCode::BAD_REQUEST)?;
    expect("error", answer.error(), "invalid_scope")?;
    report.refused(&answer);

    let session = Session::open(http, mcp, Some(token.secret())).await?;
    let found: Found = session.call("search_notes", json!({ "query": "" })).await?;
    let there = found.notes.iter().any(|note| note.id == 1);
    ensure(there, "note 1 is still there", "it is gone")?;
    session.close().await;
    report.conclude("no token for deleting, no deletion: note 1 is still there");
    Ok(())
}
