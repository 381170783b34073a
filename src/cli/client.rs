//! `writ client`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    api::{self, Api, Connection},
    check_metadata::CheckMetadata,
    document,
    keys::algorithm,
    print::{self, text},
    private_key,
    token::secret_from_stdin,
};
use crate::{
    clients::declaration::ClientDeclaration,
    entropy::Entropy,
    keys::{SigningAlgorithm, generate, jws::Signer},
};

/// Agents and other clients: how they authenticate and what they may ask for.
#[derive(Debug, Args)]
pub(super) struct Client {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List clients.
    List,
    /// Show a client; secrets are not kept and cannot be shown.
    Show {
        /// Its client_id.
        id: String,
    },
    /// Declare one client: from a file, or with flags.
    Add(Box<Add>),
    /// Remove a client; what it was granted ends with it.
    Remove {
        /// Its client_id.
        id: String,
    },
    /// Give a client a new secret, shown once; the old one holds no more.
    NewSecret {
        /// Its client_id.
        id: String,
    },
    /// Keep a client from authenticating, and end what it was granted.
    Disable {
        /// Its client_id.
        id: String,
    },
    /// Let a disabled client authenticate again; what it was granted has ended.
    Enable {
        /// Its client_id.
        id: String,
    },
    /// Show what a server with these settings makes of a client ID metadata document, and why.
    CheckMetadata(CheckMetadata),
    /// Keys that clients keep for themselves.
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Make a private key for private_key_jwt and print its public JWKS.
    Generate {
        /// EdDSA, ES256 or RS256.
        #[arg(long, value_name = "NAME", default_value = "EdDSA", value_parser = algorithm)]
        algorithm: SigningAlgorithm,
        /// Where the private key goes: PKCS#8 PEM, readable by its owner, never over another file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// One client: .toml, .json, .yaml or .yml.
    #[arg(conflicts_with_all = [
        "id", "name", "credential", "access", "grant", "serves", "profile", "redirect_uri",
        "post_logout_redirect_uri", "backchannel_logout_uri",
    ])]
    file: Option<PathBuf>,
    /// Its client_id.
    #[arg(long, required_unless_present = "file")]
    id: Option<String>,
    /// A name for people.
    #[arg(long)]
    name: Option<String>,
    /// Read its secret from standard input; without keys or this one is generated.
    #[arg(long, group = "credential")]
    secret_stdin: bool,
    /// Its public keys: a JWKS as `writ client key generate` prints it.
    #[arg(long, value_name = "FILE", group = "credential")]
    jwks: Option<PathBuf>,
    /// Where its public keys are.
    #[arg(long, value_name = "URL", group = "credential")]
    jwks_uri: Option<String>,
    /// It keeps no secret: an app on people's own devices.
    #[arg(long, group = "credential")]
    public: bool,
    /// Its set of rules.
    #[arg(long, value_name = "NAME", value_parser = ["strict", "fapi2", "oidc_compat"])]
    profile: Option<String>,
    /// Where the answers to its authorization requests may go; repeat for more.
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// Where a browser may be sent after logout; repeat for more.
    #[arg(long, value_name = "URI")]
    post_logout_redirect_uri: Vec<String>,
    /// Where it is told that a session of a person has ended.
    #[arg(long, value_name = "URL")]
    backchannel_logout_uri: Option<String>,
    /// What it may ask for: RESOURCE=SCOPE,SCOPE with '*' for all that is not sensitive.
    #[arg(long, value_name = "RESOURCE=SCOPE,…", value_parser = access)]
    access: Vec<Value>,
    /// A grant type; repeat for more. Without it the code grant and refresh tokens where there is a
    /// redirect URI, else client_credentials.
    #[arg(long, value_name = "TYPE")]
    grant: Vec<String>,
    /// The resource whose server this client is, by id or URI: it hears what becomes of its tokens.
    #[arg(long, value_name = "RESOURCE")]
    serves: Option<String>,
}

impl Client {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        match self.action {
            Action::Key { action } => return action.run(json),
            Action::CheckMetadata(check) => return check.run(json).await,
            Action::Add(add) => {
                let declaration = add.declaration()?;
                let api = Api::connect(&self.connection).await?;
                let created: Value = api.post("/clients", &declaration).await?;
                show(&created, "created client", json);
            }
            Action::List => {
                let api = Api::connect(&self.connection).await?;
                let clients: Vec<Value> = api.get("/clients").await?;
                list(&clients, json);
            }
            Action::Show { id } => {
                let api = Api::connect(&self.connection).await?;
                let client: Value = api.get(&api::path("clients", &id)).await?;
                show(&client, "client", json);
            }
            Action::Remove { id } => {
                let api = Api::connect(&self.connection).await?;
                api.delete(&api::path("clients", &id)).await?;
                print::removed("client", &id, json);
            }
            Action::Disable { id } => {
                switch(&self.connection, &id, "disable", json).await?;
            }
            Action::Enable { id } => {
                switch(&self.connection, &id, "enable", json).await?;
            }
            Action::NewSecret { id } => {
                let api = Api::connect(&self.connection).await?;
                let path = api::path("clients", &id) + "/secret";
                let client: Value = api.post(&path, &json!({})).await?;
                show(&client, "new secret for client", json);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn switch(connection: &Connection, id: &str, verb: &str, json: bool) -> Result<(), Failure> {
    let api = Api::connect(connection).await?;
    let path = format!("{}/{verb}", api::path("clients", id));
    let client: Value = api.post(&path, &json!({})).await?;
    show(&client, &format!("{verb}d client"), json);
    Ok(())
}

impl KeyAction {
    fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let Self::Generate { algorithm, out } = self;
        let pkcs8 = generate::pkcs8(algorithm, &Entropy::Os)?;
        let signer = Signer::new(algorithm, &pkcs8)?;
        api::write_new(&out, private_key::pem(&pkcs8).as_bytes())?;
        // The JWKS alone goes to standard output, so that it can go to a file.
        print::json(&json!({ "keys": [signer.jwk()] }));
        if !json {
            print::note(&format!(
                "\nThe private key is in {out}: it stays with the agent. What is printed above is \
                 public; with it in agent.jwks.json:\n\n  \
                 writ client add --id AGENT --jwks agent.jwks.json --access RESOURCE=SCOPE\n  \
                 writ token RESOURCE --client-id AGENT --key {out}",
                out = out.display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    fn declaration(&self) -> Result<Value, Failure> {
        if let Some(path) = &self.file {
            let value = document::read_value(path)?;
            if value.get("clients").is_some() {
                return Err(Failure::new("clients: this file is for `writ apply`").at(path));
            }
            let _: ClientDeclaration = document::check(path, value.clone())?;
            return Ok(value);
        }
        let mut declaration = json!({ "client_id": self.id, "access": self.access });
        if let Some(name) = &self.name {
            declaration["name"] = json!(name);
        }
        if self.secret_stdin {
            declaration["client_secret"] = json!(secret_from_stdin()?);
        }
        if let Some(path) = &self.jwks {
            declaration["jwks"] = document::read_value(path)?;
        }
        if let Some(uri) = &self.jwks_uri {
            declaration["jwks_uri"] = json!(uri);
        }
        if self.public {
            declaration["token_endpoint_auth_method"] = json!("none");
        }
        if let Some(profile) = &self.profile {
            declaration["profile"] = json!(profile);
        }
        for (name, uris) in [
            ("redirect_uris", &self.redirect_uri),
            ("post_logout_redirect_uris", &self.post_logout_redirect_uri),
        ] {
            if !uris.is_empty() {
                declaration[name] = json!(uris);
            }
        }
        if let Some(uri) = &self.backchannel_logout_uri {
            declaration["authorization"] = json!({ "backchannel_logout_uri": uri });
        }
        if !self.grant.is_empty() {
            declaration["grant_types"] = json!(self.grant);
        }
        if let Some(resource) = &self.serves {
            declaration["serves"] = json!(resource);
        }
        let _: ClientDeclaration = document::fits(declaration.clone())?;
        Ok(declaration)
    }
}

/// Reads `RESOURCE=SCOPE,SCOPE`.
fn access(text: &str) -> Result<Value, String> {
    let wanted = "RESOURCE=SCOPE,SCOPE, for example weather=tool:forecast";
    let (resource, scopes) = text.split_once('=').ok_or(wanted)?;
    let scopes: Vec<&str> = scopes.split(',').map(str::trim).collect();
    if resource.is_empty() || scopes.iter().any(|scope| scope.is_empty()) {
        return Err(wanted.to_owned());
    }
    Ok(json!({ "resource": resource, "scopes": scopes }))
}

fn list(clients: &[Value], json: bool) {
    if json {
        print::json(&clients);
        return;
    }
    let rows: Vec<_> = clients
        .iter()
        .map(|client| {
            vec![
                text(client, "client_id"),
                text(client, "name"),
                text(client, "origin"),
                text(client, "token_endpoint_auth_method"),
                entries(client, "access").join("  "),
            ]
        })
        .collect();
    print::table(
        &["client_id", "name", "origin", "authenticates by", "access"],
        &rows,
    );
}

fn show(client: &Value, what: &str, json: bool) {
    if json {
        print::json(client);
        return;
    }
    print::line(&format!("{what} {}", text(client, "client_id")));
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![name.to_owned(), value]);
        }
    };
    row("name", text(client, "name"));
    row("origin", text(client, "origin"));
    if client["disabled"] == true {
        row("disabled", "yes".to_owned());
    }
    row("profile", text(client, "profile"));
    row(
        "authenticates by",
        text(client, "token_endpoint_auth_method"),
    );
    if let Some(keys) = client["jwks"]["keys"].as_array() {
        let kids: Vec<_> = keys.iter().map(|key| text(key, "kid")).collect();
        row("keys", kids.join(" "));
    }
    row("jwks_uri", text(client, "jwks_uri"));
    row("grant types", strings(&client["grant_types"]).join(" "));
    for list in ["redirect_uris", "post_logout_redirect_uris"] {
        for uri in strings(&client[list]) {
            row(list.trim_end_matches('s'), uri.to_owned());
        }
    }
    if let Some(settings) = client["authorization"].as_object() {
        for (name, value) in settings {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            row(name, text);
        }
    }
    for list in ["access", "exchange"] {
        for entry in entries(client, list) {
            row(list, entry);
        }
    }
    row("delegates", strings(&client["delegates"]).join(" "));
    row("serves", text(client, "serves"));
    let secret = text(client, "client_secret");
    if !secret.is_empty() {
        row("client_secret", format!("{secret}   (shown once)"));
    }
    for row in rows {
        print::line(&format!("  {:<16}  {}", row[0], print::tame(&row[1])));
    }
}

/// What may be had, one line a resource.
fn entries(client: &Value, list: &str) -> Vec<String> {
    let entries = client[list].as_array().map_or(&[][..], Vec::as_slice);
    entries
        .iter()
        .map(|entry| {
            format!(
                "{}={}",
                text(entry, "resource"),
                strings(&entry["scopes"]).join(",")
            )
        })
        .collect()
}

fn strings(value: &Value) -> Vec<&str> {
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(Value::as_str).collect()
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

    #[test]
    fn flags_make_the_declaration_a_file_would() {
        let directory = tempfile::tempdir().unwrap();
        let jwks = directory.path().join("a.json");
        std::fs::write(&jwks, r#"{"keys":[]}"#).unwrap();
        let line = Line::parse_from([
            "add",
            "--id",
            "agent",
            "--jwks",
            &jwks.display().to_string(),
            "--access",
            "weather=tool:a,tool:b",
            "--access",
            "https://mcp.example/mcp=*",
            "--grant",
            "client_credentials",
        ]);
        let expected = json!({
            "client_id": "agent",
            "jwks": { "keys": [] },
            "access": [
                { "resource": "weather", "scopes": ["tool:a", "tool:b"] },
                { "resource": "https://mcp.example/mcp", "scopes": ["*"] },
            ],
            "grant_types": ["client_credentials"],
        });
        assert_eq!(line.add.declaration().unwrap(), expected);
    }

    #[test]
    fn access_has_a_resource_and_scopes() {
        for bad in ["weather", "=tool:a", "weather=", "weather=a,,b"] {
            assert!(access(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_new_key_is_not_written_over_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("agent.pem");
        let generate = || KeyAction::Generate {
            algorithm: SigningAlgorithm::ES256,
            out: out.clone(),
        };
        generate().run(true).unwrap();
        let first = std::fs::read(&out).unwrap();
        assert!(generate().run(true).is_err());
        assert_eq!(std::fs::read(&out).unwrap(), first);
    }
}
