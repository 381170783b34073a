//! `writ demo`: the whole job on one machine, with real parts over real HTTP.
//!
//! | file | what |
//! |---|---|
//! | [`stage`] | a Writ server and an MCP server on free ports, on a directory that is removed |
//! | [`notes`] | the MCP server: a note store behind the resource-server layer |
//! | [`agent`] | what an agent's libraries do: discovery, registration, tokens |
//! | [`mcp`] | the agent's MCP client |
//! | [`operator`] | the administrator, at the admin API |
//! | [`acts`] | what happens, one file for each act |
//! | [`show`] | how it is told, to people and to programs |
//!
//! The server is this process's own, but nobody uses that: agent and administrator know URLs and
//! credentials, and nothing else. To add an act, write its file in `acts` and its line in
//! [`acts::play`].

mod acts;
mod agent;
mod mcp;
mod notes;
mod operator;
mod show;
mod stage;

use std::{process::ExitCode, time::Duration};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::{show::Show, stage::Stage};
use crate::cli::Failure;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(60);

/// See the whole job done on this machine: a server, an MCP server, an agent.
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep both servers running instead, and print where they are and an agent's credentials.
    #[arg(long)]
    serve: bool,
    /// How many MCP servers hear of the revocation in the last act.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=200))]
    servers: u16,
}

impl Demo {
    /// Runs it; the exit code is 0 only if every step did what it says.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let stopped = async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        };
        let stage = Stage::set(self.servers).await?;
        let done = if self.serve {
            serve(&stage, json, stopped).await
        } else {
            tokio::select! {
                code = perform(&stage, json) => Ok(code),
                () = stopped => Err(Failure::new("interrupted")),
            }
        };
        stage.clear().await;
        done
    }
}

async fn perform(stage: &Stage, json: bool) -> ExitCode {
    let mut show = Show::begin(stage, json);
    let played = tokio::time::timeout(LIMIT, acts::play(stage, &mut show)).await;
    if played.is_err() {
        show.out_of_time(LIMIT);
    }
    show.end()
}

async fn serve(
    stage: &Stage,
    json: bool,
    stopped: impl Future<Output = ()>,
) -> Result<ExitCode, Failure> {
    let credentials = stage.declare_agent().await?;
    show::serving(stage, &credentials, json);
    stopped.await;
    Ok(ExitCode::SUCCESS)
}
