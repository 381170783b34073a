//! `writ revoke`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{Api, Connection},
    print,
    token::secret_from_stdin,
};

/// End tokens before their time.
///
/// It holds at once where tokens are introspected or exchanged, and at the admin API. What a
/// client may ask for stays: see `writ client disable`.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(subcommand)]
    what: What,
    /// Why, for the audit trail.
    #[arg(long, global = true, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One access token; what was exchanged for it stays.
    Token {
        /// Its jti, or `-` to read the token from standard input.
        token: String,
    },
    /// A grant, with every token that hangs from it or was derived from one.
    Grant {
        /// Its id: `grant_id` in tokens and in the audit trail.
        id: String,
    },
    /// Everything that was granted to a client.
    Client {
        /// Its client_id.
        id: String,
    },
    /// Everything that was granted for a subject.
    Subject {
        /// The subject: `sub` in tokens.
        sub: String,
    },
    /// Everything that was granted at a resource.
    Resource {
        /// Its id or URI.
        name: String,
    },
    /// Everything that was granted in the tenant that --tenant or the credentials say.
    Tenant {
        /// Its name, to be sure; `default` for the server's own.
        name: String,
    },
}

impl What {
    /// The member of the request, and its value.
    fn member(self) -> Result<(&'static str, String), Failure> {
        Ok(match self {
            Self::Token { token } if token == "-" => ("token", secret_from_stdin()?),
            Self::Token { token } => ("token", token),
            Self::Grant { id } => ("grant", id),
            Self::Client { id } => ("client", id),
            Self::Subject { sub } => ("subject", sub),
            Self::Resource { name } => ("resource", name),
            Self::Tenant { name } => ("tenant", name),
        })
    }
}

impl Revoke {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let (noun, name) = self.what.member()?;
        let api = Api::connect(&self.connection).await?;
        let mut wanted = json!({ (noun): name });
        if let Some(reason) = &self.reason {
            wanted["reason"] = json!(reason);
        }
        let ended: Value = api.post("/revocations", &wanted).await?;
        if json {
            print::json(&ended);
        } else {
            print::line(&words(noun, &name, &ended));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn words(noun: &str, name: &str, ended: &Value) -> String {
    let count = |member: &str| ended[member].as_u64().unwrap_or_default();
    if noun == "token" {
        return match count("tokens") {
            0 => "the token held no more".to_owned(),
            _ => "revoked the token".to_owned(),
        };
    }
    match (noun, count("grants")) {
        ("grant", 0) => format!("grant {name} is not there"),
        ("grant", _) => format!("ended grant {name}"),
        (_, 1) => format!("ended 1 grant of {noun} {name}"),
        (_, many) => format!("ended {many} grants of {noun} {name}"),
    }
}
