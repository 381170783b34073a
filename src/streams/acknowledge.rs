//! What a receiver has taken over: it is never offered again.

use std::collections::BTreeSet;

use super::{queue, set};
use crate::{
    app::App,
    error::Result,
    journal::Command,
    registry::{Signal, Stream, Tenant},
    store::{self, Change, DbErr, progress::Step},
};

/// Acknowledges everything up to the SET of this name. A name that is none of this stream's says
/// nothing.
///
/// # Errors
/// When it cannot be written down.
pub(super) async fn up_to(app: &App, stream: &Stream, jti: &str) -> Result<()> {
    match place_of(app, stream, jti).await? {
        Some(place) => commit(app, step(stream, place, BTreeSet::new())).await,
        None => Ok(()),
    }
}

/// Acknowledges the SET at this place, and none before it.
///
/// # Errors
/// When it cannot be written down.
pub(super) async fn one(app: &App, stream: &Stream, place: i64) -> Result<()> {
    commit(app, step(stream, 0, BTreeSet::from([place]))).await
}

/// Acknowledges SETs one by one, and says how far the stream has come with that.
///
/// # Errors
/// When it cannot be written down.
pub(super) async fn each(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    progress: Step,
    names: impl Iterator<Item = &str>,
) -> Result<Step> {
    let mut now = progress.clone();
    for jti in names {
        now.settled.extend(place_of(app, stream, jti).await?);
    }
    // Up to where everything is done with.
    let next = queue::waiting(app, tenant, stream, now.position, &now.settled, 1).await?;
    now.position = match next.signals.first() {
        Some(first) => first.seq() - 1,
        None => next.up_to,
    };
    now.settled = now.settled.split_off(&(now.position + 1));
    if now.settled != progress.settled || now.position > progress.position {
        commit(app, now.clone()).await?;
    }
    Ok(now)
}

fn step(stream: &Stream, position: i64, settled: BTreeSet<i64>) -> Step {
    Step {
        tenant: stream.row().tenant.clone(),
        stream: stream.id().to_owned(),
        position,
        settled,
    }
}

async fn commit(app: &App, step: Step) -> Result<()> {
    let command = Command::new(vec![Change::Progress(vec![step])], Vec::new());
    Ok(app.journal.commit(command).await?)
}

/// The place of the SET with this name, if it is one of this stream.
async fn place_of(app: &App, stream: &Stream, jti: &str) -> Result<Option<i64>, DbErr> {
    let log = app.registry.signals();
    let Some(place) = set::place(jti).filter(|place| *place <= log.head()) else {
        return Ok(None);
    };
    let signal = match log.at(place) {
        Some(signal) => Some(signal),
        None => {
            let row = store::signals::at(&app.db, place).await?;
            row.and_then(|row| Signal::from_row(row).ok())
        }
    };
    let ours = |signal: &std::sync::Arc<Signal>| {
        signal.row.tenant == stream.row().tenant && set::jti(signal, stream.id()) == jti
    };
    Ok(signal.filter(ours).map(|_| place))
}
