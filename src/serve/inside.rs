//! The address for monitoring alone: `/metrics`, `/healthz` and `/readyz`, without a token.

use std::{sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::{app::AppState, router};

/// Connections at the same time: a few scrapers and probes.
const CONNECTIONS: usize = 16;
/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the server stops. Whoever is still being answered then is cut off: nothing here
/// changes anything.
pub(super) async fn serve(
    listener: TcpListener,
    app: AppState,
    mut stopped: watch::Receiver<bool>,
) {
    let table = router::inside(app);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, or the peer left: take a breath and go on.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .serve_connection(
                TokioIo::new(stream),
                TowerToHyperService::new(table.clone()),
            );
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                // A peer that breaks off is its own business.
                _ = timeout(PATIENCE, connection) => {}
                _ = stopped.changed() => {}
            }
        });
    }
}
