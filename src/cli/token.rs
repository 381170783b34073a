//! `writ token`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    Failure,
    api::Connection,
    http::Http,
    possession::{Purpose, prove},
    print, private_key,
    token_request::{Asking, Metadata, Proof, client_credentials, discover},
};
use crate::keys::jws::Signer;

/// Get an access token by client credentials, to try things out.
///
/// Without --client-id it is the administrator's: `writ token writ-admin`.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The resource the token is for: id or URI.
    resource: String,
    /// Scopes, separated by spaces; without them the resource's defaults.
    #[arg(long)]
    scope: Option<String>,
    /// Who asks.
    #[arg(long, value_name = "ID", requires = "proof")]
    client_id: Option<String>,
    /// Read the client's secret from standard input.
    #[arg(long, group = "proof", requires = "client_id")]
    client_secret_stdin: bool,
    /// The client's private key, PKCS#8 PEM.
    #[arg(long, value_name = "FILE", group = "proof", requires = "client_id")]
    key: Option<PathBuf>,
    /// Bind the token to this key (RFC 9449), PKCS#8 PEM; a first proof to use it with is printed.
    #[arg(long, value_name = "FILE")]
    dpop: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

impl Token {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let http = Http::new()?;
        let (client_id, proof) = self.client()?;
        let server = discover(&http, &self.connection.issuer()?).await?;
        let resource = self.resource(&http, &server).await?;
        // The administrator has nothing by default, and this is how to get what there is.
        let everything = self.client_id.is_none().then_some("writ:admin");
        let scope = self.scope.as_deref().or(everything);
        let key = self.dpop.as_deref().map(private_key::read).transpose()?;
        let asking = Asking {
            client_id: &client_id,
            proof: &proof,
            resource: &resource,
            scope,
            bind_to: key.as_ref(),
        };
        let mut answer = client_credentials(&http, &server, &asking).await?;
        let token = print::text(&answer, "access_token");
        if let Some(key) = key {
            answer["dpop_proof"] = first_proof(&key, &resource, &token)?.into();
        }
        if json {
            print::json(&answer);
            return Ok(ExitCode::SUCCESS);
        }
        print::line(&token);
        if let Some(proof) = answer["dpop_proof"].as_str() {
            print::note(&format!(
                "\nThe token is bound to the key. Each request takes a proof of its own; this one \
                 is for one POST to {resource}, within a minute:\n\n  \
                 Authorization: DPoP <the token>\n  DPoP: {proof}"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn client(&self) -> Result<(String, Proof), Failure> {
        let Some(client_id) = self.client_id.clone() else {
            let credentials = self.connection.credentials()?;
            return Ok((
                credentials.client_id,
                Proof::Secret(credentials.client_secret),
            ));
        };
        let proof = match &self.key {
            Some(path) => Proof::Key(Box::new(private_key::read(path)?)),
            None => Proof::Secret(secret_from_stdin()?),
        };
        Ok((client_id, proof))
    }

    /// The URI of the resource; an id is looked up in what the server publishes.
    async fn resource(&self, http: &Http, server: &Metadata) -> Result<String, Failure> {
        let name = &self.resource;
        if name.contains("://") {
            return Ok(name.clone());
        }
        if name == crate::registry::ADMIN_ID {
            return Ok(format!("{}/admin", server.issuer));
        }
        let unknown = || Failure::new(format!("{} has no resource '{name}'", server.issuer));
        let url = format!(
            "{}{}/oauth-protected-resource",
            server.issuer,
            super::api::path("resources", name)
        );
        let answer = http.get(&url).await.map_err(Failure::new)?;
        let document: Value = answer.json().map_err(|_| unknown())?;
        document["resource"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(unknown)
    }
}

/// A proof for a POST to the resource, which is how MCP servers are called.
fn first_proof(key: &Signer, resource: &str, token: &str) -> Result<String, Failure> {
    let purpose = Purpose {
        method: "POST",
        url: resource,
        token: Some(token),
        nonce: None,
    };
    prove(key, purpose)
}

/// The first line of standard input: a secret does not belong in a process list.
///
/// # Errors
/// When there is none.
pub(super) fn secret_from_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let secret = line.trim_end_matches(['\r', '\n']).to_owned();
    if secret.is_empty() {
        return Err(Failure::new("standard input holds no secret"));
    }
    Ok(secret)
}
