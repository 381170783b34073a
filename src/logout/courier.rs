//! Brings logout tokens to clients (OpenID Connect Back-Channel Logout §2.5).
//!
//! Whom to tell is written down with the end of the session, in the table `logout`. Each node looks
//! there; whoever moves a row's time on first has it until then, so a client is told once, and told
//! again when a node dies in between.

use std::time::Duration;

use entity::logout;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::token;
use crate::{
    app::{App, AppState},
    error::Result,
    fetch::FetchError,
    journal::{Command, JournalError},
    store::{Change, logout as rows},
};

/// How often a node looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Rows that are looked up at a time.
const PAGE: u64 = 64;
/// Clients that are told at the same time.
const AT_ONCE: usize = 32;
/// Seconds until the next attempt; after the last one nobody tries any more, nine hours later.
const DELAYS: [i64; 12] = [
    15, 30, 60, 300, 900, 1800, 3600, 3600, 3600, 3600, 7200, 7200,
];

/// Tells clients, until the server stops.
pub async fn run(app: AppState, mut stopped: watch::Receiver<bool>) {
    let mut telling = JoinSet::new();
    loop {
        if let Err(error) = round(&app, &mut telling).await {
            tracing::warn!(%error, "nobody can be told of the end of sessions now");
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = sleep(PAUSE) => {}
        }
    }
}

/// Begins to tell everyone whose time has come.
async fn round(app: &AppState, telling: &mut JoinSet<()>) -> Result<()> {
    while telling.try_join_next().is_some() {}
    let due = rows::due(&app.db, app.clock.seconds(), PAGE).await?;
    for row in due {
        while telling.len() >= AT_ONCE {
            telling.join_next().await;
        }
        if take(app, &row).await? {
            let app = app.clone();
            telling.spawn(async move { tell(&app, &row).await });
        }
    }
    Ok(())
}

/// Makes the next attempt ours, unless another node was first.
async fn take(app: &App, row: &logout::Model) -> Result<bool> {
    let attempt = usize::try_from(row.attempts).unwrap_or(usize::MAX);
    let Some(delay) = DELAYS.get(attempt) else {
        tracing::warn!(
            client_id = row.client_id,
            "a client was never reached to be told of the end of a session"
        );
        forget(app, row).await;
        return Ok(false);
    };
    let next = app.clock.seconds() + delay;
    let take = rows::Change::Take {
        row: row.clone(),
        next,
    };
    match app.journal.commit(command(take)).await {
        Ok(()) => Ok(true),
        Err(JournalError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn command(change: rows::Change) -> Command {
    Command::new(vec![Change::Logout(change)], Vec::new())
}

async fn tell(app: &App, row: &logout::Model) {
    match attempt(app, row).await {
        Ok(()) => forget(app, row).await,
        Err(error) => {
            let attempts = row.attempts + 1;
            tracing::info!(client_id = row.client_id, attempts, %error, "a client does not answer \
                to the end of a session");
        }
    }
}

/// Tells a client once. One that is gone, or does not want to know any more, has been told.
async fn attempt(app: &App, row: &logout::Model) -> Result<(), FetchError> {
    let tenant = app.registry.find(&row.tenant);
    let Some((tenant, client)) = tenant.and_then(|tenant| {
        let client = tenant.client(&row.client_id)?;
        Some((tenant, client))
    }) else {
        return Ok(());
    };
    let url = client
        .rights()
        .authorization
        .backchannel_logout_uri
        .as_deref();
    let Some(url) = url.filter(|_| !client.is_disabled()) else {
        return Ok(());
    };
    let token = match token::make(app, &tenant, &client, row) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "a logout token cannot be made");
            return Err(FetchError::Answer);
        }
    };
    let body = format!("logout_token={token}");
    let form = "application/x-www-form-urlencoded";
    app.fetch.post(url, form, None, body).await
}

/// A client that is told once more does no harm, so it is only logged when that fails.
async fn forget(app: &App, row: &logout::Model) {
    let done = rows::Change::Done {
        tenant: row.tenant.clone(),
        sid: row.sid.clone(),
        client_id: row.client_id.clone(),
    };
    if let Err(error) = app.journal.commit(command(done)).await {
        tracing::warn!(%error, "it is not noted that a client was told of the end of a session");
    }
}
