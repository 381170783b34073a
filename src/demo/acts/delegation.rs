//! Acting for another, with the chain of actors in the token (RFC 8693).

use http::StatusCode;
use serde_json::{Value, json};
use writ_resource::tool_scope;

use super::discovery::Found;
use crate::{
    demo::{
        agent::{Client, Identity, Token},
        mcp::Session,
        notes::{Author, Found as Notes, Note},
        operator::Operator,
        show::{Failed, Report, To, ensure, expect},
        stage::Stage,
    },
    oauth::grant_type::{CLIENT_CREDENTIALS, TOKEN_EXCHANGE},
};

/// The sub-agent, and who helps it.
const WRITER: &str = "note-writer";
const HELPER: &str = "spell-checker";

pub(super) async fn play(
    stage: &Stage,
    agent: &Client,
    found: &Found,
    report: &mut Report,
) -> Result<(), Failed> {
    let http = &agent.identity.http;
    let (search, add) = (tool_scope("search_notes"), tool_scope("add_note"));
    let client = |name| {
        let identity = Identity::new(name, http, &stage.clock, &stage.entropy)?;
        Ok::<_, Failed>(identity.client(name, &found.server))
    };
    let (writer, helper) = (client(WRITER)?, client(HELPER)?);

    // A newcomer delegates nothing: the administrator takes the agent on, and says who may act
    // for whom.
    report.sent(
        To::Writ,
        format!("POST /admin/apply  agent may add notes, {WRITER} may act for it"),
    );
    let operator = Operator::sign_in(http, stage.administrator()).await?;
    let declaration = json!({ "clients": [
        declare(agent, CLIENT_CREDENTIALS, &[&search, &add], &[WRITER]),
        declare(&writer, TOKEN_EXCHANGE, &[&add], &[HELPER]),
        declare(&helper, TOKEN_EXCHANGE, &[&add], &[]),
    ]});
    let lines: Vec<Value> = operator.apply(&declaration).await?.read("a list")?;
    let actions: Vec<_> = lines
        .iter()
        .filter_map(|line| line["action"].as_str())
        .collect();
    let expected = ["changed", "created", "created"];
    expect("what changed", actions.as_slice(), expected.as_slice())?;
    report.received(format!("200 {}", actions.join(", ")));

    let both = format!("{add} {search}");
    report.sent(
        To::Writ,
        format!("POST /token  client_credentials  scope {both}"),
    );
    let own = Token::take(agent.ask(&found.resource, &both).await?, &found.keys)?;
    expect(
        "may_act",
        &own.claims.may_act,
        &Some(json!({ "sub": WRITER })),
    )?;
    report.received("200 and a token that names who may act for the agent");
    report.delegation(&own);

    report.sent(
        To::Writ,
        format!("POST /token  token-exchange by {WRITER}  scope {add}"),
    );
    let answer = writer.exchange(own.secret(), &found.resource, &add).await?;
    let written = Token::take(answer, &found.keys)?;
    check(&written, &own, &writer, &add, &[WRITER])?;
    report.received("200 and a narrower token: the agent's name, the sub-agent's hand");
    report.delegation(&written);

    // Only who is named: the helper may act for the sub-agent, not for the agent.
    report.sent(
        To::Writ,
        format!("POST /token  token-exchange by {HELPER}, with the agent's token"),
    );
    let refused = helper.exchange(own.secret(), &found.resource, &add).await?;
    expect("status", &refused.status, &StatusCode::BAD_REQUEST)?;
    expect("error", refused.error(), "invalid_grant")?;
    report.refused(&refused);

    report.sent(
        To::Writ,
        format!("POST /token  token-exchange by {HELPER}, with the sub-agent's token"),
    );
    let answer = helper
        .exchange(written.secret(), &found.resource, &add)
        .await?;
    let helped = Token::take(answer, &found.keys)?;
    check(&helped, &written, &helper, &add, &[HELPER, WRITER])?;
    report.received("200 and the chain grows by one");
    report.delegation(&helped);

    report.sent(
        To::Mcp,
        format!("POST /mcp  tools/call add_note, by {HELPER}"),
    );
    let session = Session::open(http, &stage.mcp, Some(helped.secret())).await?;
    let text = "Ferry at half past nine, tickets on board.";
    let note: Note = session.call("add_note", json!({ "text": text })).await?;
    let author = Author {
        sub: agent.id.clone(),
        act: vec![HELPER.to_owned(), WRITER.to_owned()],
    };
    expect("written_by", &note.written_by, &author)?;
    report.received(format!(
        "note {}, written by {} through {}",
        note.id,
        note.written_by.sub,
        note.written_by.act.join(", ")
    ));

    report.sent(
        To::Mcp,
        "POST /mcp  tools/call search_notes, with the same token",
    );
    let wider = session.call::<Notes>("search_notes", json!({ "query": "" }));
    let challenge = match wider.await {
        Ok(_) => return Err(Failed::new("403", "the narrower token searches too")),
        Err(refused) => refused.challenge("403 with a challenge")?,
    };
    expect("status", &challenge.status, &403)?;
    expect("scope", challenge.get("scope"), &search)?;
    report.received("403 insufficient_scope: it was narrowed to add_note");
    session.close().await;

    // The agent sees what was written in its name.
    let session = Session::open(http, &stage.mcp, Some(own.secret())).await?;
    let notes: Notes = session
        .call("search_notes", json!({ "query": text }))
        .await?;
    expect("the agent finds the note", notes.notes.as_slice(), &[note])?;
    session.close().await;
    report.conclude("the MCP server knows in whose name, and through whose hands");
    Ok(())
}

fn declare(client: &Client, grant_type: &str, scopes: &[&String], delegates: &[&str]) -> Value {
    json!({
        "client_id": client.id,
        "name": client.identity.name,
        "jwks": client.identity.jwks(),
        "grant_types": [grant_type],
        "access": [{ "resource": "notes", "scopes": scopes }],
        "delegates": delegates,
    })
}

/// The rules of delegation: same subject, narrower, no longer, every actor named, newest first.
fn check(
    token: &Token,
    subject: &Token,
    actor: &Client,
    scope: &str,
    chain: &[&str],
) -> Result<(), Failed> {
    let (claims, before) = (&token.claims, &subject.claims);
    expect("sub", &claims.sub, &before.sub)?;
    expect("aud", &claims.aud, &before.aud)?;
    expect("client_id", &claims.client_id, &actor.id)?;
    expect("scope", &claims.scope.as_deref(), &Some(scope))?;
    ensure(
        claims.exp <= before.exp,
        "it ends no later than the subject token",
        claims.exp - before.exp,
    )?;
    let actors: Vec<_> = claims.actors().map(|actor| actor.sub.as_str()).collect();
    expect("act", actors.as_slice(), chain)
}
