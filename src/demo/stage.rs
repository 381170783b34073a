//! An authorization server and MCP servers on free loopback ports, and a directory that is gone afterwards.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use writ_resource::{Events, Protect, ProtectLayer, tool_scope};

use super::notes;
use crate::{
    admin::{apply::Declaration, tenants::Credentials},
    cli::Failure,
    clock::Clock,
    config::Config,
    entropy::Entropy,
    serve::Server,
};

/// How often the MCP server may look for keys it does not know. The default of ten seconds suits
/// keys that are published long before they sign; here they are replaced twice in seconds.
pub(super) const REFETCH_FLOOR: Duration = Duration::from_secs(1);

/// What runs.
pub(super) struct Stage {
    /// Time, for the agents.
    pub(super) clock: Clock,
    /// Randomness, for the agents.
    pub(super) entropy: Entropy,
    /// The MCP server's URL: all that an agent knows.
    pub(super) mcp: String,
    /// Every MCP server, that one first.
    pub(super) notes: Vec<Notes>,
    server: Server,
    _directory: Directory,
}

/// An MCP server.
pub(super) struct Notes {
    /// Its URL.
    pub(super) mcp: String,
    /// What stands before it.
    protect: ProtectLayer,
    serving: JoinHandle<()>,
}

impl Notes {
    /// Declares one and starts it, with credentials of its own to hear what is revoked.
    async fn start(number: u16, server: &Server, entropy: &Entropy) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mcp = format!("http://{}/mcp", listener.local_addr()?);
        let id = match number {
            0 => "notes".to_owned(),
            other => format!("notes-{other}"),
        };
        let (client_id, secret) = (format!("{id}-server"), entropy.secret("writ_cs_"));
        let client = json!({
            "client_id": client_id,
            "client_secret": secret,
            "serves": id,
            "receiver": { "signing_algorithm": "EdDSA" },
        });
        let declaration = json!({ "resources": [resource(&id, &mcp)], "clients": [client] });
        declare(server, declaration).await?;
        let protect = Protect::resource(&mcp)
            .issuer(&server.issuer)
            .tools(notes::TOOLS)
            .challenge_scopes([tool_scope("search_notes")])
            .name("Notes")
            .refetch_floor(REFETCH_FLOOR)
            .events(Events::with_credentials(client_id, secret).feed())
            .build()?;
        protect.verifier().load_keys().await?;
        Ok(Self {
            serving: notes::serve(listener, protect.clone()),
            mcp,
            protect,
        })
    }

    /// Whether it hears of every revocation by itself.
    fn listens(&self) -> bool {
        let health = self.protect.health();
        health.is_some_and(|health| health.trouble.is_none() && health.unknown_before.is_none())
    }
}

impl Stage {
    /// Starts the authorization server, and so many MCP servers.
    ///
    /// # Errors
    /// Says what does not start.
    pub(super) async fn set(servers: u16) -> Result<Self, Failure> {
        let (clock, entropy) = (Clock::System, Entropy::Os);
        let directory = Directory::make(&entropy)?;
        let mut config = Config::default();
        config.server.listen.set_port(0);
        config.storage.data_dir.clone_from(&directory.0);
        let server = Server::start(config, clock.clone(), entropy.clone()).await?;

        let mut notes = Vec::with_capacity(servers.into());
        for number in 0..servers {
            notes.push(Notes::start(number, &server, &entropy).await?);
        }
        Ok(Self {
            clock,
            entropy,
            mcp: notes
                .first()
                .map(|first| first.mcp.clone())
                .unwrap_or_default(),
            notes,
            server,
            _directory: directory,
        })
    }

    /// Waits until every MCP server hears of revocations.
    pub(super) async fn listening(&self) {
        while !self.notes.iter().all(Notes::listens) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The authorization server, as it calls itself.
    pub(super) fn issuer(&self) -> &str {
        &self.server.issuer
    }

    /// Where the administrator's credentials are.
    pub(super) fn administrator(&self) -> &Path {
        &self.server.credentials
    }

    /// An agent for whoever wants to try the servers: everything that is not sensitive.
    ///
    /// # Errors
    /// When it cannot be declared.
    pub(super) async fn declare_agent(&self) -> Result<Credentials, Failure> {
        let credentials = Credentials {
            issuer: self.issuer().to_owned(),
            client_id: "agent".to_owned(),
            client_secret: self.entropy.secret("writ_cs_"),
            resource: self.mcp.clone(),
        };
        let client = json!({
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
            "access": [{ "resource": "notes", "scopes": ["*"] }],
        });
        declare(&self.server, json!({ "clients": [client] })).await?;
        Ok(credentials)
    }

    /// Stops all servers and removes what they wrote.
    pub(super) async fn clear(self) {
        for notes in self.notes {
            notes.serving.abort();
        }
        self.server.stop().await;
    }
}

/// The MCP server as its operator declares it: everybody may search, deleting is sensitive.
fn resource(id: &str, mcp: &str) -> Value {
    json!({
        "id": id,
        "resource": mcp,
        "name": "Notes",
        "tools": [
            { "name": "search_notes", "description": "Finds the notes with a word in them" },
            { "name": "add_note", "description": "Writes a note down" },
            { "name": "delete_note", "description": "Removes a note for good", "sensitive": true },
        ],
        "open_scopes": [tool_scope("search_notes")],
    })
}

async fn declare(server: &Server, declaration: Value) -> Result<(), Failure> {
    let declaration: Declaration = serde_json::from_value(declaration)?;
    server
        .apply(&declaration)
        .await
        .map_err(|why| Failure::new(why.description()))?;
    Ok(())
}

/// A new directory that nobody else can read, removed with everything in it when dropped.
struct Directory(PathBuf);

impl Directory {
    fn make(entropy: &Entropy) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("writ-demo-{}", entropy.id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
