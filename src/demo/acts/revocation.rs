//! An agent loses its rights while it is at work, and the MCP servers know it at once
//! (OpenID Shared Signals, CAEP session-revoked).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use writ_resource::tool_scope;

use crate::demo::{
    agent::Client,
    mcp::Session,
    notes::Found,
    operator::Operator,
    show::{Failed, Report, To, ensure, expect},
    stage::Stage,
};

/// How many calls every MCP server answers before the revocation.
const CALLS: usize = 5;
/// How long any part of it may take.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn play(stage: &Stage, agent: &Client, report: &mut Report) -> Result<(), Failed> {
    let late = |_| Failed::new("MCP servers that hear of revocations", "they do not");
    timeout(PATIENCE, stage.listening()).await.map_err(late)?;
    let operator = Operator::sign_in(&agent.identity.http, stage.administrator()).await?;
    let mut sessions = Vec::with_capacity(stage.notes.len());
    for notes in &stage.notes {
        let answer = agent.ask(&notes.mcp, &tool_scope("search_notes")).await?;
        let token = answer.success()?.text("access_token")?.to_owned();
        let http = agent.identity.http.clone();
        sessions.push(Caller {
            session: Session::open(&http, &notes.mcp, Some(&token)).await?,
            mcp: notes.mcp.clone(),
            http,
            token,
        });
    }
    report.note("Nobody asks Writ about a call: its servers verify tokens by themselves, and hear");
    report.note("from a feed of signed events which of them have ended");

    let calls = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in sessions {
        callers.spawn(caller.call_until_refused(calls.clone()));
    }
    let wanted = CALLS * stage.notes.len();
    let busy = async {
        while calls.load(Ordering::Relaxed) < wanted {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let slow = |_| Failed::new(format!("{wanted} calls"), "fewer");
    timeout(PATIENCE, busy).await.map_err(slow)?;
    report.sent(
        To::Writ,
        format!(
            "POST /admin/revocations  after {} calls",
            calls.load(Ordering::Relaxed)
        ),
    );
    operator.revoke(&agent.id).await?;
    let revoked = Instant::now();
    report.received("200");

    let mut refusals = Vec::with_capacity(stage.notes.len());
    let all = async {
        while let Some(refused) = callers.join_next().await {
            let refused = refused.map_err(|why| Failed::new("a caller that goes on", why))?;
            refusals.push(refused?.saturating_duration_since(revoked));
        }
        Ok::<_, Failed>(())
    };
    let open = |_| Failed::new("every MCP server refuses the agent", "some go on");
    timeout(PATIENCE, all).await.map_err(open)??;
    refusals.sort_unstable();
    expect("servers that refused", &refusals.len(), &stage.notes.len())?;
    let millis = |at: usize| {
        let took = refusals.get(at).copied().unwrap_or_default();
        format!("{:.1} ms", took.as_secs_f64() * 1000.0)
    };
    let last = refusals.len() - 1;
    report.facts(&[
        ("first", millis(0)),
        ("median", millis(last / 2)),
        ("last", millis(last)),
    ]);
    let again = agent.ask(&stage.mcp, &tool_scope("search_notes")).await?;
    ensure(
        again.success().is_ok(),
        "a new token, which is no business of the old one's end",
        "none",
    )?;
    report.conclude(format!(
        "{} of {} MCP servers refuse the next call, the last {} after the answer",
        refusals.len(),
        stage.notes.len(),
        millis(last)
    ));
    Ok(())
}

/// An agent's token at one MCP server, and the session that it began.
struct Caller {
    http: reqwest::Client,
    mcp: String,
    token: String,
    session: Session,
}

impl Caller {
    /// Calls a tool again and again, and says when that was refused.
    async fn call_until_refused(self, calls: Arc<AtomicUsize>) -> Result<Instant, Failed> {
        let query = json!({ "query": "harbour" });
        while let Ok(Found { .. }) = self.session.call("search_notes", query.clone()).await {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        let at = Instant::now();
        // What is open for a token that has ended is closed, so the session may have nothing more
        // to say: the token itself is shown once more.
        let again = Session::open(&self.http, &self.mcp, Some(&self.token)).await;
        let Err(refused) = again else {
            return Err(Failed::new("a challenge", "the session begins anew"));
        };
        let challenge = refused.challenge("a challenge")?;
        expect("status", &challenge.status, &401)?;
        expect("error", challenge.get("error"), "invalid_token")?;
        Ok(at)
    }
}
