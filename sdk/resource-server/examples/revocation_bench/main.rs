//! How long it takes until a revocation has arrived: the load and the clock of
//! `conformance/bench/run revocation`.
//!
//! ```sh
//! revocation_bench FILE
//! ```
//!
//! FILE is a [`Case`], the answer one JSON object. One process holds a real MCP
//! server behind the layer with a client that calls it without a pause, any
//! number of other receivers that only note what arrives, and the administrator
//! who revokes. Before it measures it prints `ready` and waits for a line, so
//! that other load can be begun and costs be read.

mod api;
mod calls;
mod feed;
mod fleet;
mod revocations;
mod server;
mod told;

use std::error::Error;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;

use api::{Administrator, Scene};
use fleet::Fleet;

type Failure = Box<dyn Error + Send + Sync>;

/// What is measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The server.
    issuer: String,
    /// Its administrator's credentials.
    credentials: PathBuf,
    /// Its process, to read what it costs.
    pid: u32,
    /// How SETs arrive.
    way: Way,
    /// All receivers; the real server is one of them when it is called.
    receivers: usize,
    /// Streams of each client: only one of them can be the server's own.
    streams_each: usize,
    /// What SETs are signed with; the default when it is not said.
    algorithm: Option<String>,
    /// Receivers whose connections are refused.
    dead: usize,
    /// Receivers that take five seconds for an answer.
    slow: usize,
    /// Tokens that are revoked, one after the other.
    revocations: usize,
    /// Agents that are disabled before that, one after the other.
    kill_switches: usize,
}

/// How SETs arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Push,
    Feed,
    Poll,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        return Err("usage: revocation_bench FILE".into());
    };
    let case: Case = serde_json::from_slice(&std::fs::read(file)?)?;
    println!("{}", run(&case).await?);
    Ok(())
}

async fn run(case: &Case) -> Result<serde_json::Value, Failure> {
    let administrator = Administrator::connect(&case.issuer, &case.credentials).await?;
    let listener = server::listener().await?;
    let resource = server::resource(&listener)?;
    let called = usize::from(case.revocations > 0);
    let others = case.receivers - called;
    let scene = Scene {
        resource: &resource,
        others: others.div_ceil(case.streams_each),
        agents: case.kill_switches,
        algorithm: case.algorithm.as_deref(),
    };
    administrator.declare(&scene).await?;
    let empty = fleet::resident(case.pid)?;
    let server = match called {
        0 => None,
        _ => Some(server::serve(listener, &case.issuer, &resource, case.way).await?),
    };
    let mut fleet = Fleet::subscribe(&administrator, case, others).await?;
    let subscribed = fleet::resident(case.pid)?;
    fleet.listen(&administrator).await?;
    let listening = fleet::resident(case.pid)?;

    println!("ready");
    spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;

    let mut switched = Vec::new();
    for number in 0..case.kill_switches {
        let switch = revocations::disable(&administrator, &fleet, &resource, case.pid, number);
        switched.push(switch.await?);
    }
    let revoked = match server {
        None => Vec::new(),
        Some(server) => revocations::revoke(&administrator, &server, case.revocations).await?,
    };
    fleet.still_listens()?;
    let books = told::audit(&fleet, case.kill_switches, &administrator.keys().await?)?;
    Ok(json!({
        "revocations": revoked,
        "kill_switches": switched,
        "books": books,
        "resident_kib": { "declared": empty, "subscribed": subscribed, "listening": listening },
    }))
}
