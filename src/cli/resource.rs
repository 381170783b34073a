//! `writ resource`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{self, Api, Connection},
    document, import,
    keys::algorithm,
    paste::Paste,
    print::{self, text},
};
use crate::{keys::SigningAlgorithm, resources::declaration::ResourceDeclaration};

/// MCP servers: their tools and scopes.
#[derive(Debug, Args)]
pub(super) struct Resource {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List resources.
    List,
    /// Show a resource, and what the author of its server has to paste.
    Show {
        /// Its id.
        id: String,
    },
    /// Declare one resource: from a file, or with flags.
    Add(Box<Add>),
    /// Remove a resource: no more tokens for it are issued.
    Remove {
        /// Its id.
        id: String,
    },
    /// Ask a live MCP server for its tools and propose a declaration.
    Import(import::Import),
}

#[derive(Debug, Args)]
struct Add {
    /// One resource: .toml, .json, .yaml or .yml.
    #[arg(conflicts_with_all = [
        "id", "resource", "name", "tool", "sensitive_tool", "default_scope", "algorithm", "lifetime",
    ])]
    file: Option<PathBuf>,
    /// Short name: 1 to 64 of a-z, 0-9, '-', '_' and '.'.
    #[arg(long, required_unless_present = "file")]
    id: Option<String>,
    /// The server's URL, exactly as clients use it.
    #[arg(long, value_name = "URI", required_unless_present = "file")]
    resource: Option<String>,
    /// A name for people.
    #[arg(long)]
    name: Option<String>,
    /// A tool; repeat for more.
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,
    /// A tool that a person should decide about: never granted by default or by '*'.
    #[arg(long, value_name = "NAME")]
    sensitive_tool: Vec<String>,
    /// A scope for clients that ask for none; repeat for more.
    #[arg(long, value_name = "SCOPE")]
    default_scope: Vec<String>,
    /// What its tokens are signed with: RS256, ES256 or EdDSA.
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<SigningAlgorithm>,
    /// Seconds its tokens live: 60 to 3600.
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<i64>,
}

impl Resource {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        match self.action {
            Action::List => {
                let api = Api::connect(&self.connection).await?;
                let resources: Vec<Value> = api.get("/resources").await?;
                list(&resources, json);
            }
            Action::Show { id } => {
                let api = Api::connect(&self.connection).await?;
                let resource = api.get(&api::path("resources", &id)).await?;
                show(&api, resource, json).await?;
            }
            Action::Add(add) => {
                let declaration = add.declaration()?;
                let api = Api::connect(&self.connection).await?;
                create(&api, &declaration, json).await?;
            }
            Action::Remove { id } => {
                let api = Api::connect(&self.connection).await?;
                api.delete(&api::path("resources", &id)).await?;
                print::removed("resource", &id, json);
            }
            Action::Import(import) => import.run(&self.connection, json).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Declares a resource that is not there yet, and says what to paste.
///
/// # Errors
/// The server's words.
pub(super) async fn create(api: &Api, declaration: &Value, json: bool) -> Result<(), Failure> {
    let created: Value = api.post("/resources", declaration).await?;
    if !json {
        let id = created["id"].as_str().unwrap_or_default();
        print::line(&format!("created resource {id}"));
    }
    show(api, created, json).await
}

impl Add {
    fn declaration(&self) -> Result<Value, Failure> {
        if let Some(path) = &self.file {
            let value = document::read_value(path)?;
            if value.get("resources").is_some() {
                return Err(Failure::new("resources: this file is for `writ apply`").at(path));
            }
            let _: ResourceDeclaration = document::check(path, value.clone())?;
            return Ok(value);
        }
        let tool =
            |sensitive: bool| move |name: &String| json!({ "name": name, "sensitive": sensitive });
        let tools: Vec<Value> = self
            .tool
            .iter()
            .map(tool(false))
            .chain(self.sensitive_tool.iter().map(tool(true)))
            .collect();
        let mut declaration = json!({
            "id": self.id,
            "resource": self.resource,
            "tools": tools,
            "default_scopes": self.default_scope,
        });
        if let Some(name) = &self.name {
            declaration["name"] = json!(name);
        }
        if let Some(algorithm) = self.algorithm {
            declaration["signing_algorithm"] = json!(algorithm);
        }
        if let Some(seconds) = self.lifetime {
            declaration["access_token_lifetime"] = json!(seconds);
        }
        let _: ResourceDeclaration = document::fits(declaration.clone())?;
        Ok(declaration)
    }
}

fn list(resources: &[Value], json: bool) {
    if json {
        print::json(&resources);
        return;
    }
    let rows: Vec<_> = resources
        .iter()
        .map(|resource| {
            let tools = resource["tools"].as_array().map_or(&[][..], Vec::as_slice);
            let sensitive = tools.iter().filter(|tool| tool["sensitive"] == true);
            vec![
                text(resource, "id"),
                text(resource, "resource"),
                text(resource, "name"),
                format!("{} ({} sensitive)", tools.len(), sensitive.count()),
                text(resource, "signing_algorithm"),
                format!("{} s", resource["access_token_lifetime"]),
            ]
        })
        .collect();
    let head = [
        "id",
        "resource",
        "name",
        "tools",
        "signed with",
        "tokens live",
    ];
    print::table(&head, &rows);
}

async fn show(api: &Api, mut resource: Value, json: bool) -> Result<(), Failure> {
    let metadata_url = text(&resource, "metadata_url");
    let uri = text(&resource, "resource");
    let tools = resource["tools"].as_array().cloned().unwrap_or_default();
    let names = tools.iter().map(|tool| text(tool, "name")).collect();
    let name = text(&resource, "name");
    let paste = Paste::new(api.http(), uri, name, names, metadata_url).await?;
    if json {
        resource["paste"] = paste.json();
        print::json(&resource);
        return Ok(());
    }
    let rows: Vec<_> = tools
        .iter()
        .map(|tool| {
            let sensitive = tool["sensitive"] == true;
            vec![
                crate::oauth::scope::tool_scope(&text(tool, "name")),
                if sensitive { "sensitive" } else { "" }.to_owned(),
                text(tool, "description"),
            ]
        })
        .collect();
    print::table(&["scope", "", "description"], &rows);
    print::line(&paste.whole());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        add: Add,
    }

    fn declaration(line: &str) -> Result<Value, Failure> {
        let words = std::iter::once("add").chain(line.split(' '));
        Line::try_parse_from(words).unwrap().add.declaration()
    }

    #[test]
    fn flags_make_the_declaration_a_file_would() {
        let made = declaration(
            "--id w --resource http://127.0.0.1:1/mcp --tool a --tool b --sensitive-tool c \
             --default-scope tool:a --algorithm ES256 --lifetime 60",
        );
        let expected = json!({
            "id": "w",
            "resource": "http://127.0.0.1:1/mcp",
            "tools": [
                { "name": "a", "sensitive": false },
                { "name": "b", "sensitive": false },
                { "name": "c", "sensitive": true },
            ],
            "default_scopes": ["tool:a"],
            "signing_algorithm": "ES256",
            "access_token_lifetime": 60,
        });
        assert_eq!(made.unwrap(), expected);
    }

    #[test]
    fn a_file_for_apply_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        std::fs::write(&path, r#"{"resources":[]}"#).unwrap();
        let why = declaration(&path.display().to_string()).unwrap_err();
        assert!(why.to_string().contains("writ apply"), "{why}");
    }
}
