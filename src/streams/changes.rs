//! How streams are written: by whom, in which order, and when it is true.

use std::sync::Arc;

use entity::stream;

use super::{agreement::Agreed, asked::nothing, secret};
use crate::{
    app::App,
    audit::{Event, Kind, Record},
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    oauth::claims::AccessClaims,
    registry::{Status, Stream, StreamDocument, Tenant},
    store::Change,
};

/// On whose authority a stream is changed, as the audit trail says it.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The server's own.
    Server,
    /// That of whoever holds a token.
    Token(&'a AccessClaims),
}

impl By<'_> {
    /// What is remembered of a change of a stream.
    #[must_use]
    pub fn record(self, app: &App, tenant: &Tenant, stream: &str, what: &str) -> Record {
        let who = match self {
            Self::Server => None,
            Self::Token(claims) => Some(claims),
        };
        let event = Event {
            client_id: who.map(|claims| claims.client_id.as_str()),
            sub: who.map(|claims| claims.sub.as_str()),
            act: who.and_then(|claims| claims.act.as_ref()),
            object: Some(stream),
            reason: Some(what),
            ..Event::default()
        };
        app.record(tenant, Kind::StreamChanged, &event)
    }

    /// Waits until nothing is being pushed to a stream any more: whoever pushes has heard of the
    /// change by now and begins nothing new (SSF 1.0 §8.1.2). The server itself may be the one who
    /// pushes.
    async fn sees_rest(self, stream: &Stream) {
        if matches!(self, Self::Token(_)) {
            drop(stream.live().sending.lock().await);
        }
    }
}

/// What a stream is to become.
#[derive(Debug)]
pub(super) struct Next {
    /// Its row; its time is given to it.
    pub(super) row: stream::Model,
    /// What is written with it.
    pub(super) with: Vec<Change>,
    /// What was done, for the audit trail.
    pub(super) what: String,
}

/// Changes a stream by a plan that is made of it as it stands, and again when somebody else was
/// faster. When this answers, nothing that the change forbids is under way any more.
pub(super) async fn change(
    app: &App,
    tenant: &Tenant,
    by: By<'_>,
    id: &str,
    plan: impl Fn(&Stream) -> Result<Option<Next>>,
) -> Result<Arc<Stream>> {
    for attempt in 0.. {
        let before = tenant.stream(id).ok_or_else(nothing)?;
        let Some(Next {
            mut row,
            with,
            what,
        }) = plan(&before)?
        else {
            return Ok(before);
        };
        row.updated_at = app.clock.millis().max(before.row().updated_at + 1);
        let put = Change::PutStream {
            row,
            before: Some(Box::new(before.row().clone())),
        };
        let changes = std::iter::once(put).chain(with).collect();
        let audit = vec![by.record(app, tenant, id, &what)];
        match app.journal.commit(Command::new(changes, audit)).await {
            Ok(()) => {}
            Err(JournalError::Conflict) if attempt == 0 => {
                app.feed.catch_up().await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let after = tenant.stream(id).ok_or_else(nothing)?;
        let moved = before.document().delivery != after.document().delivery;
        if after.status() != Status::Enabled || moved {
            by.sees_rest(&before).await;
        }
        return Ok(after);
    }
    Err(nothing())
}

/// Takes a stream away, with all that waits for it.
///
/// # Errors
/// 404 when it is gone already.
pub async fn remove(app: &App, tenant: &Tenant, by: By<'_>, stream: &Stream) -> Result<()> {
    let change = Change::RemoveStream {
        tenant: tenant.name().to_owned(),
        id: stream.id().to_owned(),
    };
    let audit = vec![by.record(app, tenant, stream.id(), "removed")];
    match app.journal.commit(Command::new(vec![change], audit)).await {
        Ok(()) => {}
        Err(JournalError::Conflict) => return Err(nothing()),
        Err(error) => return Err(error.into()),
    }
    by.sees_rest(stream).await;
    Ok(())
}

/// The row of a new stream.
pub(super) fn new_row(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    agreed: &Agreed,
) -> Result<stream::Model> {
    let blank = stream::Model {
        tenant: tenant.name().to_owned(),
        // A letter first, so that nobody takes it for a flag.
        id: format!("st-{}", app.entropy.id()),
        client_id: client_id.to_owned(),
        document: String::new(),
        authorization: None,
        status: Status::Enabled.as_str().to_owned(),
        reason: None,
        created_at: app.clock.seconds(),
        updated_at: app.clock.millis(),
    };
    with_agreement(app, blank, agreed)
}

/// A row with what has been agreed on.
pub(super) fn with_agreement(
    app: &App,
    mut row: stream::Model,
    agreed: &Agreed,
) -> Result<stream::Model> {
    row.document = written(&agreed.document)?;
    if let Some(header) = &agreed.authorization {
        let seal = |header: &str| secret::seal(app, &row.tenant, &row.id, header);
        row.authorization = header.as_deref().map(|header| seal(header)).transpose()?;
    }
    Ok(row)
}

/// A document as it is stored.
pub(super) fn written(document: &StreamDocument) -> Result<String> {
    serde_json::to_string(document).map_err(OAuthError::server_error)
}
