//! How it is told: line by line to a person, or at the end as one JSON document.
//!
//! Nothing that is told holds a secret: tokens come shortened, answers without their bodies.

use std::{
    fmt,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    agent::{Answer, Token},
    stage::Stage,
};
use crate::admin::tenants::Credentials;

/// What was expected, and what was seen instead.
#[derive(Debug)]
pub(super) struct Failed {
    expected: String,
    seen: String,
}

impl Failed {
    pub(super) fn new(expected: impl Into<String>, seen: impl fmt::Display) -> Self {
        Self {
            expected: expected.into(),
            seen: seen.to_string(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}; seen {}", self.expected, self.seen)
    }
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Self::new("an answer over HTTP", causes.join(": "))
    }
}

/// Checks that something is as it has to be.
///
/// # Errors
/// When it is not.
pub(super) fn expect<T: PartialEq + fmt::Debug + ?Sized>(
    what: &str,
    seen: &T,
    expected: &T,
) -> Result<(), Failed> {
    if seen == expected {
        return Ok(());
    }
    Err(Failed::new(
        format!("{what}: {expected:?}"),
        format!("{seen:?}"),
    ))
}

/// Checks that something is so.
///
/// # Errors
/// When it is not; `seen` says what is so instead.
pub(super) fn ensure(holds: bool, expected: &str, seen: impl fmt::Display) -> Result<(), Failed> {
    if holds {
        return Ok(());
    }
    Err(Failed::new(expected, seen))
}

/// The play ends here: an act did not do what it says.
#[derive(Debug)]
pub(super) struct Stopped;

/// Whom a request goes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// The authorization server.
    Writ,
    /// The MCP server.
    Mcp,
}

/// One line of what happened in an act.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Sent { to: &'static str, what: String },
    Received(String),
    Fact { name: String, value: String },
    Note(String),
}

/// What became of an act.
#[derive(Debug, Serialize)]
struct Act {
    name: &'static str,
    title: &'static str,
    ok: bool,
    ms: f64,
    /// What it showed, or what was expected and seen instead.
    detail: String,
    details: Vec<Line>,
}

/// Collects what happens in one act, and prints it as it happens.
pub(super) struct Report {
    paper: Paper,
    lines: Vec<Line>,
    conclusion: String,
}

impl Report {
    /// A request goes out.
    pub(super) fn sent(&mut self, to: To, what: impl Into<String>) {
        let (to, what) = (
            match to {
                To::Writ => "Writ",
                To::Mcp => "MCP",
            },
            what.into(),
        );
        let Style { dim, plain, .. } = self.paper.style;
        self.paper
            .line(&format!("     {dim}→ {to:<4}{plain}  {what}"));
        self.lines.push(Line::Sent { to, what });
    }

    /// An answer comes back.
    pub(super) fn received(&mut self, what: impl Into<String>) {
        let what = what.into();
        let Style { dim, plain, .. } = self.paper.style;
        self.paper.line(&format!("     {dim}←{plain}       {what}"));
        self.lines.push(Line::Received(what));
    }

    /// A refusal comes back, as it has to.
    pub(super) fn refused(&mut self, answer: &Answer) {
        self.received(format!("{} {}", answer.status.as_u16(), answer.error()));
        self.facts(&[("error_description", answer.description().to_owned())]);
    }

    /// Names and values that matter, one below the other.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) {
        let widest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let Style { dim, plain, .. } = self.paper.style;
        for (name, value) in facts {
            self.paper.line(&format!(
                "             {dim}{name:<widest$}{plain}  {value}"
            ));
            self.lines.push(Line::Fact {
                name: (*name).to_owned(),
                value: value.clone(),
            });
        }
    }

    /// What a token says.
    pub(super) fn token(&mut self, token: &Token) {
        let claims = &token.claims;
        let aud: Vec<&str> = claims.aud.iter().collect();
        self.facts(&[
            ("token", token.shortened()),
            ("sub", claims.sub.clone()),
            ("aud", aud.join(" ")),
            ("scope", claims.scope.clone().unwrap_or_default()),
            (
                "exp",
                format!("{} seconds after iat", claims.exp - claims.iat),
            ),
            ("grant_id", claims.grant_id.clone().unwrap_or_default()),
            ("signed", format!("{}, kid {}", token.alg, token.kid)),
        ]);
    }

    /// What a token says about who acts for whom.
    pub(super) fn delegation(&mut self, token: &Token) {
        let claims = &token.claims;
        let mut facts = vec![
            ("sub", claims.sub.clone()),
            ("scope", claims.scope.clone().unwrap_or_default()),
        ];
        if let Some(actor) = &claims.act {
            facts.push(("act", serde_json::to_string(actor).unwrap_or_default()));
        }
        if let Some(may_act) = &claims.may_act {
            facts.push(("may_act", may_act.to_string()));
        }
        self.facts(&facts);
    }

    /// A sentence in between.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.paper.line(&format!("       {text}"));
        self.lines.push(Line::Note(text));
    }

    /// What the act has shown.
    pub(super) fn conclude(&mut self, text: impl Into<String>) {
        self.conclusion = text.into();
    }
}

/// The whole telling.
pub(super) struct Show {
    paper: Paper,
    json: bool,
    issuer: String,
    mcp: String,
    began: Instant,
    acts: Vec<Act>,
    /// What ended it early.
    cut_short: Option<String>,
}

impl Show {
    /// Says who is there.
    pub(super) fn begin(stage: &Stage, json: bool) -> Self {
        let paper = Paper::new(json);
        let Style {
            bold, dim, plain, ..
        } = paper.style;
        let (issuer, mcp) = (stage.issuer(), &stage.mcp);
        paper.line(&format!(
            "\n{bold}Writ {version}: an agent, an MCP server, and who lets one use the other{plain}\n\n  \
             {dim}authorization server{plain}  {issuer}\n  \
             {dim}MCP server{plain}            {mcp}  with the tools {tools}\n  \
             {dim}agent{plain}                 knows that URL and its own Ed25519 key, nothing else\n",
            version = env!("CARGO_PKG_VERSION"),
            tools = super::notes::TOOLS.join(", "),
        ));
        Self {
            paper,
            json,
            issuer: issuer.to_owned(),
            mcp: mcp.clone(),
            began: Instant::now(),
            acts: Vec::new(),
            cut_short: None,
        }
    }

    /// Plays one act and says what became of it.
    ///
    /// # Errors
    /// [`Stopped`] when it did not do what it says.
    pub(super) async fn act<T>(
        &mut self,
        name: &'static str,
        title: &'static str,
        play: impl AsyncFnOnce(&mut Report) -> Result<T, Failed>,
    ) -> Result<T, Stopped> {
        let Style {
            bold,
            dim,
            good,
            bad,
            plain,
        } = self.paper.style;
        let number = self.acts.len() + 1;
        self.paper
            .line(&format!("{bold}{number:>2}  {title}{plain}"));
        let mut report = Report {
            paper: self.paper,
            lines: Vec::new(),
            conclusion: String::new(),
        };
        // Listed before it is played, so that it is there when time runs out.
        self.acts.push(Act {
            name,
            title,
            ok: false,
            ms: 0.0,
            detail: "not finished".to_owned(),
            details: Vec::new(),
        });
        let began = Instant::now();
        let played = play(&mut report).await;
        let ms = milliseconds(began);
        let detail = match &played {
            Ok(_) => {
                let text = format!("     {good}✓{plain} {}", report.conclusion);
                let shown = report.conclusion.chars().count() + 7;
                let gap = " ".repeat(WIDTH.saturating_sub(shown + 12));
                self.paper
                    .line(&format!("{text}{gap}{dim}{ms:>9.1} ms{plain}\n"));
                report.conclusion
            }
            Err(failed) => {
                let Failed { expected, seen } = failed;
                self.paper.line(&format!(
                    "     {bad}✗ expected{plain}  {expected}\n       {bad}seen{plain}      {seen}\n"
                ));
                failed.to_string()
            }
        };
        if let Some(act) = self.acts.last_mut() {
            act.ok = played.is_ok();
            act.ms = ms;
            act.detail = detail;
            act.details = report.lines;
        }
        played.map_err(|_| Stopped)
    }

    /// It took too long.
    pub(super) fn out_of_time(&mut self, limit: Duration) {
        let why = format!("not finished within {} seconds", limit.as_secs());
        if let Some(act) = self.acts.last_mut().filter(|act| !act.ok) {
            act.detail.clone_from(&why);
        }
        let Style { bad, plain, .. } = self.paper.style;
        self.paper.line(&format!("     {bad}✗{plain} {why}\n"));
        self.cut_short = Some(why);
    }

    /// The summary; success only when every act did what it says and none is missing.
    pub(super) fn end(self) -> ExitCode {
        let ms = milliseconds(self.began);
        let done = self.acts.iter().filter(|act| act.ok).count();
        let ok = self.cut_short.is_none() && done == self.acts.len() && done == super::acts::COUNT;
        if self.json {
            let document = json!({
                "ok": ok,
                "ms": ms,
                "issuer": self.issuer,
                "mcp_server": self.mcp,
                "steps": self.acts,
            });
            write(&format!("{document:#}"));
        } else {
            self.table(ok, done, ms);
        }
        if ok {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn table(&self, ok: bool, done: usize, ms: f64) {
        let Style {
            bold,
            dim,
            good,
            bad,
            plain,
        } = self.paper.style;
        let mark = |ok| {
            if ok {
                format!("{good}✓{plain}")
            } else {
                format!("{bad}✗{plain}")
            }
        };
        let width = WIDTH - 20;
        self.paper.line(&format!("{bold}Summary{plain}"));
        for (number, act) in (1..).zip(&self.acts) {
            let (title, ms) = (act.title, act.ms);
            self.paper.line(&format!(
                "  {} {number:>2}  {title:<width$}{dim}{ms:>9.1} ms{plain}",
                mark(act.ok)
            ));
        }
        let words = if ok {
            format!("all {done} steps did what they say")
        } else {
            format!("{done} of {} steps did what they say", super::acts::COUNT)
        };
        self.paper.line(&format!(
            "  {}     {bold}{words:<width$}{plain}{dim}{ms:>9.1} ms{plain}\n",
            mark(ok)
        ));
    }
}

/// What `--serve` says when both servers answer. These credentials are for throw-away servers,
/// and printing them is what was asked for.
pub(super) fn serving(stage: &Stage, agent: &Credentials, json: bool) {
    let (issuer, mcp) = (stage.issuer(), &stage.mcp);
    let administrator = stage.administrator().display();
    if json {
        let document = json!({
            "issuer": issuer,
            "mcp_server": mcp,
            "client_id": agent.client_id,
            "client_secret": agent.client_secret,
            "admin_credentials": stage.administrator(),
            "pid": std::process::id(),
        });
        write(&document.to_string());
        return;
    }
    let paper = Paper::new(false);
    let Style { dim, plain, .. } = paper.style;
    paper.line(&format!(
        "\n  {dim}authorization server{plain}  {issuer}\n  \
         {dim}administrator{plain}         {administrator}\n  \
         {dim}MCP server{plain}            {mcp}\n  \
         {dim}agent{plain}                 client_id {} client_secret {}\n\n  \
         Running until interrupted; nothing is kept.\n",
        agent.client_id, agent.client_secret,
    ));
}

/// How wide lines with a time at the end are.
const WIDTH: usize = 96;

fn milliseconds(since: Instant) -> f64 {
    // One decimal is as much as means something.
    (since.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

/// Where lines go.
#[derive(Clone, Copy, Debug)]
struct Paper {
    style: Style,
    silent: bool,
}

impl Paper {
    fn new(silent: bool) -> Self {
        Self {
            style: Style::fitting(),
            silent,
        }
    }

    fn line(self, text: &str) {
        if !self.silent {
            write(text);
        }
    }
}

fn write(text: &str) {
    // Somebody who closes the pipe has seen enough.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Escape sequences, or nothing.
#[derive(Clone, Copy, Debug)]
struct Style {
    bold: &'static str,
    dim: &'static str,
    good: &'static str,
    bad: &'static str,
    plain: &'static str,
}

impl Style {
    /// Colours for a terminal whose user has not set `NO_COLOR`.
    fn fitting() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|value| value == "dumb");
        if unwanted || dumb || !std::io::stdout().is_terminal() {
            return Self {
                bold: "",
                dim: "",
                good: "",
                bad: "",
                plain: "",
            };
        }
        Self {
            bold: "\x1b[1m",
            dim: "\x1b[2m",
            good: "\x1b[32m",
            bad: "\x1b[31m",
            plain: "\x1b[0m",
        }
    }
}
