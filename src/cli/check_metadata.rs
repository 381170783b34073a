//! `writ client check-metadata`: a metadata document, read exactly as the server would.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Failure, print};
use crate::{
    clients::cimd::examine::{Described, Examined, examine},
    config::{Config, Overrides},
    fetch::Fetch,
};

/// Show what a server with these settings makes of a client ID metadata document, and why.
#[derive(Debug, Args)]
pub(super) struct CheckMetadata {
    /// The client_id: the URL of the document.
    url: String,
    /// Configuration file of the server.
    #[arg(long, value_name = "FILE", env = "WRIT_CONFIG")]
    config: Option<PathBuf>,
}

impl CheckMetadata {
    /// Fails when the server would refuse the client.
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let config = Config::load(&Overrides {
            file: self.config,
            ..Overrides::default()
        })?;
        let fetch = Fetch::new(&config.fetch, &config.events)?;
        let examined = examine(&config, &fetch, &self.url).await;
        if json {
            print::json(&examined);
        } else {
            show(&examined);
        }
        Ok(if examined.taken {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn show(examined: &Examined) {
    print::line(&format!("client {}", print::tame(&examined.client_id)));
    for finding in &examined.rules {
        let verdict = if finding.ok { "ok  " } else { "FAIL" };
        let note = finding.note.as_deref();
        let note = note.map(|note| format!(" -- {note}")).unwrap_or_default();
        let line = format!("{}{note}", finding.rule);
        print::line(&format!("{verdict}  {}", print::tame(&line)));
    }
    for warning in &examined.warnings {
        print::line(&format!("warn  {}", print::tame(warning)));
    }
    if let Some(client) = &examined.client {
        print::line("");
        for (name, value) in rows(client) {
            print::line(&format!("  {name:<16}  {}", print::tame(&value)));
        }
    }
    print::line(if examined.taken {
        "\nA server with these settings takes this client."
    } else {
        "\nA server with these settings refuses this client."
    });
}

fn rows(client: &Described) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("name", client.client_name.clone()),
        (
            "authenticates by",
            client.token_endpoint_auth_method.as_str().to_owned(),
        ),
        ("grant types", client.grant_types.join(" ")),
    ];
    let uris = client.redirect_uris.iter();
    rows.extend(uris.map(|uri| ("redirect URI", uri.clone())));
    if let Some(keys) = client.keys {
        rows.push(("keys", keys.to_string()));
    }
    if let Some(uri) = &client.jwks_uri {
        rows.push(("jwks_uri", uri.clone()));
    }
    let etag = client.etag.as_deref();
    let etag = etag.map(|etag| format!(", then asked for by {etag}"));
    let etag = etag.unwrap_or_default();
    rows.push(("kept for", format!("{} s{etag}", client.kept_for)));
    rows
}
