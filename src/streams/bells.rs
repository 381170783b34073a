//! Wakes the streams that a new signal is for: whoever serves them waits at their bell.

use tokio::sync::watch;

use crate::{
    app::AppState,
    registry::{Registry, Signal},
    signals::{Audience, Level},
    store::signals::PAGE,
};

/// Rings until the server stops.
pub(super) async fn ring(app: AppState, mut stopped: watch::Receiver<bool>) {
    let signals = app.registry.signals();
    let mut head = signals.watch();
    let mut seen = *head.borrow_and_update();
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    loop {
        while let Some(news) = signals.after(seen, most).filter(|news| !news.is_empty()) {
            for signal in news {
                ring_for(&app.registry, &signal);
                seen = signal.seq();
            }
        }
        if seen < signals.head() {
            // More came at once than memory holds: everyone looks.
            seen = signals.head();
            for tenant in app.registry.all() {
                tenant.each_stream(|stream| stream.live().bell.notify_waiters());
            }
        }
        tokio::select! {
            _ = head.changed() => {}
            _ = stopped.changed() => return,
        }
    }
}

fn ring_for(registry: &Registry, signal: &Signal) {
    let Some(tenant) = registry.find(&signal.row.tenant) else {
        return;
    };
    let about = |reference: &str| {
        tenant.each_stream_about(reference, |stream| stream.live().bell.notify_waiters());
    };
    match &signal.audience {
        Audience::All => tenant.each_stream(|stream| stream.live().bell.notify_waiters()),
        Audience::Stream(id) => {
            if let Some(stream) = tenant.stream(id) {
                stream.live().bell.notify_waiters();
            }
        }
        Audience::Resources(references) => {
            references.iter().for_each(|reference| about(reference));
            // Plain receivers have no resource.
            if signal.level == Level::Subject {
                about("");
            }
        }
    }
}
