//! Brings logout tokens to clients (OpenID Connect Back-Channel Logout §2.5).
//!
//! Whom to tell is written down with the end of the session, in the table `logout`. Each node looks
//! there; whoever moves a row's time on first has it until then, so a client is told once, and told
//! again when a node dies in between.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use entity::logout;
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::sleep,
};
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
const PAGE: u64 = 64;
/// Clients whose hosts are busy, and that are left out of what is looked up.
const MOST_WAITING: usize = 256;
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
            () = telling.one_is_done() => {}
        }
    }
}

/// The attempts under way, each with its host.
#[derive(Default)]
struct Telling {
    tasks: JoinSet<()>,
    hosts: HashMap<Id, String>,
}

impl Telling {
    fn is_full(&self) -> bool {
        self.tasks.len() >= AT_ONCE
    }

    fn has_room_for(&self, host: &str) -> bool {
        let there = self.hosts.values().filter(|one| *one == host).count();
        !self.is_full() && there < AT_ONE_HOST
    }

    fn begin(&mut self, host: String, attempt: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(attempt);
        self.hosts.insert(task.id(), host);
    }

    /// Waits until there is room for another one.
    async fn one_is_done(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.end(ended),
            None => std::future::pending().await,
        }
    }

    /// Takes those away that are done.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.end(ended);
        }
    }

    fn end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.hosts.remove(&id);
    }
}

/// Begins to tell those whose time has come, as many as there is room for.
async fn round(app: &AppState, telling: &mut Telling) -> Result<()> {
    telling.reap();
    let mut waiting = BTreeSet::new();
    while !telling.is_full() && waiting.len() < MOST_WAITING {
        let due = rows::due(&app.db, app.clock.seconds(), &waiting, PAGE).await?;
        if due.is_empty() {
            break;
        }
        for row in due {
            let addressee = Addressee::of(app, &row);
            let host = addressee.as_ref().map_or("", Addressee::host).to_owned();
            if !telling.has_room_for(&host) {
                waiting.insert((row.tenant, row.client_id));
            } else if take(app, &row).await? {
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
