//! Metadata documents of clients, as they were last read.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::registry::Client;

/// Documents on their way here at the same time.
const FETCHES: usize = 256;
/// What is taken up by documents, bytes of their text.
const KEPT: u64 = 16 * 1024 * 1024;
/// How long one stays that nobody asks for.
const IDLE: Duration = Duration::from_secs(86_400);
/// How long an answer stays where those wait who asked for it together.
const SHARED: Duration = Duration::from_secs(1);

/// A document that was good when it was read.
#[derive(Debug)]
pub struct KeptDocument {
    /// The client that it describes.
    pub client: Arc<Client>,
    /// The name of this version (RFC 9110 §8.8.3).
    pub etag: Option<String>,
    /// When it was last read, or said to be unchanged, Unix seconds.
    pub read_at: i64,
    /// Until when it is fresh, Unix seconds.
    pub fresh_until: i64,
}

/// The documents, by their URLs. What could not be read, or was no good, is not among them.
#[derive(Debug)]
pub struct Documents {
    /// Those that were good.
    pub kept: Cache<String, Arc<KeptDocument>>,
    /// Where those wait who ask for the same one at the same time.
    pub asking: Cache<String, Arc<KeptDocument>>,
    /// When hosts that did not answer were last asked, Unix seconds.
    pub silent: Cache<String, i64>,
    /// How many more may be fetched now.
    pub fetches: Semaphore,
}

impl Default for Documents {
    fn default() -> Self {
        let size = |url: &String, kept: &Arc<KeptDocument>| {
            u32::try_from(url.len() + kept.client.size()).unwrap_or(u32::MAX)
        };
        Self {
            kept: Cache::builder()
                .weigher(size)
                .max_capacity(KEPT)
                .time_to_idle(IDLE)
                .build(),
            asking: Cache::builder()
                .max_capacity(FETCHES as u64)
                .time_to_live(SHARED)
                .build(),
            silent: Cache::builder()
                .max_capacity(10_000)
                .time_to_idle(IDLE)
                .build(),
            fetches: Semaphore::new(FETCHES),
        }
    }
}
