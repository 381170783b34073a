//! The beginning of a chain taken away, once it has been judged and delivered.
//!
//! What goes is followed row by row first, and both ends of the chain are held against its head. In
//! one commit the rows go, the head gets the anchor that the rest begins at, and an event says what
//! went and names the anchor's hash. A chain that does not hold there stays as it is; what lies
//! between is left for verification. A node cuts its own chains.

use std::time::Duration;

use entity::audit_head;
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    app::{App, AppState},
    audit::{Event, Head, Kind, Record, hexadecimal},
    error::{OAuthError, Result},
    journal::Command,
    store::{self, Change},
};

/// Rows that go in one commit: few enough that no token waits for it.
const CHUNK: u64 = 1000;
/// How often it is looked for what is too old.
const EVERY: Duration = Duration::from_secs(3600);
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// What was taken away.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Truncated {
    /// Events that went.
    pub events: i64,
    /// The chain begins behind this position now.
    pub first_seq: i64,
    /// Whether there may be more to take away.
    pub more: bool,
}

/// Takes away the next events of this node's chain that are older than `before`, Unix
/// milliseconds, and that every sink has.
///
/// # Errors
/// 409 when the chain does not hold, up to the end of what goes or at its own end.
pub async fn truncate(app: &App, tenant: &str, before: i64, by: &str) -> Result<Truncated> {
    // One at a time: each begins where the one before ended.
    let _held = app.administration.lock().await;
    let chains = app.journal.chains();
    let broken = |why: &dyn std::fmt::Display| {
        OAuthError::conflict(format!("The chain stays as it is: {why}."))
    };
    let written = chains.written(tenant);
    let page = store::audit::page(&app.db, tenant, chains.node(), None, CHUNK).await?;
    let Some(head) = &page.head else {
        return Err(broken(&"it has no head"));
    };
    let chain = chains.open(head).map_err(|why| broken(&why))?;
    if written
        .is_some_and(|written| written.last.seq > chain.last.seq || written.first != chain.first)
    {
        return Err(broken(&"the database has an older state than was written"));
    }
    let before_last = Some(chain.last.seq - 1);
    let end = store::audit::page(&app.db, tenant, chains.node(), before_last, 1).await?;
    let end = end.rows.first();
    if end.and_then(|row| Head::of(row.seq, &row.hash)) != Some(chain.last) {
        return Err(broken(&"its last row is gone, or another one"));
    }
    let floor = delivered(app, tenant).await?.unwrap_or(i64::MAX);
    let mut anchor = chain.first;
    for row in &page.rows {
        if row.at >= before || row.seq > floor {
            break;
        }
        anchor.follow(row).map_err(|why| broken(&why))?;
    }
    let events = anchor.seq - chain.first.seq;
    if events > 0 {
        commit(app, tenant, (chain.first, anchor), by).await?;
    }
    Ok(Truncated {
        events,
        first_seq: anchor.seq,
        more: u64::try_from(events).is_ok_and(|events| events == CHUNK),
    })
}

async fn commit(app: &App, tenant: &str, (first, anchor): (Head, Head), by: &str) -> Result<()> {
    let hash = hexadecimal(&anchor.hash);
    let reason = format!("rows {} to {} by {by}", first.seq + 1, anchor.seq);
    let event = Event {
        object: Some(&hash),
        reason: Some(&reason),
        count: u64::try_from(anchor.seq - first.seq).ok(),
        ..Event::default()
    };
    let audit = vec![Record::new(
        tenant,
        app.clock.millis(),
        Kind::AuditTruncated,
        &event,
    )];
    let changes = vec![Change::CutAudit {
        tenant: tenant.to_owned(),
        node: app.journal.chains().node().to_owned(),
        first: (first.seq, first.hash),
        anchor: (anchor.seq, anchor.hash),
    }];
    Ok(app.journal.commit(Command::new(changes, audit)).await?)
}

/// The last row that every sink has; none when there is no sink.
async fn delivered(app: &App, tenant: &str) -> Result<Option<i64>> {
    let mut floor = None;
    for delivery in app.deliveries.all() {
        let node = app.journal.chains().node();
        let cursors = store::audit::cursors(&app.db, delivery.sink, node).await?;
        let cursor = cursors.iter().find(|cursor| cursor.tenant == tenant);
        let seq = cursor.map_or(0, |cursor| cursor.seq);
        floor = Some(floor.map_or(seq, |floor: i64| floor.min(seq)));
    }
    Ok(floor)
}

/// Takes away what is older than the configuration keeps, now and then, until the server stops.
pub async fn by_age(app: AppState, mut stopped: watch::Receiver<bool>) {
    let days = app.config.audit.retention;
    while days > 0 && !*stopped.borrow() {
        let before = app.clock.millis() - days * DAY;
        tokio::select! {
            outcome = all_before(&app, before) => {
                if let Err(error) = outcome {
                    tracing::error!(%error, "old events cannot be taken away");
                }
            }
            _ = stopped.changed() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Takes away everything older than `before`, Unix milliseconds, from this node's chains.
///
/// # Errors
/// When the chains cannot be listed. One that cannot be cut is left, and said so in the log.
pub async fn all_before(app: &App, before: i64) -> Result<()> {
    let node = app.journal.chains().node();
    for head in store::audit::heads_of(&app.db, node).await? {
        if let Err(error) = chain_before(app, &head, before).await {
            let tenant = &head.tenant;
            tracing::error!(tenant, node, %error, "old events of a chain cannot be taken away");
        }
    }
    Ok(())
}

async fn chain_before(app: &App, head: &audit_head::Model, before: i64) -> Result<()> {
    let (tenant, node) = (&head.tenant, &head.node);
    let oldest = store::audit::written_at(&app.db, tenant, node, head.first_seq + 1).await?;
    if oldest.is_some_and(|at| at < before) {
        while truncate(app, tenant, before, "retention").await?.more {}
    }
    Ok(())
}
