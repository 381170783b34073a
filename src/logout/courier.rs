//! Brings logout tokens to clients (OpenID Connect Back-Channel Logout §2.5).
//!
//! Whom to tell is written down with the end of the session, in the table `logout`. Each node looks
//! there; whoever moves a row's time on first has it until then, so a client is told once, and told
//! again when a node dies in between.

use std::{collections::HashMap, sync::Arc, time::Duration};

use entity::logout;
use tokio::{sync::watch, task::JoinSet, time::sleep};
use url::Url;

use super::token;
use crate::{
    app::{App, AppState},
    error::Result,
    fetch::FetchError,
    journal::{Command, JournalError},
    registry::{Client, Tenant},
    store::{Change, logout as rows},
};

/// How often a node looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Rows that are looked up at a time.
const PAGE: u64 = 256;
/// Clients that are told at the same time.
const AT_ONCE: usize = 32;
/// Those of them that are at one host: one that does not answer holds up nobody else.
const AT_ONE_HOST: usize = 4;
/// Seconds until the next attempt; after the last one nobody tries any more, nine hours later.
const DELAYS: [i64; 12] = [
    15, 30, 60, 300, 900, 1800, 3600, 3600, 3600, 3600, 7200, 7200,
];

/// Tells clients, until the server stops.
pub async fn run(app: AppState, mut stopped: watch::Receiver<bool>) {
    let mut telling = Telling::default();
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

/// The attempts under way, each with its host.
#[derive(Default)]
struct Telling {
    tasks: JoinSet<String>,
    hosts: HashMap<String, usize>,
}

impl Telling {
    fn is_full(&self) -> bool {
        self.tasks.len() >= AT_ONCE
    }

    fn has_room_for(&self, host: &str) -> bool {
        !self.is_full() && self.hosts.get(host).is_none_or(|n| *n < AT_ONE_HOST)
    }

    fn begin(&mut self, host: String, attempt: impl Future<Output = ()> + Send + 'static) {
        *self.hosts.entry(host.clone()).or_default() += 1;
        self.tasks.spawn(async move {
            attempt.await;
            host
        });
    }

    /// Takes those away that are done.
    fn reap(&mut self) {
        while let Some(done) = self.tasks.try_join_next() {
            let Ok(host) = done else { continue };
            if let Some(count) = self.hosts.get_mut(&host) {
                *count -= 1;
            }
        }
        self.hosts.retain(|_, count| *count > 0);
    }
}

/// Begins to tell those whose time has come, as many as there is room for.
async fn round(app: &AppState, telling: &mut Telling) -> Result<()> {
    telling.reap();
    let mut last = None;
    while !telling.is_full() {
        let due = rows::due(&app.db, app.clock.seconds(), last.as_ref(), PAGE).await?;
        let Some(end) = due.last() else { break };
        last = Some(end.clone());
        for row in due {
            let addressee = Addressee::of(app, &row);
            let host = addressee.as_ref().map_or("", Addressee::host).to_owned();
            if telling.has_room_for(&host) && take(app, &row).await? {
                let app = app.clone();
                telling.begin(host, async move { tell(&app, &row, addressee).await });
            }
        }
    }
    Ok(())
}

/// Who is told, and where.
struct Addressee {
    tenant: Arc<Tenant>,
    client: Arc<Client>,
    url: Url,
}

impl Addressee {
    /// None when the client is gone, or does not want to know any more.
    fn of(app: &App, row: &logout::Model) -> Option<Self> {
        let tenant = app.registry.find(&row.tenant)?;
        let client = tenant.client(&row.client_id)?;
        let settings = &client.rights().authorization;
        let url = settings.backchannel_logout_uri.as_deref()?.parse().ok()?;
        (!client.is_disabled()).then_some(Self {
            tenant,
            client,
            url,
        })
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
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

async fn tell(app: &App, row: &logout::Model, addressee: Option<Addressee>) {
    let told = match addressee {
        Some(addressee) => attempt(app, row, &addressee).await,
        None => Ok(()),
    };
    match told {
        Ok(()) => forget(app, row).await,
        Err(error) => {
            let attempts = row.attempts + 1;
            tracing::info!(client_id = row.client_id, attempts, %error, "a client does not answer \
                to the end of a session");
        }
    }
}

/// Tells a client once.
async fn attempt(app: &App, row: &logout::Model, addressee: &Addressee) -> Result<(), FetchError> {
    let token = match token::make(app, &addressee.tenant, &addressee.client, row) {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "a logout token cannot be made");
            return Err(FetchError::Answer);
        }
    };
    let body = format!("logout_token={token}");
    let form = "application/x-www-form-urlencoded";
    app.fetch
        .post(addressee.url.as_str(), form, None, body)
        .await
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
