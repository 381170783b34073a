//! Clients whose `client_id` is the URL of their metadata (OAuth Client ID Metadata Document).
//!
//! | file | what |
//! |---|---|
//! | `identifier` | which URLs may be one, and of which hosts |
//! | `read` | fetched, kept for a while, fetched again |
//! | `document` | what the document has to say |
//! | `rule` | how a rule is written |
//! | [`examine`] | all of it, shown to a developer |
//!
//! Anybody can have such a URL, so nothing is written down because somebody names one: the client
//! becomes a row when a person first allows it something ([`row`]). From then on the row follows
//! the document, whenever it is used.

mod document;
pub mod examine;
mod identifier;
mod read;
mod rule;

use std::{borrow::Cow, sync::Arc};

pub use self::identifier::is_meant;
use super::registration::keep_what_was_given;
use crate::{
    app::{App, documents::KeptDocument},
    audit::{Event, Kind},
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    oauth::error_code::ErrorCode,
    registry::{Client, ClientDocument, Origin, Tenant},
    store::Change,
};

/// Seconds that a row serves on while its document's host does not answer.
const LAST_GOOD: i64 = 86_400;
/// Seconds after which a row says anew when its document was last read: after a restart nothing
/// else does.
const REMEMBERED: i64 = 6 * 3600;
/// Seconds between two requests to a host that does not answer, on behalf of clients that have a
/// row.
const PAUSE: i64 = 30;

/// How old a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// As old as its server allows.
    Fresh,
    /// While its host does not answer, as old as it was when it was last good: for clients that a
    /// person has let in before.
    LastGood,
}

/// Why a document makes no client.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: ErrorCode,
    words: Cow<'static, str>,
    /// Whether its host may answer later what it answered before.
    passing: bool,
}

impl Refusal {
    fn new(words: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: ErrorCode::InvalidClient,
            words: words.into(),
            passing: false,
        }
    }

    fn disabled(url: &str) -> Self {
        Self::new(format!("This server does not take the client {url}"))
    }
}

impl From<Refusal> for OAuthError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, format!("{}.", refusal.words))
    }
}

impl From<OAuthError> for Refusal {
    fn from(error: OAuthError) -> Self {
        Self {
            code: error.code,
            words: rule::words(&error).into(),
            passing: false,
        }
    }
}

/// The client that a client identifier URL names.
///
/// # Errors
/// [`Refusal`]: what is wrong with the URL or its document, or that this server does not want it.
pub async fn find(app: &App, tenant: &Tenant, url: &str, age: Age) -> Result<Arc<Client>, Refusal> {
    let private = app.config.fetch.allow_private_addresses_for_tests;
    identifier::check(url, private)
        .map_err(|why| Refusal::new(format!("client_id '{url}': {why}")))?;
    identifier::admit(&app.config.metadata_documents, url).map_err(Refusal::new)?;
    // Another node may have made it a row a moment ago.
    let row = match tenant.client(url) {
        None if app.feed.catch_up().await => tenant.client(url),
        known => known,
    };
    if row.as_ref().is_some_and(|row| row.is_disabled()) {
        return Err(Refusal::disabled(url));
    }
    let Some(row) = row else {
        return Ok(read::current(app, url).await?.client.clone());
    };
    let now = app.clock.seconds();
    if age == Age::LastGood && app.documents.silent.get(url).await > Some(now - PAUSE) {
        return last_good(app, row, now).await.ok_or_else(|| silent(url));
    }
    match read::current(app, url).await {
        Ok(document) => bring_up_to_date(app, tenant, row, &document).await,
        Err(refusal) if age == Age::LastGood && refusal.passing => {
            app.documents.silent.insert(url.to_owned(), now).await;
            last_good(app, row, now).await.ok_or(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

fn silent(url: &str) -> Refusal {
    Refusal::new(format!("The host of {url} has not answered for a day"))
}

/// The client of a row, if its document was good not long ago.
async fn last_good(app: &App, row: Arc<Client>, now: i64) -> Option<Arc<Client>> {
    let kept = app.documents.kept.get(row.id()).await;
    let read_at = kept.map_or(0, |kept| kept.read_at).max(row.updated_at());
    (now < read_at + LAST_GOOD).then_some(row)
}

/// The client of a row that says what the document says now.
async fn bring_up_to_date(
    app: &App,
    tenant: &Tenant,
    client: Arc<Client>,
    kept: &KeptDocument,
) -> Result<Arc<Client>, Refusal> {
    let before = client.row(tenant.name());
    let mut row = before.clone();
    if kept.client.row(tenant.name()).document != before.document {
        row.document = as_it_is_now(&client, &kept.client)?;
    }
    row.updated_at = kept.read_at;
    let changed = row.document != before.document;
    if !changed && kept.read_at < before.updated_at + REMEMBERED {
        return Ok(client);
    }
    let event = Event {
        client_id: Some(client.id()),
        object: Some(client.id()),
        reason: Some("its metadata document has changed"),
        ..Event::default()
    };
    let audit = changed.then(|| app.record(tenant, Kind::ClientChanged, &event));
    let before = Some(Box::new(before));
    let command = Command::new(
        vec![Change::PutClient { row, before }],
        audit.into_iter().collect(),
    );
    match app.journal.commit(command).await {
        // Another node, or another request, was first.
        Ok(()) | Err(JournalError::Conflict) => {}
        Err(error) => return Err(OAuthError::from(error).into()),
    }
    let now = tenant.client(client.id()).filter(|now| !now.is_disabled());
    now.ok_or_else(|| Refusal::disabled(client.id()))
}

/// The stored document of a client whose metadata are these now.
fn as_it_is_now(row: &Client, document: &Client) -> Result<String, Refusal> {
    let broken = |error| Refusal::from(OAuthError::server_error(error));
    let mut now: ClientDocument = document.document().map_err(broken)?;
    keep_what_was_given(&mut now, &row.document().map_err(broken)?);
    serde_json::to_string(&now).map_err(broken)
}

/// The change that makes a row of a client which came by its document; none when it is one, or
/// came otherwise. For the commit in which a person first allows it something.
#[must_use]
pub fn row(app: &App, tenant: &Tenant, client: &Client) -> Option<Change> {
    let is_row = client.origin() != Origin::Document || tenant.client(client.id()).is_some();
    (!is_row).then(|| {
        let mut row = client.row(tenant.name());
        row.created_at = app.clock.seconds();
        Change::PutClient { row, before: None }
    })
}
