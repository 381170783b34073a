//! The last word to a stream that this transmitter stops (SSF 1.0 §8.1.5).
//!
//! Its courier has put everything down by then, so whoever stops the stream says it. Once: of a
//! paused stream it waits with the rest when it is not taken, and of a disabled one nothing waits.

use std::sync::Arc;

use entity::signal;

use super::{post::post, verdict::Verdict};
use crate::{
    app::App,
    registry::{Signal, Stream, Tenant},
    streams::acknowledge,
};

/// Posts the `stream-updated` that was committed with the end of a stream's delivery, when it is
/// a pushed one.
pub(in crate::streams) async fn farewell(
    app: &App,
    tenant: &Tenant,
    stream: &Arc<Stream>,
    updated: signal::Model,
) {
    let Some(url) = stream.endpoint_url() else {
        return;
    };
    // Nothing was committed when nothing had to change.
    let Some(place) = app.registry.signals().place_of(&updated.id) else {
        return;
    };
    let updated = signal::Model {
        seq: place,
        ..updated
    };
    let Ok(updated) = Signal::from_row(updated) else {
        return;
    };
    let _sending = stream.live().sending.lock().await;
    let receiver = tenant.client(stream.client_id());
    let hears = receiver.is_some_and(|client| !client.is_disabled());
    let now = tenant.stream(stream.id());
    if !hears || !now.is_some_and(|now| Arc::ptr_eq(&now, stream)) {
        return;
    }
    match post(app, tenant, stream, url, &updated).await {
        Verdict::Taken => {
            let took = app.clock.millis() - updated.row.at;
            app.metrics.deliveries.told("push", took);
            if let Err(error) = acknowledge::one(app, stream, place).await {
                tracing::warn!(%error, "the progress of a stream is not written down");
            }
        }
        Verdict::Refused => app.metrics.deliveries.refused("push"),
        Verdict::UnknownKey | Verdict::Later(_) => app.metrics.deliveries.failed("push"),
    }
}
