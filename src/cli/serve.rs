//! `writ serve`

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, document, notify, print};
use crate::{
    clock::Clock,
    config::{Config, Overrides, RegistrationMode, RequestLines},
    entropy::Entropy,
    keys::sealed::write_private,
    serve::Server,
    telemetry,
    users::upstream::departure::redirect_uri,
};

/// Run the server. Needs no configuration: `config/default.toml` lists every key.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "WRIT_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The issuer: the https URL clients know this server by.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Where database, keys and the administrator's credentials are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A declaration to make true before the first request (as `writ apply` does).
    #[arg(long, value_name = "FILE")]
    apply: Vec<PathBuf>,
    /// Give the administrator a new secret, for when the credentials file is lost.
    #[arg(long)]
    reset_admin: bool,
    /// Write issuer, address and credentials' place to this file as JSON when ready.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let config = Config::load(&Overrides {
            file: self.config,
            listen: self.listen,
            issuer: self.issuer,
            data_dir: self.data_dir,
        })?;
        telemetry::start(&config.telemetry);
        // What is declared is read before anything is started or written.
        let declarations = self
            .apply
            .iter()
            .map(|path| document::read(path))
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut server = Server::open(config, Clock::System, Entropy::Os).await?;
        if self.reset_admin {
            server.reset_administrator().await?;
        }
        let mut applied = Vec::new();
        for (path, declaration) in self.apply.iter().zip(&declarations) {
            let lines = server
                .apply(declaration)
                .await
                .map_err(|why| Failure::new(why.description()).at(path))?;
            if !json {
                print::applied(&lines, false);
            }
            applied.extend(lines);
        }
        server.answer();
        let on = switched_on(&server);
        tracing::info!(issuer = server.issuer, listen = %server.address, on, "ready");
        for provider in server.app.providers.all() {
            let redirect_uri = redirect_uri(server.app.registry.root(), provider);
            let provider = &provider.id;
            tracing::info!(
                provider,
                redirect_uri,
                "people sign in with it; to be registered there"
            );
        }
        let ready = json!({
            "issuer": server.issuer,
            "listen": server.address.to_string(),
            "metrics": server.metrics_address.map(|address| address.to_string()),
            "pid": std::process::id(),
            "admin_credentials": server.credentials,
        });
        if json {
            print::json(&json!({ "ready": ready, "applied": applied }));
        } else {
            greet(&server, &on);
        }
        if let Some(path) = &self.ready_file {
            write_private(path, format!("{ready}\n").as_bytes())
                .map_err(|why| Failure::from(why).at(path))?;
        }
        notify::tell("READY=1");
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        notify::tell("STOPPING=1");
        server.app.readiness.stop();
        let delay = Duration::from_secs(server.app.config.server.shutdown_delay);
        tracing::info!(delay = delay.as_secs(), "stopping");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        server.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// The one screen of a start: who it is, where its administrator is, what to type next.
fn greet(server: &Server, on: &str) {
    let root = server.app.registry.root();
    let credentials = server.credentials.display();
    let readable = if server.credentials.exists() {
        "readable by you alone"
    } else {
        "missing: --reset-admin writes it anew"
    };
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    };
    print::line(&format!(
        "\nWrit {version} is ready.\n\n  \
         issuer           {issuer}\n  \
         administrator    {credentials}  ({readable})\n  \
         known            {resources}, {clients}, {tenants}\n  \
         on               {on}\n\n\
         Next: declare an MCP server and an agent, then ask how the server looks from outside:\n\n  \
         writ apply FILE --credentials {credentials}\n  \
         writ doctor {issuer}\n",
        resources = count(root.resources().all().len() - 1, "resource"),
        version = env!("CARGO_PKG_VERSION"),
        issuer = server.issuer,
        clients = count(root.client_count(), "client"),
        tenants = count(server.app.registry.all().len(), "tenant"),
    ));
}

/// In one line, what this server does besides answering.
fn switched_on(server: &Server) -> String {
    let config = &server.app.config;
    let mut on = vec![match config.telemetry.requests {
        RequestLines::Off => "no log of requests".to_owned(),
        RequestLines::Refused => "log of refused requests".to_owned(),
        RequestLines::All => "log of all requests".to_owned(),
    }];
    if let Some(address) = server.metrics_address {
        on.push(format!("metrics on http://{address}/metrics"));
    }
    // The collector's URL may hold credentials: its host is enough.
    let collector = url::Url::parse(&config.telemetry.otlp_endpoint).ok();
    if let Some(host) = collector.as_ref().and_then(url::Url::host_str) {
        on.push(format!("traces to {host}"));
    }
    on.push(match server.app.registry.root().registration() {
        RegistrationMode::Open => "open registration".to_owned(),
        RegistrationMode::Token => "registration with a token".to_owned(),
        RegistrationMode::Off => "no registration".to_owned(),
    });
    on.join(", ")
}
