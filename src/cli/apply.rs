//! `writ apply`

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::Value;

use super::{
    Failure,
    api::{Api, Connection},
    document, paste, print,
    user::secret_from,
};
use crate::{
    admin::apply::{Action, Declaration, DeclaredTenant, Line},
    resources::declaration::ResourceDeclaration,
};

/// Make declarations of resources, clients, users and tenants true on a running server.
///
/// The same file twice changes nothing the second time, and what a file does not mention stays.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// Declarations: .toml, .json, .yaml or .yml.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Apply {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        // All files are read and checked before the first one is sent.
        let mut declarations = Vec::new();
        for path in &self.files {
            let mut value = document::read_value(path)?;
            fill_in_passwords(path, &mut value)?;
            let declaration: Declaration = document::check(path, value.clone())?;
            declarations.push((path, value, declaration));
        }
        let api = Api::connect(&self.connection).await?;
        let mut done = Vec::new();
        for (path, value, declaration) in declarations {
            let lines = send(&api, &value, self.dry_run)
                .await
                .map_err(|why| why.at(path))?;
            if !json {
                print::applied(&lines, self.dry_run);
                if !self.dry_run {
                    explain(&api, &lines, &declaration).await?;
                }
            }
            done.extend(lines);
        }
        if json {
            print::json(&done);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Puts passwords in the place of the files that hold them: `password_file`, beside the document
/// unless its path says otherwise.
fn fill_in_passwords(document: &Path, value: &mut Value) -> Result<(), Failure> {
    let directory = document.parent().unwrap_or(Path::new(""));
    let fill = |part: &mut Value| -> Result<(), Failure> {
        let users = part.get_mut("users").and_then(Value::as_array_mut);
        for user in users.into_iter().flatten() {
            let Some(user) = user.as_object_mut() else {
                continue;
            };
            let Some(Value::String(file)) = user.remove("password_file") else {
                continue;
            };
            let password = secret_from(&directory.join(file))?;
            if user.insert("password".into(), password.into()).is_some() {
                let why = "users: there is a password and a password_file";
                return Err(Failure::new(why).at(document));
            }
        }
        Ok(())
    };
    fill(value)?;
    let tenants = value.get_mut("tenants").and_then(Value::as_array_mut);
    tenants.into_iter().flatten().try_for_each(fill)
}

/// Sends one declaration.
///
/// # Errors
/// The server's words.
pub(super) async fn send(
    api: &Api,
    declaration: &Value,
    dry_run: bool,
) -> Result<Vec<Line>, Failure> {
    let query = if dry_run { "?dry_run=true" } else { "" };
    let mut lines: Vec<Line> = api.post(&format!("/apply{query}"), declaration).await?;
    if dry_run {
        // Generated for nobody.
        lines.iter_mut().for_each(|line| line.client_secret = None);
    }
    Ok(lines)
}

/// What the authors of new MCP servers have to paste.
async fn explain(api: &Api, lines: &[Line], declaration: &Declaration) -> Result<(), Failure> {
    let created: Vec<_> = lines
        .iter()
        .filter(|line| line.kind == "resource" && line.action == Action::Created)
        .filter_map(|line| Some((line, declared(declaration, line)?)))
        .collect();
    for (line, resource) in &created {
        let (uri, name) = (resource.resource.clone(), resource.document.name.clone());
        let tools = resource.document.tools.iter();
        let tools = tools.map(|tool| tool.name.clone()).collect();
        let url = line.metadata_url.clone().unwrap_or_default();
        let paste = paste::Paste::new(api.http(), uri, name, tools, url).await?;
        if created.len() == 1 {
            print::line(&paste.whole());
        } else {
            print::line(&paste.short());
        }
    }
    if created.len() > 1 {
        print::line("\nwrit resource show ID  prints what the code of a server needs.");
    }
    Ok(())
}

/// The declaration that a line is about.
fn declared<'a>(declaration: &'a Declaration, line: &Line) -> Option<&'a ResourceDeclaration> {
    let named = |tenant: &&DeclaredTenant| tenant.name == line.tenant;
    let resources = match declaration.tenants.iter().find(named) {
        Some(tenant) => &tenant.resources,
        None => &declaration.resources,
    };
    resources.iter().find(|resource| resource.id == line.id)
}
