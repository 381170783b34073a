//! Room for one more stream of a receiver that has as many as it may have: receivers come and go
//! with the machines they run on, and whoever was cut off did not delete its stream.

use std::sync::{Arc, atomic::Ordering};

use super::{changes::By, status::UNREACHABLE};
use crate::{
    app::App,
    audit::Record,
    error::{OAuthError, Result},
    journal::Command,
    oauth::error_code::ErrorCode,
    registry::{Stream, Tenant},
    store::{self, Change},
};

/// Seconds without a call after which a stream makes room.
const IDLE: i64 = 3600;
/// A receiver that asks all the time is remembered this often, seconds.
const OFTEN: i64 = 300;

/// Remembers that the receiver of a stream is there. When that cannot be written, the next call
/// tries again.
pub(super) async fn note(app: &App, stream: &Stream) {
    let (now, at) = (app.clock.seconds(), &stream.live().active_at);
    let known = at.load(Ordering::Relaxed);
    let is_due = now < known || known + OFTEN <= now;
    if !is_due
        || at
            .compare_exchange(known, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
    {
        return;
    }
    let row = stream.row();
    let active = Change::StreamActive {
        tenant: row.tenant.clone(),
        id: row.id.clone(),
        at: now,
    };
    let command = Command::new(vec![active], Vec::new());
    if let Err(error) = app.journal.commit(command).await {
        tracing::debug!(%error, "that a receiver was there is not remembered");
        at.store(known, Ordering::Relaxed);
    }
}

/// What has to go so that a client may have one more stream: nothing, while it has few.
///
/// One to which nobody listens goes: its receiver has not asked for anything in an hour. What it
/// would have heard, a new stream tells again (`replay`).
///
/// # Errors
/// 403 when all are in use.
pub(super) async fn make(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
) -> Result<Vec<(Change, Record)>> {
    let most = app.config.events.streams_per_client;
    let theirs: Vec<Arc<Stream>> = tenant
        .streams()
        .into_iter()
        .filter(|stream| stream.client_id() == client_id)
        .collect();
    let Some(too_many) = (theirs.len() + 1)
        .checked_sub(most)
        .filter(|many| *many > 0)
    else {
        return Ok(Vec::new());
    };
    let unheard = theirs.iter().filter(|stream| is_nobodys_wish(stream));
    let ids: Vec<&str> = unheard.map(|stream| stream.id()).collect();
    let before = app.clock.seconds() - IDLE;
    let idle = store::progress::idle(&app.db, tenant.name(), &ids, before)
        .await
        .map_err(OAuthError::server_error)?;
    let Some(gone) = idle.get(..too_many) else {
        return Err(OAuthError::new(
            ErrorCode::Forbidden,
            format!("A receiver has at most {most} streams: delete one first."),
        ));
    };
    let remove = |id: &String| {
        let change = Change::RemoveStream {
            tenant: tenant.name().to_owned(),
            id: id.clone(),
        };
        let why = "deleted: nobody listened, and another one was needed";
        (change, By::Server.record(app, tenant, id, why))
    };
    Ok(gone.iter().map(remove).collect())
}

/// Whether a stream without a sign of its receiver need not stay: one that is fetched, or could not
/// be delivered. Where it was declared or stopped, somebody wants it so.
fn is_nobodys_wish(stream: &Stream) -> bool {
    let lost = stream.row().reason.as_deref() == Some(UNREACHABLE);
    let fetched = stream.endpoint_url().is_none() && stream.is_enabled();
    (fetched || lost) && !stream.document().declared
}
