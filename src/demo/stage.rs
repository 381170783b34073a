//! Two servers on free loopback ports, and a directory that is gone afterwards.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use writ_resource::{Protect, tool_scope};

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
    server: Server,
    notes: JoinHandle<()>,
    _directory: Directory,
}

impl Stage {
    /// Starts both.
    ///
    /// # Errors
    /// Says what does not start.
    pub(super) async fn set() -> Result<Self, Failure> {
        let (clock, entropy) = (Clock::System, Entropy::Os);
        let directory = Directory::make(&entropy)?;
        let mut config = Config::default();
        config.server.listen.set_port(0);
        config.storage.data_dir.clone_from(&directory.0);
        let server = Server::start(config, clock.clone(), entropy.clone()).await?;

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mcp = format!("http://{}/mcp", listener.local_addr()?);
        declare(&server, json!({ "resources": [resource(&mcp)] })).await?;
        let protect = Protect::resource(&mcp)
            .issuer(&server.issuer)
            .tools(notes::TOOLS)
            .challenge_scopes([tool_scope("search_notes")])
            .name("Notes")
            .refetch_floor(REFETCH_FLOOR)
            .build()?;
        protect.verifier().load_keys().await?;
        let notes = notes::serve(listener, protect);
        Ok(Self {
            clock,
            entropy,
            mcp,
            server,
            notes,
            _directory: directory,
        })
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

    /// Stops both servers and removes what they wrote.
    pub(super) async fn clear(self) {
        self.notes.abort();
        self.server.stop().await;
    }
}

/// The MCP server as its operator declares it: everybody may search, deleting is sensitive.
fn resource(mcp: &str) -> Value {
    json!({
        "id": "notes",
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
