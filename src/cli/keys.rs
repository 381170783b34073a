//! `writ keys`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{Api, Connection},
    print,
};
use crate::keys::SigningAlgorithm;

/// Signing keys.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List signing keys: next, active, retired, past.
    List,
    /// Let the next key sign; the one before verifies until its last token is over.
    Rotate {
        /// Only keys of this algorithm: RS256, ES256 or EdDSA.
        #[arg(long, value_name = "NAME", value_parser = algorithm)]
        algorithm: Option<SigningAlgorithm>,
        /// Even if the next key was published so recently that some verifier may not have it yet.
        #[arg(long)]
        now: bool,
    },
}

impl Keys {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let api = Api::connect(&self.connection).await?;
        let keys: Vec<Value> = match self.action {
            Action::List => api.get("/keys").await?,
            Action::Rotate { algorithm, now } => {
                let wanted = json!({ "algorithm": algorithm, "now": now });
                api.post("/keys/rotate", &wanted).await?
            }
        };
        if json {
            print::json(&keys);
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<_> = keys.iter().map(row).collect();
        let head = [
            "kid",
            "algorithm",
            "state",
            "published",
            "signs since",
            "removed at",
        ];
        print::table(&head, &rows);
        Ok(ExitCode::SUCCESS)
    }
}

fn row(key: &Value) -> Vec<String> {
    let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    let moment = |name: &str| {
        key[name]
            .as_i64()
            .map_or_else(|| "-".to_owned(), print::moment)
    };
    vec![
        text("kid"),
        text("algorithm"),
        text("state"),
        moment("published_at"),
        moment("activated_at"),
        moment("remove_at"),
    ]
}

/// Reads the name of an algorithm.
///
/// # Errors
/// Says which there are.
pub(super) fn algorithm(name: &str) -> Result<SigningAlgorithm, String> {
    let names = SigningAlgorithm::ALL.map(SigningAlgorithm::as_str);
    name.parse()
        .map_err(|_| format!("one of {}", names.join(", ")))
}
