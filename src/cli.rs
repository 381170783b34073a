//! The command line: reads it, runs one command, says what went wrong in words.
//!
//! Commands that change a running server use its admin API, as any other client would.

mod document;
mod print;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The authorization server for AI agents and MCP servers.
#[derive(Debug, Parser)]
#[command(name = "writ", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// See the whole job done on this machine: a server, an MCP server, an agent.
    #[cfg(feature = "demo")]
    Demo(crate::demo::Demo),
}

/// Why a command ends without success, in words for the person who typed it.
#[derive(Debug)]
pub struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Failure {
    /// A failure with these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::from(error)),
    };
    let done = runtime.block_on(async {
        match arguments.command {
            Command::Serve(serve) => serve.run().await,
            #[cfg(feature = "demo")]
            Command::Demo(demo) => demo.run().await,
        }
    });
    match done {
        Ok(code) => code,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the command line speaks to a person")]
    {
        eprintln!("writ: {}", failure.0);
    }
    ExitCode::FAILURE
}
