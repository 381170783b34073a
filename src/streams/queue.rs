//! What waits for a stream: a reading of the one log from its place.

use std::{collections::BTreeSet, sync::Arc};

use entity::signal;

use crate::{
    app::App,
    registry::{Signal, Stream, Tenant},
    signals::{Audience, EventKind},
    store::{self, DbErr, progress::Step, signals::PAGE},
};

/// Signals that wait, in order, and how far was looked for them.
#[derive(Debug, Default)]
pub struct Waiting {
    /// They.
    pub signals: Vec<Arc<Signal>>,
    /// Nothing else waits up to here.
    pub up_to: i64,
}

/// The first signals after a place that a stream is to hear, at most so many; those at the
/// settled places are left out.
///
/// # Errors
/// When the database cannot be read, which is asked only for what happened long ago.
pub async fn waiting(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    after: i64,
    settled: &BTreeSet<i64>,
    most: usize,
) -> Result<Waiting, DbErr> {
    let now = app.clock.seconds();
    let hears = |signal: &Signal| stream.concerns(signal, now) && !settled.contains(&signal.seq());
    search(app, tenant, after, most, hears).await
}

/// Of what [`waiting`] finds, what says that the stream was stopped, or goes on: a receiver that
/// fetches hears that much of a stopped stream too (SSF 1.0 §8.1.5).
///
/// # Errors
/// As [`waiting`].
pub(super) async fn of_status(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    after: i64,
    settled: &BTreeSet<i64>,
    most: usize,
) -> Result<Waiting, DbErr> {
    let ours = Audience::Stream(stream.id().to_owned());
    let hears = |signal: &Signal| {
        signal.kind.uri == EventKind::STREAM_UPDATED.uri
            && signal.audience == ours
            && !settled.contains(&signal.seq())
    };
    search(app, tenant, after, most, hears).await
}

async fn search(
    app: &App,
    tenant: &Tenant,
    after: i64,
    most: usize,
    hears: impl Fn(&Signal) -> bool,
) -> Result<Waiting, DbErr> {
    let head = app.registry.signals().head();
    let mut waiting = Waiting {
        signals: Vec::new(),
        up_to: after,
    };
    while waiting.up_to < head && waiting.signals.len() < most {
        let page = read(app, tenant, waiting.up_to).await?;
        let Some(last) = page.last() else {
            waiting.up_to = head;
            break;
        };
        let (end, full) = (last.seq(), page.len() as u64 >= PAGE);
        for signal in page {
            if waiting.signals.len() == most {
                return Ok(waiting);
            }
            waiting.up_to = signal.seq();
            if signal.row.tenant == tenant.name() && hears(&signal) {
                waiting.signals.push(signal);
            }
        }
        // A short page is the last one of what was there; what has come since is read next time.
        waiting.up_to = if full { end } else { end.max(head) };
    }
    Ok(waiting)
}

/// Signals after a place: from memory, or what the database has of this tenant.
async fn read(app: &App, tenant: &Tenant, after: i64) -> Result<Vec<Arc<Signal>>, DbErr> {
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    if let Some(signals) = app.registry.signals().after(after, most) {
        return Ok(signals);
    }
    parse(store::signals::after(&app.db, tenant.name(), after).await?)
}

/// A tenant's signals at some places, in no order.
///
/// # Errors
/// As [`waiting`].
pub(super) async fn at(
    app: &App,
    tenant: &str,
    places: BTreeSet<i64>,
) -> Result<Vec<Arc<Signal>>, DbErr> {
    let log = app.registry.signals();
    let (mut signals, mut old) = (Vec::new(), Vec::new());
    for place in places {
        match log.at(place) {
            Some(signal) if signal.row.tenant == tenant => signals.push(signal),
            Some(_) => {}
            None => old.push(place),
        }
    }
    signals.extend(parse(store::progress::named(&app.db, tenant, &old).await?)?);
    Ok(signals)
}

fn parse(rows: Vec<signal::Model>) -> Result<Vec<Arc<Signal>>, DbErr> {
    let signals = rows.into_iter().map(Signal::from_row);
    signals
        .collect::<Result<_, _>>()
        .map_err(|error| DbErr::Custom(error.to_string()))
}

/// How far a stream has come, as it is stored.
///
/// # Errors
/// When the database cannot be read.
pub async fn progress(app: &App, stream: &Stream) -> Result<Option<Step>, DbErr> {
    let row = stream.row();
    store::progress::of(&app.db, &row.tenant, &row.id).await
}
