//! `writ audit`

mod checkpoint;
mod events;
mod export;
mod keeping;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, api::Connection};

/// What happened, in a chain that shows tampering.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List events of all nodes, oldest first.
    List(events::List),
    /// Show events as they happen, until interrupted.
    Tail(events::Tail),
    /// Write events as JSON lines, from where the last export ended.
    Export(export::Export),
    /// Check every row and both ends of every chain; exit code 1 if one does not hold.
    Verify(verify::Verify),
    /// Sign what the trail is now: position and hash of every chain, to be kept elsewhere.
    Checkpoint(checkpoint::Sign),
    /// Where the server delivers events to, and how many wait.
    Sinks(keeping::Sinks),
    /// Take away the oldest events, those that every sink has; of a trail that holds.
    Truncate(keeping::Truncate),
}

impl Audit {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        match self.action {
            Action::List(list) => list.run(&self.connection, json).await,
            Action::Tail(tail) => tail.run(&self.connection, json).await,
            Action::Export(export) => export.run(&self.connection).await,
            Action::Verify(verify) => verify.run(&self.connection, json).await,
            Action::Checkpoint(sign) => sign.run(&self.connection, json).await,
            Action::Sinks(sinks) => sinks.run(&self.connection, json).await,
            Action::Truncate(truncate) => truncate.run(&self.connection, json).await,
        }
    }
}
