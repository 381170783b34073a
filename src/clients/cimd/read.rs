//! Documents, fetched and kept for as long as their servers allow.

use std::{sync::Arc, time::Duration};

use entity::client;

use super::{Refusal, document::Read};
use crate::{
    app::{App, documents::KeptDocument},
    config::MetadataDocuments,
    context,
    error::OAuthError,
    fetch::{FetchError, Wanted},
    oauth::error_code::ErrorCode,
    registry::{Client, ClientDocument, Origin},
};

/// The document at a client identifier URL: what is kept while it is fresh, or what is there now.
/// Whoever asks at the same time waits for the same answer. A failure is not kept.
pub(super) async fn current(app: &App, url: &str) -> Result<Arc<KeptDocument>, Refusal> {
    let documents = &app.documents;
    let known = documents.kept.get(url).await;
    if let Some(fresh) = &known
        && app.clock.seconds() < fresh.fresh_until
    {
        return Ok(fresh.clone());
    }
    if known.is_none() {
        app.limits.document(context::address())?;
    }
    let asked = documents
        .asking
        .try_get_with_by_ref(url, ask(app, url, known))
        .await;
    documents.asking.invalidate(url).await;
    asked.map_err(|refusal| Refusal::clone(&refusal))
}

/// Asks the document's server, and keeps what is good.
async fn ask(
    app: &App,
    url: &str,
    known: Option<Arc<KeptDocument>>,
) -> Result<Arc<KeptDocument>, Refusal> {
    let settings = &app.config.metadata_documents;
    let _one = app.documents.fetches.try_acquire().map_err(|_| Refusal {
        code: ErrorCode::TemporarilyUnavailable,
        words: "Too many metadata documents are being fetched: try again in a second".into(),
        passing: true,
    })?;
    let etag = known.as_ref().and_then(|known| known.etag.as_deref());
    let answer = app.fetch.document(wanted(settings, url, etag)).await;
    let answer = answer.map_err(|error| not_fetched(url, &error))?;
    let now = app.clock.seconds();
    let client = match (answer.body, &known) {
        (Some(body), _) => {
            let private = app.config.fetch.allow_private_addresses_for_tests;
            let document = Read::new(url, &body, private).and_then(|read| read.client());
            let document =
                document.map_err(|why| Refusal::new(format!("The metadata at {url}: {why}")))?;
            Arc::new(client_of(url, &document, now)?)
        }
        (None, Some(known)) => known.client.clone(),
        // Nothing was named that could be unchanged.
        (None, None) => return Err(not_fetched(url, &FetchError::Status(304))),
    };
    let kept = Arc::new(KeptDocument {
        client,
        etag: answer.etag.or_else(|| etag.map(str::to_owned)),
        read_at: now,
        fresh_until: now + lifetime(settings, answer.fresh_for),
    });
    let (documents, url) = (&app.documents, url.to_owned());
    documents.silent.invalidate(&url).await;
    documents.kept.insert(url, kept.clone()).await;
    Ok(kept)
}

/// How a document is asked for.
pub(super) fn wanted<'a>(
    settings: &MetadataDocuments,
    url: &'a str,
    etag: Option<&'a str>,
) -> Wanted<'a> {
    Wanted {
        url,
        etag,
        max_body: settings.max_body,
        timeout: Duration::from_secs(settings.timeout),
    }
}

/// Seconds that a document is kept: what its server says, within bounds.
pub(super) fn lifetime(settings: &MetadataDocuments, said: Option<u64>) -> i64 {
    let seconds = said.unwrap_or(settings.default_age);
    let seconds = seconds.clamp(settings.min_age, settings.max_age);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn not_fetched(url: &str, error: &FetchError) -> Refusal {
    Refusal {
        passing: error.is_passing(),
        ..Refusal::new(format!(
            "The metadata at {url} cannot be read: {}",
            why(error)
        ))
    }
}

/// Why a document was not fetched, with what its publisher can do about it.
pub(super) fn why(error: &FetchError) -> String {
    let hint = match error {
        FetchError::Status(300..=399) => ", and redirects are not followed",
        FetchError::Status(_) => ", and not with 200",
        _ => "",
    };
    format!("{error}{hint}")
}

/// The client that a document describes. It is no tenant's as long as it is no row.
fn client_of(url: &str, document: &ClientDocument, now: i64) -> Result<Client, Refusal> {
    let row = client::Model {
        tenant: String::new(),
        client_id: url.to_owned(),
        origin: Origin::Document.as_str().into(),
        secret_digest: None,
        secret_expires_at: 0,
        registration_digest: None,
        document: serde_json::to_string(document).map_err(OAuthError::server_error)?,
        disabled: false,
        created_at: now,
        updated_at: now,
    };
    Ok(Client::from_row(&row).map_err(OAuthError::server_error)?)
}
