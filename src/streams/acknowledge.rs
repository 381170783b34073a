//! What a receiver has taken over: it is never offered again.

use std::collections::BTreeSet;

use super::{queue, set};
use crate::{
    app::App,
    error::Result,
    journal::Command,
    registry::{Stream, Tenant},
    store::{Change, DbErr, progress::Step},
};

/// Acknowledges everything up to the SET of this name. A name that is none of this stream's says
/// nothing.
///
/// # Errors
/// When it cannot be written down.
pub(super) async fn up_to(app: &App, stream: &Stream, jti: &str) -> Result<()> {
    match places_of(app, stream, 0, [jti]).await?.first() {
        Some(place) => commit(app, step(stream, *place, BTreeSet::new())).await,
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

/// Acknowledges SETs one by one, and says how far the stream has come with that. What is too much
/// to remember is offered again.
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
    let places = places_of(app, stream, now.position, names).await?;
    now.settled.extend(places);
    // Up to where everything is done with.
    let next = queue::waiting(app, tenant, stream, now.position, &now.settled, 1).await?;
    now.position = match next.signals.first() {
        Some(first) => first.seq() - 1,
        None => next.up_to,
    };
    now.tidy();
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

/// The places after another one of those of these names that are SETs of this stream.
async fn places_of<'a>(
    app: &App,
    stream: &Stream,
    after: i64,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeSet<i64>, DbErr> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let head = app.registry.signals().head();
    let places = names.iter().filter_map(|jti| set::place(jti));
    let places = places.filter(|place| (after + 1..=head).contains(place));
    let signals = queue::at(app, &stream.row().tenant, places.collect()).await?;
    let ours = signals.iter().filter(|signal| {
        let jti = set::jti(signal, stream.id());
        names.contains(jti.as_str())
    });
    Ok(ours.map(|signal| signal.seq()).collect())
}
