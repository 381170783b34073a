//! The MCP server: a few notes, and tools that read and change them.
//!
//! It is a server as anyone would write it with `rmcp`. The layer around it lets only calls pass
//! whose token allows them, and hands over the token's claims; the notes remember from them who
//! wrote what, and through whom.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    serve::{ListenerExt as _, Serve},
};
use http::request::Parts;
use rmcp::{
    Json,
    handler::server::{tool::Extension, wrapper::Parameters},
    tool, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};
use writ_resource::{AccessClaims, ProtectLayer};

/// The tools, in the order of the code.
pub(super) const TOOLS: [&str; 3] = ["search_notes", "add_note", "delete_note"];

/// Starts to answer at `/mcp`, behind the layer.
pub(super) fn serve(listener: TcpListener, protect: ProtectLayer) -> JoinHandle<()> {
    let notes = Notes::default();
    let mcp = StreamableHttpService::new(
        move || Ok(notes.clone()),
        Arc::new(LocalSessionManager::default()),
        // A page of another origin has no business here (MCP, Streamable HTTP, security).
        StreamableHttpServerConfig::default()
            .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*"]),
    );
    let router = Router::new().nest_service("/mcp", mcp).layer(protect);
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for acknowledgements of earlier ones.
        let _ = stream.set_nodelay(true);
    });
    let serving: Serve<_, _, _> = axum::serve(listener, router);
    tokio::spawn(async move {
        let _ = serving.await;
    })
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Note {
    /// Its number.
    pub(super) id: u32,
    /// What it says.
    pub(super) text: String,
    /// Who wrote it.
    pub(super) written_by: Author,
}

/// Who wrote a note, as the access token said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Author {
    /// In whose name.
    pub(super) sub: String,
    /// Who acted for them: the writer first, then whoever it acted through.
    pub(super) act: Vec<String>,
}

/// Notes that were found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Found {
    /// In the order they were written.
    pub(super) notes: Vec<Note>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Search {
    /// A word of the notes to find.
    query: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Text {
    /// What to write down.
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Number {
    /// The number of the note.
    id: u32,
}

#[derive(Clone, Debug)]
struct Notes(Arc<Mutex<Vec<Note>>>);

impl Default for Notes {
    fn default() -> Self {
        let texts = [
            "The ferry to Texel leaves Den Helder every half hour.",
            "Bring the blue folder to the harbour office.",
            "The ferry does not run in a storm: ask the harbour office.",
        ];
        let note = |(id, text): (u32, &str)| Note {
            id,
            text: text.to_owned(),
            written_by: Author {
                sub: "owner".to_owned(),
                act: Vec::new(),
            },
        };
        Self(Arc::new(Mutex::new((1..).zip(texts).map(note).collect())))
    }
}

impl Notes {
    fn all(&self) -> MutexGuard<'_, Vec<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tool_router(server_handler)]
impl Notes {
    #[tool(
        description = "Finds the notes with a word in them",
        annotations(read_only_hint = true)
    )]
    async fn search_notes(&self, Parameters(Search { query }): Parameters<Search>) -> Json<Found> {
        let query = query.to_lowercase();
        let notes = self.all();
        let found = notes
            .iter()
            .filter(|note| note.text.to_lowercase().contains(&query));
        Json(Found {
            notes: found.cloned().collect(),
        })
    }

    #[tool(
        description = "Writes a note down",
        annotations(destructive_hint = false)
    )]
    async fn add_note(
        &self,
        Parameters(Text { text }): Parameters<Text>,
        Extension(parts): Extension<Parts>,
    ) -> Result<Json<Note>, String> {
        // The layer lets no call through without claims.
        let claims = parts
            .extensions
            .get::<Arc<AccessClaims>>()
            .ok_or("nobody knows who is calling")?;
        let mut notes = self.all();
        let note = Note {
            id: notes.iter().map(|note| note.id).max().unwrap_or(0) + 1,
            text,
            written_by: Author {
                sub: claims.sub.clone(),
                act: claims.actors().map(|actor| actor.sub.clone()).collect(),
            },
        };
        notes.push(note.clone());
        Ok(Json(note))
    }

    #[tool(
        description = "Removes a note for good",
        annotations(destructive_hint = true)
    )]
    async fn delete_note(
        &self,
        Parameters(Number { id }): Parameters<Number>,
    ) -> Result<Json<Note>, String> {
        let mut notes = self.all();
        let at = notes
            .iter()
            .position(|note| note.id == id)
            .ok_or_else(|| format!("there is no note {id}"))?;
        Ok(Json(notes.remove(at)))
    }
}
