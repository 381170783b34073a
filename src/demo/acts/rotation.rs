//! Signing keys change under way, and no call notices (RFC 7517 §4.5).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use writ_resource::{jws::Unverified, tool_scope};

use super::discovery::{Found, key_set};
use crate::demo::{
    agent::Client,
    mcp::Session,
    notes::Found as Notes,
    operator::Operator,
    show::{Failed, Report, To, ensure, expect},
    stage::{REFETCH_FLOOR, Stage},
};

/// How many calls are made with one token.
const CALLS_PER_TOKEN: usize = 5;
/// How many calls a key has to see before it is replaced.
const CALLS_PER_KEY: usize = 20;
/// How long a key may take to see them.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn play(
    stage: &Stage,
    agent: &Client,
    found: &Found,
    report: &mut Report,
) -> Result<(), Failed> {
    let http = &agent.identity.http;
    report.note(
        "Replaced at once, without the ten minutes a key is otherwise published before it signs;",
    );
    report.note("so the MCP server looks for unknown keys once a second here, not once in ten");
    let operator = Operator::sign_in(http, stage.administrator()).await?;
    let seen = Mutex::new(Seen::default());

    // Two of them, so that one is always under way.
    let caller = || call_on(agent, &found.resource, &stage.mcp, &seen);
    let callers = async { tokio::join!(caller(), caller()) };
    let administrator = async {
        enough(&seen, 1).await?;
        for rotation in 1..=2 {
            report.sent(
                To::Writ,
                format!(
                    "POST /admin/keys/rotate  after {} calls",
                    look(&seen).calls()
                ),
            );
            let keys: Vec<Key> = operator.rotate().await?;
            let signing = active(&keys)?;
            report.received(format!("200 RS256 is now signed with {signing}"));
            enough(&seen, rotation + 1).await?;
        }
        Ok::<_, Failed>(())
    };
    // The callers go on until the administrator is done.
    tokio::select! {
        _ = callers => return Err(Failed::new("callers that go on", "they stopped")),
        done = administrator => done?,
    }

    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(first) = seen.failures.first() {
        let seen = format!("{} failed, the first: {first}", seen.failures.len());
        return Err(Failed::new("no failed call", seen));
    }
    expect("keys that signed", &seen.keys.len(), &3)?;
    let published = key_set(http, &found.server.jwks_uri).await?;
    for (kid, calls) in &seen.keys {
        let there = published.keys().iter().any(|key| key.kid() == Some(kid));
        ensure(there, "every key that signed is still published", kid)?;
        report.facts(&[("kid", format!("{kid}  {calls} calls"))]);
    }

    // A token of before is good until it expires, whatever signs now.
    let session = Session::open(http, &stage.mcp, Some(&seen.first_token)).await?;
    search(&session).await?;
    session.close().await;
    report.note("the very first token still goes through: its key stays until its tokens are over");
    report.conclude(format!(
        "{} calls with {} tokens, three keys, 0 failed",
        seen.calls(),
        seen.tokens
    ));
    Ok(())
}

/// What the callers saw.
#[derive(Default)]
struct Seen {
    first_token: String,
    tokens: usize,
    /// Key names in order of appearance, with the calls that succeeded.
    keys: Vec<(String, usize)>,
    failures: Vec<String>,
}

impl Seen {
    fn calls(&self) -> usize {
        self.keys.iter().map(|(_, calls)| calls).sum()
    }

    fn succeeded(&mut self, kid: &str) {
        match self.keys.iter_mut().find(|(known, _)| known == kid) {
            Some((_, calls)) => *calls += 1,
            None => self.keys.push((kid.to_owned(), 1)),
        }
    }
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    algorithm: String,
    state: String,
}

fn active(keys: &[Key]) -> Result<&str, Failed> {
    keys.iter()
        .find(|key| key.algorithm == "RS256" && key.state == "active")
        .map(|key| key.kid.as_str())
        .ok_or_else(|| Failed::new("an active RS256 key", "none"))
}

fn look(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gets a token, makes a few calls, gets the next, without end.
async fn call_on(agent: &Client, resource: &str, mcp: &str, seen: &Mutex<Seen>) {
    loop {
        if let Err(failure) = call_with_one_token(agent, resource, mcp, seen).await {
            look(seen).failures.push(failure.to_string());
        }
        // As many calls as this would be a load test, and this machine has other things to do.
        sleep(Duration::from_millis(10)).await;
    }
}

async fn call_with_one_token(
    agent: &Client,
    resource: &str,
    mcp: &str,
    seen: &Mutex<Seen>,
) -> Result<(), Failed> {
    let answer = agent.ask(resource, &tool_scope("search_notes")).await?;
    let answer = answer.success()?;
    let token = answer.text("access_token")?;
    let unverified = Unverified::parse(token).map_err(|why| Failed::new("a JWT", why))?;
    let kid = unverified.kid().unwrap_or_default().to_owned();
    {
        let mut seen = look(seen);
        seen.tokens += 1;
        if seen.first_token.is_empty() {
            token.clone_into(&mut seen.first_token);
        }
    }
    let session = Session::open(&agent.identity.http, mcp, Some(token)).await?;
    for _ in 0..CALLS_PER_TOKEN {
        search(&session).await?;
        look(seen).succeeded(&kid);
    }
    session.close().await;
    Ok(())
}

async fn search(session: &Session) -> Result<(), Failed> {
    let query = json!({ "query": "harbour" });
    let found: Notes = session.call("search_notes", query).await?;
    expect("notes about the harbour", &found.notes.len(), &2)
}

/// Waits until the calls have gone well with the key that appeared as this one for a while, or
/// one has failed.
async fn enough(seen: &Mutex<Seen>, keys: usize) -> Result<(), Failed> {
    let began = Instant::now();
    let mut appeared = None;
    while look(seen).failures.is_empty() {
        let calls = look(seen).keys.get(keys - 1).map_or(0, |(_, calls)| *calls);
        if calls > 0 {
            // From here on: the MCP server has fetched this key, and may look for the next one
            // when its floor is over.
            let appeared: &Instant = appeared.get_or_insert_with(Instant::now);
            if calls >= CALLS_PER_KEY && appeared.elapsed() > REFETCH_FLOOR {
                return Ok(());
            }
        }
        if began.elapsed() > PATIENCE {
            return Err(Failed::new(
                format!("{CALLS_PER_KEY} calls with key {keys}"),
                format!("{calls}"),
            ));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
