//! The one writer: every change of state, audit event and outbox row goes through here.
//!
//! A handler prepares everything and sends one [`Command`]; it answers when the command is
//! committed. The writer takes whatever has queued, commits it in one transaction, applies it to
//! the registry and then answers everyone. There is no timer: while one commit reaches the disk,
//! the next batch gathers. A command whose expectation does not hold is undone alone; a failed
//! commit fails everyone who waits for it, so nothing is acknowledged that is not on disk.
//!
//! Where nodes share a database, the writer is also the one who takes over what the others
//! committed: nobody else changes the registry, so an older reading never covers a newer one.

mod batch;
mod state;

use std::{collections::HashMap, sync::Arc, time::Duration};

use sea_orm::{DatabaseConnection, DbBackend, DbErr};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use self::batch::{Base, Failure};
pub use self::state::State;
use crate::{
    audit::{Chains, KEY_LABEL, Record},
    clock::Clock,
    context,
    entropy::Entropy,
    registry::{Registry, Standing},
    signals::Cause,
    store::{
        self, Change, Once,
        outbox::{self, Heard},
    },
};

/// Most commands in one transaction.
const BATCH: usize = 1024;
/// How often a database that did not take the last commit is tried.
const PROBE: Duration = Duration::from_secs(1);
/// Seconds for which another node may go on issuing tokens from what has been revoked here: until
/// it looks by itself, when it missed the ring, and as much again for its clock.
const AHEAD: i64 = 2;

/// What is committed together, or not at all.
#[derive(Debug, Default)]
pub struct Command {
    /// Changes of state, in order.
    pub changes: Vec<Change>,
    /// What is remembered of it.
    pub audit: Vec<Record>,
    /// Why, as receivers are told what follows from it.
    pub cause: Option<Cause>,
}

impl Command {
    /// Changes with what is remembered of them.
    #[must_use]
    pub const fn new(changes: Vec<Change>, audit: Vec<Record>) -> Self {
        Self {
            changes,
            audit,
            cause: None,
        }
    }

    /// The same with a cause.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }
}

/// Why a command was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Too many commands wait already.
    #[error("the journal is full")]
    Full,
    /// The row to change is not as expected: it is there already, or gone.
    #[error("the change does not fit what is stored")]
    Conflict,
    /// A name that holds once was used before.
    #[error("it was used before")]
    Used(Once),
    /// The database is away, full or read-only; nothing was acknowledged.
    #[error("the database does not take it: {0}")]
    Unavailable(String),
    /// The database refused this command; nothing was changed.
    #[error("the journal cannot be written: {0}")]
    Failed(String),
    /// The server is going down.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// In a word, for a label.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Conflict => "conflict",
            Self::Used(_) => "used",
            Self::Unavailable(_) => "unavailable",
            Self::Failed(_) => "failed",
            Self::Closed => "closed",
        }
    }
}

/// What became of a command.
type Outcome = Result<(), JournalError>;
type Waiting = (Command, oneshot::Sender<Outcome>);

/// A handle to the writer.
#[derive(Clone, Debug)]
pub struct Journal {
    sender: mpsc::Sender<Waiting>,
    state: Arc<State>,
    chains: Arc<Chains>,
}

/// Asks the writer to take over what other nodes committed. Does not keep it running.
#[derive(Clone, Debug)]
pub struct Refresh {
    sender: mpsc::Sender<oneshot::Sender<Result<(), DbErr>>>,
    state: Arc<State>,
}

impl Refresh {
    /// Takes over everything that others have committed by now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn now(&self) -> Result<(), DbErr> {
        let (answer, done) = oneshot::channel();
        let closed = || DbErr::Custom("the writer has ended".into());
        self.sender.send(answer).await.map_err(|_| closed())?;
        done.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits until the writer has ended.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Has the writer refuse everything while another process is this node, and no longer.
    pub fn suspend(&self, suspended: bool) {
        self.state.suspend(suspended);
    }
}

impl Journal {
    /// Starts the writer, which has read the registry when the nodes were at `positions`. It ends
    /// when the last handle is dropped and all is written.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn start(
        db: DatabaseConnection,
        registry: Arc<Registry>,
        clock: Clock,
        entropy: Entropy,
        node: String,
        queue: usize,
        positions: HashMap<String, i64>,
    ) -> Result<(Self, Refresh, JoinHandle<()>), DbErr> {
        let (sender, commands) = mpsc::channel(queue);
        let (refresh, refreshes) = mpsc::channel(1);
        let state = Arc::new(State::default());
        let position = outbox::position(&db, &node).await?;
        let key = registry.sealer().derive(KEY_LABEL);
        let key = key.map_err(|error| DbErr::Custom(error.to_string()))?;
        let chains = Arc::new(Chains::new(node.clone(), &key));
        let writer = Writer {
            db,
            registry,
            clock,
            entropy,
            node,
            state: state.clone(),
            position,
            in_doubt: false,
            chains: chains.clone(),
            positions,
        };
        let running = tokio::spawn(writer.run(commands, refreshes));
        let refresh = Refresh {
            sender: refresh,
            state: state.clone(),
        };
        let journal = Self {
            sender,
            state,
            chains,
        };
        Ok((journal, refresh, running))
    }

    /// The audit chains that this node writes.
    #[must_use]
    pub fn chains(&self) -> &Chains {
        &self.chains
    }

    /// Commits a command and answers when it is on disk and in the registry.
    ///
    /// # Errors
    /// [`JournalError`]; nothing of the command was kept then, unless the database went away while
    /// it committed.
    pub async fn commit(&self, command: Command) -> Result<(), JournalError> {
        // Nobody waits for a database that is known to be away: the writer keeps trying it.
        if let Some(why) = self.state.failure() {
            return Err(JournalError::Unavailable(why.to_string()));
        }
        let outcome = context::committing(self.send(command)).await;
        if let Err(error) = &outcome {
            self.state.numbers().not_committed(error.reason());
        }
        outcome
    }

    async fn send(&self, command: Command) -> Outcome {
        let (answer, committed) = oneshot::channel();
        self.sender
            .try_send((command, answer))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => JournalError::Full,
                mpsc::error::TrySendError::Closed(_) => JournalError::Closed,
            })?;
        committed.await.unwrap_or(Err(JournalError::Closed))
    }

    /// How many commands wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// How the writer fares.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
}

struct Writer {
    db: DatabaseConnection,
    registry: Arc<Registry>,
    clock: Clock,
    entropy: Entropy,
    node: String,
    state: Arc<State>,
    /// Position of this node's last outbox row.
    position: i64,
    /// Whether the database may hold more of this node than that.
    in_doubt: bool,
    /// The audit chains that this node writes.
    chains: Arc<Chains>,
    /// Up to where each node's changes are in the registry.
    positions: HashMap<String, i64>,
}

impl Writer {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Waiting>,
        mut refreshes: mpsc::Receiver<oneshot::Sender<Result<(), DbErr>>>,
    ) {
        let mut waiting = Vec::with_capacity(BATCH);
        let mut probe_at = Instant::now();
        loop {
            let failing = self.state.failure().is_some();
            // In no order: neither commits nor questions hold the others up.
            tokio::select! {
                Some(answer) = refreshes.recv() => {
                    let _ = answer.send(self.refresh().await);
                }
                taken = commands.recv_many(&mut waiting, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    self.serve(&mut waiting).await;
                    // A connection that was cut is made anew at once.
                    probe_at = Instant::now();
                }
                () = sleep_until(probe_at), if failing => {
                    self.probe().await;
                    probe_at = Instant::now() + PROBE;
                }
            }
        }
    }

    async fn serve(&mut self, waiting: &mut Vec<Waiting>) {
        let (commands, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let outcomes = match self.state.failure() {
            // What had queued before the database went away.
            Some(why) => vec![Err(JournalError::Unavailable(why.to_string())); commands.len()],
            None => self.commit(&commands).await,
        };
        for (outcome, answer) in outcomes.into_iter().zip(answers) {
            // Whoever asked may have gone; the command stands all the same.
            let _ = answer.send(outcome);
        }
    }

    /// Commits all commands in one transaction; when that fails for one of them, each in one of
    /// its own, so that a command which cannot be written does not take its neighbours down.
    async fn commit(&mut self, commands: &[Command]) -> Vec<Outcome> {
        match self.transact(commands).await {
            Ok(outcomes) => outcomes,
            Err(Failure::Statement(error)) if commands.len() > 1 => {
                tracing::warn!(%error, commands = commands.len(), "batch failed, one by one now");
                let mut outcomes = Vec::with_capacity(commands.len());
                for command in commands {
                    let alone = self.transact(std::slice::from_ref(command)).await;
                    outcomes.push(match alone {
                        Ok(mut outcome) => outcome.pop().unwrap_or(Err(JournalError::Closed)),
                        Err(failure) => Err(failure.into()),
                    });
                }
                outcomes
            }
            Err(failure) => vec![Err(JournalError::from(failure)); commands.len()],
        }
    }

    /// One transaction. When it fails, what was remembered of the database may be wrong too.
    async fn transact(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        if let Err(error) = self.settle().await {
            self.state.failed(&error);
            return Err(Failure::Database(error));
        }
        match self.try_transact(commands).await {
            Ok(outcomes) => {
                self.state.worked();
                Ok(outcomes)
            }
            Err(failure) => {
                self.in_doubt = true;
                self.chains.doubt();
                if let Failure::Database(error) = &failure {
                    self.state.failed(error);
                }
                Err(failure)
            }
        }
    }

    async fn try_transact(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, Failure> {
        let base = Base {
            registry: &self.registry,
            node: &self.node,
            position: self.position,
            chains: &self.chains,
            entropy: &self.entropy,
            at: self.clock.millis(),
            ahead: if self.has_company() { AHEAD } else { 0 },
        };
        let began = Instant::now();
        let done = batch::commit(&self.db, &base, commands).await?;
        self.position = done.position;
        self.chains.remember(done.chains);
        for change in &done.changes {
            if let Err(error) = self.registry.apply(change) {
                tracing::error!(%error, "a committed change cannot be read back");
            }
        }
        self.state
            .committed(commands, &done.outcomes, &done.changes, began.elapsed());
        Ok(done.outcomes)
    }

    /// Whether there are other nodes. A database of one process may have been another node's.
    fn has_company(&self) -> bool {
        self.db.get_database_backend() == DbBackend::Postgres
            && self.positions.keys().any(|name| *name != self.node)
    }

    /// After a failure: whether the last commit reached the database is not known. What it holds
    /// of this node beyond what is in memory is taken over before anything new is written.
    async fn settle(&mut self) -> Result<(), DbErr> {
        if !self.in_doubt {
            return Ok(());
        }
        let stored = outbox::position(&self.db, &self.node).await?;
        if stored != self.position {
            self.follow(&self.node.clone(), self.position, stored)
                .await?;
            self.position = stored;
        }
        self.in_doubt = false;
        Ok(())
    }

    /// Looks whether the database takes writes again.
    async fn probe(&mut self) {
        self.in_doubt = true;
        match self.settle().await {
            Ok(()) => self.state.worked(),
            Err(error) => self.state.failed(&error),
        }
    }

    /// Takes over what the other nodes have committed since the last time.
    async fn refresh(&mut self) -> Result<(), DbErr> {
        for at in outbox::positions(&self.db).await? {
            if at.name == self.node {
                continue;
            }
            let known = self.positions.get(&at.name).copied().unwrap_or_default();
            if at.seq > known {
                self.follow(&at.name, known, at.seq).await?;
            }
            // Also of one that has told nothing yet: it issues tokens.
            self.positions.insert(at.name, known.max(at.seq));
        }
        Ok(())
    }

    /// Applies a node's changes from one position to another.
    async fn follow(&mut self, node: &str, mut from: i64, to: i64) -> Result<(), DbErr> {
        while from < to {
            let rows = outbox::after(&self.db, node, from).await?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
                return self.reload().await;
            };
            if first.seq != from + 1 {
                // They are forgotten after a while: this node was away for longer.
                return self.reload().await;
            }
            from = last.seq;
            for heard in outbox::hear(&self.db, &rows).await? {
                let anew = match &heard {
                    Heard::Tenant(name) | Heard::TenantEnded(name) => Some(name.clone()),
                    _ => None,
                };
                self.registry.hear(heard).map_err(unreadable)?;
                if let Some(name) = anew {
                    let put = |rows| self.registry.put(rows).map_err(unreadable);
                    store::read(&self.db, Some(&name), put).await?;
                }
            }
        }
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), DbErr> {
        tracing::warn!("changes of other nodes were missed: everything is read again");
        let mut standing = Standing::default();
        store::read(&self.db, None, |rows| {
            standing.note(&rows);
            self.registry.put(rows).map_err(unreadable)
        })
        .await?;
        self.registry.keep(&standing);
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: crate::registry::RegistryError) -> DbErr {
    DbErr::Custom(error.to_string())
}
