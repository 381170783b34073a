//! How far pushed streams have come, written down for many at a time. What is lost in a crash is
//! sent again, under the same names.

use std::{collections::BTreeSet, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use crate::{
    app::AppState,
    journal::Command,
    store::{Change, progress::Step},
};

/// How long is gathered.
const GATHER: Duration = Duration::from_millis(50);
/// Streams in one commit: tokens that are issued meanwhile wait for it.
const TOGETHER: usize = 512;

/// Takes reports.
pub(in crate::streams) type Progress = mpsc::UnboundedSender<(String, String, i64)>;

/// Writes reports down until nobody can send any more.
pub(in crate::streams) async fn write_down(
    app: AppState,
    mut reports: mpsc::UnboundedReceiver<(String, String, i64)>,
) {
    // One place for each stream: this cannot grow beyond their number.
    let mut places = std::collections::BTreeMap::new();
    let mut open = true;
    while open || !places.is_empty() {
        if places.is_empty() {
            match reports.recv().await {
                Some((tenant, stream, place)) => {
                    places.insert((tenant, stream), place);
                }
                None => return,
            }
        }
        if open {
            sleep(GATHER).await;
        }
        loop {
            match reports.try_recv() {
                Ok((tenant, stream, place)) => {
                    places.insert((tenant, stream), place);
                }
                Err(error) => {
                    open = error != mpsc::error::TryRecvError::Disconnected;
                    break;
                }
            }
        }
        let steps: Vec<Step> = places
            .iter()
            .map(|((tenant, stream), position)| Step {
                tenant: tenant.clone(),
                stream: stream.clone(),
                position: *position,
                settled: BTreeSet::new(),
            })
            .collect();
        places.clear();
        for steps in steps.chunks(TOGETHER) {
            let command = Command::new(vec![Change::Progress(steps.to_vec())], Vec::new());
            if let Err(error) = app.journal.commit(command).await {
                tracing::warn!(%error, "the progress of streams is not written down");
            }
        }
    }
}
