//! `writ tenant`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{self, Api, Connection},
    print::{self, text},
};
use crate::config::RegistrationMode;

/// Issuers below this one, each with keys, clients and resources of its own.
#[derive(Debug, Args)]
pub(super) struct Tenant {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List tenants.
    List,
    /// Show a tenant.
    Show {
        /// Its name.
        name: String,
    },
    /// Create a tenant with an administrator of its own.
    Add {
        /// Its name: 1 to 63 of a-z, 0-9 and '-'.
        name: String,
        /// Who may register clients there: open, token or off.
        #[arg(long, value_name = "MODE", value_parser = mode)]
        registration: Option<RegistrationMode>,
        /// Write its administrator's credentials to this new file instead of printing them.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Remove a tenant and everything that belongs to it; its audit trail stays.
    Remove {
        /// Its name.
        name: String,
    },
}

impl Tenant {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let api = Api::connect(&self.connection).await?;
        match self.action {
            Action::List => {
                let tenants: Vec<Value> = api.get("/tenants").await?;
                show(&tenants, json);
            }
            Action::Show { name } => {
                let tenant: Value = api.get(&api::path("tenants", &name)).await?;
                if json {
                    print::json(&tenant);
                } else {
                    show(&[tenant], json);
                }
            }
            Action::Add {
                name,
                registration,
                out,
            } => {
                if let Some(path) = out.as_deref().filter(|path| path.exists()) {
                    return Err(Failure::new("exists and is not overwritten").at(path));
                }
                let wanted = json!({ "name": name, "registration": registration });
                let mut tenant: Value = api.post("/tenants", &wanted).await?;
                if let Some(path) = &out {
                    let text = serde_json::to_string_pretty(&tenant["administrator"])? + "\n";
                    api::write_new(path, text.as_bytes())?;
                    // What is kept in a file need not be in a terminal's history as well.
                    tenant["administrator"] = json!({ "file": path });
                }
                if json {
                    print::json(&tenant);
                } else {
                    created(&tenant, out.as_deref());
                }
            }
            Action::Remove { name } => {
                api.delete(&api::path("tenants", &name)).await?;
                print::removed("tenant", &name, json);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn created(tenant: &Value, out: Option<&std::path::Path>) {
    let (name, issuer) = (text(tenant, "name"), text(tenant, "issuer"));
    print::line(&format!("created tenant {name}, issuer {issuer}"));
    match out {
        Some(path) => print::line(&format!(
            "its administrator is in {0}: writ client list --tenant {name} --credentials {0}",
            path.display()
        )),
        None => {
            print::line("its administrator, shown once; keep it in a file for --credentials:");
            print::json(&tenant["administrator"]);
        }
    }
}

fn show(tenants: &[Value], json: bool) {
    if json {
        print::json(&tenants);
        return;
    }
    let rows: Vec<_> = tenants
        .iter()
        .map(|tenant| {
            vec![
                text(tenant, "name"),
                text(tenant, "issuer"),
                text(tenant, "registration"),
                tenant["resources"].to_string(),
                tenant["clients"].to_string(),
            ]
        })
        .collect();
    print::table(
        &["name", "issuer", "registration", "resources", "clients"],
        &rows,
    );
}

fn mode(word: &str) -> Result<RegistrationMode, String> {
    serde_json::from_value(word.into()).map_err(|_| "one of open, token, off".to_owned())
}
