//! A running server: its sockets, its first start, its background tasks, its end.

mod connections;
pub mod directory;
mod impatient;
mod inside;
mod tls;

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    admin::{
        By,
        apply::{self, Declaration, Line},
        tenants::{Credentials, credentials, put_administrator},
    },
    app::{App, AppState, StartError},
    clock::Clock,
    config::Config,
    entropy::Entropy,
    error::OAuthError,
    journal::{Command, JournalError},
    keys::{
        KeyError,
        sealed::{Sealer, write_private},
    },
    logout,
    registry::ADMIN_ID,
    store::{self, Change, Store, people},
    streams,
    trail::{sinks, truncate},
};

pub use self::tls::TlsError;

/// How often time's own work is done: key rotation, forgetting.
const MAINTENANCE: Duration = Duration::from_secs(60);
/// How often committed pages are moved into the database file.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// Between two commits that forget.
const BREATH: Duration = Duration::from_millis(20);
/// How long outbox rows are kept, milliseconds.
const OUTBOX: i64 = 24 * 3600 * 1000;

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address.
    #[error(
        "{0}: cannot listen on {1}: {2}; give an address of this machine whose port is free, or \
         stop what listens there"
    )]
    Listen(&'static str, SocketAddr, io::Error),
    /// The data directory.
    #[error("storage.data_dir: {0}: {1}")]
    Directory(PathBuf, io::Error),
    /// Another process has it.
    #[error(
        "another writ serves from {0} (storage.data_dir): stop that one, or give this one a \
         directory of its own"
    )]
    Taken(PathBuf),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Storage, keys.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database is there and the key to it is not.
    #[error(
        "{0} is missing (keys.sealing_key), and the signing keys in the database cannot be opened \
         without it: restore it from a backup, or copy it from the node that made it"
    )]
    SealingKey(PathBuf),
    /// The first administrator.
    #[error("the first administrator cannot be made: {0}")]
    Administrator(OAuthError),
}

impl From<KeyError> for ServeError {
    fn from(error: KeyError) -> Self {
        Self::Start(error.into())
    }
}

/// A server: open, and from [`Server::answer`] on answering.
pub struct Server {
    /// What it is made of.
    pub app: AppState,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where metrics and health are answered without a token, if anywhere.
    pub metrics_address: Option<SocketAddr>,
    /// Its issuer.
    pub issuer: String,
    /// Where the administrator's credentials are.
    pub credentials: PathBuf,
    stop: watch::Sender<bool>,
    /// Where nobody is let in yet.
    door: Option<(TcpListener, Option<tls::Tls>)>,
    background: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
    exporter: Option<JoinHandle<()>>,
    /// Held until the last row is written.
    _lock: File,
}

impl Server {
    /// Opens it, and begins to answer.
    ///
    /// # Errors
    /// As [`Server::open`].
    pub async fn start(config: Config, clock: Clock, entropy: Entropy) -> Result<Self, ServeError> {
        let mut server = Self::open(config, clock, entropy).await?;
        server.answer();
        Ok(server)
    }

    /// Binds and opens storage. Whoever connects waits until it answers.
    ///
    /// # Errors
    /// [`ServeError`], which names the key and what is wrong.
    pub async fn open(config: Config, clock: Clock, entropy: Entropy) -> Result<Self, ServeError> {
        let tls = tls::Tls::new(&config.tls)?;
        let directory = config.storage.data_dir.clone();
        let lock = directory::hold(&config.storage)?;
        let (listener, address) = bind("server.listen", config.server.listen).await?;
        let inside = match config.telemetry.metrics_listen {
            Some(listen) => Some(bind("telemetry.metrics_listen", listen).await?),
            None => None,
        };
        let (inside, metrics_address) = inside.unzip();
        let issuer = config.issuer(address);
        let away = |error| StartError::Database(config.storage.place(), error);
        let store = Store::open(&config.storage).await.map_err(away)?;
        let sealing_key = config.sealing_key();
        if !sealing_key.exists() && store.has_keys().await.map_err(away)? {
            return Err(ServeError::SealingKey(sealing_key));
        }
        let sealer = Sealer::from_file(&sealing_key, &entropy)?;
        let started = App::start(config, issuer.clone(), clock, entropy, sealer, store).await?;
        let app = started.app;
        let credentials = administrator_file(&app, &directory).await?;
        if let Some(starting) = started.starting {
            starting.end().await;
        }
        let (stop, stopped) = watch::channel(false);
        let mut background = Vec::new();
        if let Some(tls) = &tls {
            background.push(tokio::spawn(tls.clone().keep_current(stopped.clone())));
        }
        let checkpoints = tokio::spawn(checkpoint(app.clone(), stopped.clone()));
        let maintenance = tokio::spawn(maintain(app.clone(), stopped.clone()));
        background.extend(sinks::start(&app, &stopped).map_err(StartError::from)?);
        background.push(tokio::spawn(truncate::by_age(app.clone(), stopped.clone())));
        background.extend(streams::start(&app, &stopped));
        background.push(tokio::spawn(logout::courier::run(
            app.clone(),
            stopped.clone(),
        )));
        background.extend([maintenance, checkpoints]);
        if let Some(listener) = inside {
            background.push(tokio::spawn(inside::serve(listener, app.clone(), stopped)));
        }
        Ok(Self {
            app,
            address,
            metrics_address,
            issuer,
            credentials,
            stop,
            door: Some((listener, tls)),
            background,
            writer: started.writer,
            exporter: started.exporter,
            _lock: lock,
        })
    }

    /// Lets in who waits, and whoever comes.
    pub fn answer(&mut self) {
        if let Some((listener, tls)) = self.door.take() {
            let stopped = self.stop.subscribe();
            let accepting = connections::serve(listener, tls, self.app.clone(), stopped);
            self.background.push(tokio::spawn(accepting));
            self.app.readiness.begin();
        }
    }

    /// Makes a declaration true as the server's operator.
    ///
    /// # Errors
    /// As [`apply::make_true`].
    pub async fn apply(&self, declaration: &Declaration) -> Result<Vec<Line>, OAuthError> {
        let root = self.app.registry.root().clone();
        apply::make_true(&self.app, &root, declaration, By::Operator, false).await
    }

    /// Gives the administrator a new secret and writes it to the credentials file; the old one
    /// holds no more.
    ///
    /// # Errors
    /// When file or database cannot be written.
    pub async fn reset_administrator(&self) -> Result<(), ServeError> {
        new_administrator(&self.app, &self.credentials).await
    }

    /// Stops taking requests, finishes those under way, writes everything that was accepted and
    /// sends what was recorded.
    pub async fn stop(self) {
        self.app.readiness.stop();
        self.app.readiness.close();
        let _ = self.stop.send(true);
        for task in self.background {
            let _ = task.await;
        }
        if let Err(error) = self.app.sum_up_refusals(true).await {
            tracing::error!(%error, "counted refusals cannot be written");
        }
        // The last handle of the journal goes with the app.
        drop(self.app);
        let _ = self.writer.await;
        if let Some(exporter) = self.exporter {
            let _ = exporter.await;
        }
    }
}

async fn bind(
    key: &'static str,
    listen: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let broken = |error| ServeError::Listen(key, listen, error);
    let listener = TcpListener::bind(listen).await.map_err(broken)?;
    let address = listener.local_addr().map_err(broken)?;
    Ok((listener, address))
}

async fn maintain(app: AppState, mut stopped: watch::Receiver<bool>) {
    loop {
        for tenant in app.registry.all() {
            let _held = app.administration.lock().await;
            match app.maintain_keys(&tenant).await {
                // Another node was first: there is nothing to do any more, or next time.
                Ok(()) | Err(StartError::Journal(JournalError::Conflict)) => {}
                Err(error) => {
                    tracing::error!(tenant = tenant.name(), %error, "keys cannot be maintained");
                }
            }
        }
        if let Err(error) = app.sum_up_refusals(false).await {
            tracing::error!(%error, "counted refusals cannot be written");
        }
        let before = app.clock.seconds();
        let unused = app.config.registration.unused_lifetime;
        let unused = (unused > 0).then(|| Change::ForgetUnusedClients {
            before: before - unused,
        });
        let changes = [
            Change::ForgetExpired { before },
            Change::ForgetOrphanedGrants,
            Change::People(people::Change::ForgetSessions {
                before,
                idle_since: before - app.config.users.session_idle,
            }),
            Change::ForgetSignals { before },
            Change::ForgetOutbox {
                before: app.clock.millis() - OUTBOX,
            },
        ];
        for change in changes.into_iter().chain(unused) {
            if let Err(error) = forget(&app, &change, &stopped).await {
                tracing::error!(%error, "old rows cannot be forgotten");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(MAINTENANCE) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Each kind by itself, until nothing is left: one that is late holds up none of the others, nor
/// anybody else's commit.
async fn forget(
    app: &App,
    change: &Change,
    stopped: &watch::Receiver<bool>,
) -> Result<(), OAuthError> {
    loop {
        let command = Command::new(vec![change.clone()], Vec::new());
        app.journal.commit(command).await?;
        if *stopped.borrow() || !store::forget::is_left(&app.db, change).await? {
            return Ok(());
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn checkpoint(app: AppState, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CHECKPOINT) => {}
            _ = stopped.changed() => return,
        }
        if let Err(error) = store::checkpoint(&app.db).await {
            tracing::warn!(%error, "no checkpoint");
        }
    }
}

/// The file with the first administrator's credentials. It is written before the client is, so
/// that a start which is cut short never leaves a client whose secret nobody has.
async fn administrator_file(app: &App, directory: &Path) -> Result<PathBuf, ServeError> {
    let path = directory.join("admin.json");
    let broken = |error| ServeError::Directory(path.clone(), error);
    let root = app.registry.root();
    let administrators = root.clients_that(|client| client.rights().access(ADMIN_ID).is_some());
    if administrators.is_empty() {
        new_administrator(app, &path).await?;
        return Ok(path);
    }
    // The issuer may have changed since: the secret has not.
    if let Ok(text) = fs::read_to_string(&path)
        && let Ok(known) = serde_json::from_str::<Credentials>(&text)
        && known.issuer != root.issuer()
    {
        write_credentials(&path, &credentials(root, known.client_secret)).map_err(broken)?;
    }
    Ok(path)
}

async fn new_administrator(app: &App, path: &Path) -> Result<(), ServeError> {
    let root = app.registry.root();
    let secret = app.entropy.secret("writ_cs_");
    write_credentials(path, &credentials(root, secret.clone()))
        .map_err(|error| ServeError::Directory(path.to_owned(), error))?;
    put_administrator(app, root, &secret)
        .await
        .map_err(ServeError::Administrator)
}

fn write_credentials(path: &Path, credentials: &Credentials) -> io::Result<()> {
    let text = serde_json::to_string_pretty(credentials).map_err(io::Error::other)?;
    write_private(path, (text + "\n").as_bytes())
}
