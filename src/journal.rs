//! The one writer: every change of state, audit event and outbox row goes through here.
//!
//! A handler prepares everything and sends one [`Command`]; it answers when the command is
//! committed. The writer takes whatever has queued, commits it in one transaction, applies it to
//! the registry and then answers everyone. There is no timer: while one commit reaches the disk,
//! the next batch gathers. A command whose expectation does not hold is undone alone; a failed
//! commit fails everyone who waits for it, so nothing is acknowledged that is not on disk.

use std::{collections::HashMap, sync::Arc};

use entity::audit_event;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    audit::{Head, Record},
    clock::Clock,
    registry::Registry,
    store::{self, Change, Once},
};

/// Most commands in one transaction.
const BATCH: usize = 1024;

/// What is committed together, or not at all.
#[derive(Debug, Default)]
pub struct Command {
    /// Changes of state, in order.
    pub changes: Vec<Change>,
    /// What is remembered of it.
    pub audit: Vec<Record>,
}

/// Why a command was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Too many commands wait already.
    #[error("the journal is full")]
    Full,
    /// The row to change is not as expected: it is there already, or gone, or used.
    #[error("the change does not fit what is stored")]
    Conflict,
    /// The command uses up something that was used before.
    #[error("it was used before: {0:?}")]
    Used(Once),
    /// The database failed; nothing was changed.
    #[error("the journal cannot be written: {0}")]
    Failed(String),
    /// The server is going down.
    #[error("the journal is closed")]
    Closed,
}

type Answer = oneshot::Sender<Result<(), JournalError>>;

/// A handle to the writer.
#[derive(Clone, Debug)]
pub struct Journal {
    sender: mpsc::Sender<(Command, Answer)>,
}

impl Journal {
    /// Starts the writer. It ends when the last handle is dropped and all is written.
    #[must_use]
    pub fn start(
        db: DatabaseConnection,
        registry: Arc<Registry>,
        clock: Clock,
        node: String,
        queue: usize,
    ) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(queue);
        let writer = Writer {
            db,
            registry,
            clock,
            node,
            heads: HashMap::new(),
        };
        (Self { sender }, tokio::spawn(writer.run(receiver)))
    }

    /// Commits a command and answers when it is on disk and in the registry.
    ///
    /// # Errors
    /// [`JournalError`]; nothing of the command was kept then.
    pub async fn commit(&self, command: Command) -> Result<(), JournalError> {
        let (answer, committed) = oneshot::channel();
        self.sender
            .try_send((command, answer))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => JournalError::Full,
                mpsc::error::TrySendError::Closed(_) => JournalError::Closed,
            })?;
        committed.await.unwrap_or(Err(JournalError::Closed))
    }
}

struct Writer {
    db: DatabaseConnection,
    registry: Arc<Registry>,
    clock: Clock,
    node: String,
    heads: HashMap<String, Head>,
}

/// One transaction's worth of commands, with what became of each.
struct Batch {
    /// Tenants that this batch has made or ended so far.
    tenants: HashMap<String, bool>,
    outcomes: Vec<Result<(), JournalError>>,
    rows: Vec<audit_event::Model>,
    heads: HashMap<String, Head>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<(Command, Answer)>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut waiting, BATCH).await > 0 {
            let (commands, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            for (outcome, answer) in self.commit(&commands).await.into_iter().zip(answers) {
                // Whoever asked may have gone; the command stands all the same.
                let _ = answer.send(outcome);
            }
        }
    }

    /// Commits all commands in one transaction; when that fails, each in one of its own, so that
    /// a command which cannot be written does not take its neighbours down.
    async fn commit(&mut self, commands: &[Command]) -> Vec<Result<(), JournalError>> {
        match self.transact(commands).await {
            Ok(outcomes) => outcomes,
            Err(error) if commands.len() == 1 => vec![Err(failed(&error))],
            Err(error) => {
                tracing::warn!(%error, commands = commands.len(), "batch failed, one by one now");
                let mut outcomes = Vec::with_capacity(commands.len());
                for command in commands {
                    outcomes.push(match self.transact(std::slice::from_ref(command)).await {
                        Ok(mut outcome) => outcome.pop().unwrap_or(Err(JournalError::Closed)),
                        Err(error) => Err(failed(&error)),
                    });
                }
                outcomes
            }
        }
    }

    /// One transaction. When it fails, what was remembered of the chains may be wrong too.
    async fn transact(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Result<(), JournalError>>, DbErr> {
        let outcome = self.try_transact(commands).await;
        if outcome.is_err() {
            self.heads.clear();
        }
        outcome
    }

    async fn try_transact(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Result<(), JournalError>>, DbErr> {
        let transaction = self
            .db
            .begin_with_options(TransactionOptions {
                isolation_level: None,
                access_mode: None,
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            })
            .await?;
        let batch = self.fill(&transaction, commands).await?;
        transaction.commit().await?;
        self.heads.extend(batch.heads);
        for (command, outcome) in commands.iter().zip(&batch.outcomes) {
            if outcome.is_ok() {
                for change in &command.changes {
                    if let Err(error) = self.registry.apply(change) {
                        tracing::error!(%error, "a committed change cannot be read back");
                    }
                }
            }
        }
        Ok(batch.outcomes)
    }

    async fn fill(
        &self,
        transaction: &DatabaseTransaction,
        commands: &[Command],
    ) -> Result<Batch, DbErr> {
        let mut batch = Batch {
            tenants: HashMap::new(),
            outcomes: Vec::with_capacity(commands.len()),
            rows: Vec::with_capacity(commands.len()),
            heads: HashMap::new(),
        };
        for command in commands {
            let outcome = self
                .change(transaction, &mut batch.tenants, &command.changes)
                .await?;
            if outcome.is_ok() {
                for record in &command.audit {
                    let head = self
                        .head(transaction, &mut batch.heads, &record.tenant)
                        .await?;
                    batch.rows.push(head.append(record.clone(), &self.node));
                }
            }
            batch.outcomes.push(outcome);
        }
        store::audit::append(transaction, std::mem::take(&mut batch.rows)).await?;
        Ok(batch)
    }

    /// Makes a command's changes: all of them hold or none.
    async fn change(
        &self,
        transaction: &DatabaseTransaction,
        tenants: &mut HashMap<String, bool>,
        changes: &[Change],
    ) -> Result<Result<(), JournalError>, DbErr> {
        if changes.is_empty() {
            return Ok(Ok(()));
        }
        if let Some(error) = changes.iter().find_map(|c| self.registry.check(c).err()) {
            return Ok(Err(JournalError::Failed(error.to_string())));
        }
        let mut known = tenants.clone();
        // One change alone holds or touches nothing. It needs no savepoint, which matters for
        // every token that is asked for with an assertion.
        let made = if changes.len() == 1 {
            self.make(transaction, &mut known, changes).await?
        } else {
            let savepoint = transaction.begin().await?;
            let made = self.make(&savepoint, &mut known, changes).await?;
            if made.is_ok() {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
            made
        };
        if made.is_ok() {
            *tenants = known;
        }
        Ok(made)
    }

    /// Makes changes in order and says what is new; ends at the first that does not hold.
    async fn make(
        &self,
        transaction: &DatabaseTransaction,
        tenants: &mut HashMap<String, bool>,
        changes: &[Change],
    ) -> Result<Result<(), JournalError>, DbErr> {
        for change in changes {
            if !self.has_its_tenant(tenants, change) {
                return Ok(Err(JournalError::Conflict));
            }
            if !store::apply(transaction, change).await? {
                return Ok(Err(match change {
                    Change::UseOnce { what, .. } => JournalError::Used(*what),
                    _ => JournalError::Conflict,
                }));
            }
        }
        store::audit::announce(transaction, changes.iter(), self.clock.millis()).await?;
        Ok(Ok(()))
    }

    /// Whether the tenant of a change exists at this place in the batch. A request that began
    /// before its tenant ended must not leave anything behind for the next tenant of that name.
    fn has_its_tenant(&self, tenants: &mut HashMap<String, bool>, change: &Change) -> bool {
        match change {
            Change::PutTenant(row) => {
                tenants.insert(row.name.clone(), true);
                true
            }
            Change::RemoveTenant(name) => {
                tenants.insert(name.clone(), false);
                true
            }
            other => other.tenant().is_none_or(|name| {
                let made = tenants.get(name).copied();
                made.unwrap_or_else(|| self.registry.find(name).is_some())
            }),
        }
    }

    async fn head<'h>(
        &self,
        transaction: &DatabaseTransaction,
        heads: &'h mut HashMap<String, Head>,
        tenant: &str,
    ) -> Result<&'h mut Head, DbErr> {
        if !heads.contains_key(tenant) {
            let head = match self.heads.get(tenant) {
                Some(head) => head.clone(),
                None => match store::audit::head(transaction, tenant, &self.node).await? {
                    Some((seq, hash)) => Head {
                        seq,
                        hash: hash.try_into().map_err(|_| {
                            DbErr::Custom(format!("audit row {seq} has no SHA-256 hash"))
                        })?,
                    },
                    None => Head::default(),
                },
            };
            heads.insert(tenant.to_owned(), head);
        }
        heads
            .get_mut(tenant)
            .ok_or_else(|| DbErr::Custom("no audit head".into()))
    }
}

fn failed(error: &DbErr) -> JournalError {
    JournalError::Failed(error.to_string())
}
