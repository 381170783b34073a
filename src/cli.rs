//! The command line: reads it, runs one command, says what went wrong in words.
//!
//! Commands that change a running server use its admin API, as any other client would. Backup and
//! restore work on the database.
//!
//! | file | what |
//! |---|---|
//! | `serve`, `apply`, `resource`, `client`, `user`, `revoke`, `event`, `stream`, `keys`, `audit`, `tenant`, `token`, `doctor` | one command each |
//! | `check_metadata` | a client's metadata document, as the server would read it |
//! | `backup`, `restore` | the database itself, without the server |
//! | `api`, `token_request`, `possession`, `http` | the admin API from the outside, from top to bottom |
//! | `import`, `mcp` | a live MCP server's tools, as a declaration |
//! | `paste` | what the author of an MCP server needs |
//! | `private_key`, `document`, `print` | files in, text out |
//! | `notify` | words to the service manager |

mod api;
mod apply;
mod audit;
mod backup;
mod check_metadata;
mod client;
mod doctor;
mod document;
mod event;
mod http;
mod import;
mod keys;
mod mcp;
mod notify;
mod paste;
mod possession;
mod print;
mod private_key;
mod resource;
mod restore;
mod revoke;
mod serve;
mod stream;
mod tenant;
mod token;
mod token_request;
mod user;

use std::{fmt, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

/// The authorization server for AI agents and MCP servers.
#[derive(Debug, Parser)]
#[command(name = "writ", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// See the whole job done on this machine: a server, an MCP server, an agent.
    #[cfg(feature = "demo")]
    Demo(crate::demo::Demo),
    /// Make declarations of resources, clients, users and tenants true.
    Apply(apply::Apply),
    /// MCP servers: their tools and scopes.
    Resource(resource::Resource),
    /// Agents and other clients: how they authenticate and what they may ask for.
    Client(client::Client),
    /// People: how they are called and what they sign in with.
    User(user::User),
    /// End tokens before their time.
    Revoke(revoke::Revoke),
    /// Tell receivers of security events something.
    Event(event::Event),
    /// Streams of security events: who is told what ends, and how.
    Stream(stream::Stream),
    /// Signing keys.
    Keys(keys::Keys),
    /// What happened, in a chain that shows tampering.
    Audit(audit::Audit),
    /// Issuers below this one, each with keys, clients and resources of its own.
    Tenant(tenant::Tenant),
    /// Write everything the server knows to a file, while it runs.
    Backup(backup::Backup),
    /// Fill an empty database from such a file.
    Restore(restore::Restore),
    /// Get an access token, to try things out.
    Token(token::Token),
    /// Look at an issuer or an MCP server as its clients do, and say what to mend.
    Doctor(doctor::Doctor),
}

/// Why a command ends without success, in words for the person who typed it.
#[derive(Debug)]
pub struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Failure {
    /// A failure with these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The same failure with the file it is about.
    #[must_use]
    pub fn at(self, file: &Path) -> Self {
        Self(format!("{}: {}", file.display(), self.0))
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { command, json } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::from(error)),
    };
    let done = runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve.run(json).await,
            #[cfg(feature = "demo")]
            Command::Demo(demo) => demo.run(json).await,
            Command::Apply(apply) => apply.run(json).await,
            Command::Resource(resource) => resource.run(json).await,
            Command::Client(client) => client.run(json).await,
            Command::User(user) => user.run(json).await,
            Command::Revoke(revoke) => revoke.run(json).await,
            Command::Event(event) => event.run(json).await,
            Command::Stream(stream) => stream.run(json).await,
            Command::Keys(keys) => keys.run(json).await,
            Command::Audit(audit) => audit.run(json).await,
            Command::Tenant(tenant) => tenant.run(json).await,
            Command::Backup(backup) => backup.run(json).await,
            Command::Restore(restore) => restore.run(json).await,
            Command::Token(token) => token.run(json).await,
            Command::Doctor(doctor) => doctor.run(json).await,
        }
    });
    match done {
        Ok(code) => code,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    print::note(&format!("writ: {failure}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn json_and_connection_may_stand_anywhere() {
        for line in [
            "writ --json resource list --tenant acme",
            "writ resource --tenant acme list --json",
            "writ resource list --json --credentials a.json --server http://127.0.0.1:1",
        ] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(arguments.json, "{line}");
        }
    }

    #[test]
    fn incomplete_and_contradictory_lines_are_refused() {
        for line in [
            "writ apply",
            "writ resource add",
            "writ resource add a.toml --id x",
            "writ resource add --id x",
            "writ resource import",
            "writ resource import http://127.0.0.1 --apply --out a.toml",
            "writ client add --id x --jwks a.json --secret-stdin",
            "writ client key generate",
            "writ client check-metadata",
            "writ token",
            "writ user add",
            "writ user add alice --password-stdin --password-file a.txt",
            "writ user add alice --no-password --password-stdin",
            "writ user add alice --email-verified",
            "writ user set-password",
            "writ user import",
            "writ user reset-factor",
            "writ user credentials",
            "writ user sessions",
            "writ user sessions alice --end x --all",
            "writ revoke",
            "writ revoke client",
            "writ event emit",
            "writ stream pause",
            "writ token x --client-id a --key k.pem --client-secret-stdin",
            "writ token x --key k.pem",
            "writ token x --client-id a",
        ] {
            assert!(
                Arguments::try_parse_from(line.split(' ')).is_err(),
                "{line}"
            );
        }
    }
}
