//! A URL that events are posted to, as JSON lines.

use std::path::PathBuf;

use super::Outgoing;
use crate::fetch::Fetch;

/// The receiver and the token it asks for.
pub(super) struct Webhook {
    pub(super) fetch: Fetch,
    pub(super) url: String,
    /// Read for each batch, so that the token can be replaced; empty for none.
    pub(super) token_file: PathBuf,
}

impl Webhook {
    /// Posts events, and answers when the receiver has taken them.
    ///
    /// # Errors
    /// What is in the way, without the token.
    pub(super) async fn send(&self, events: &[Outgoing]) -> Result<(), String> {
        let token = if self.token_file.as_os_str().is_empty() {
            None
        } else {
            let text = tokio::fs::read_to_string(&self.token_file).await;
            Some(text.map_err(|why| format!("{}: {why}", self.token_file.display()))?)
        };
        let mut body = String::new();
        for event in events {
            body.push_str(&event.line);
            body.push('\n');
        }
        let token = token.as_deref().map(str::trim);
        self.fetch
            .post(&self.url, "application/x-ndjson", token, body)
            .await
            .map_err(|why| why.to_string())
    }
}
