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
    audit::{Chain, Chains, Head, KEY_LABEL, Record},
    clock::Clock,
    registry::Registry,
    store::{self, Change},
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
    chains: Arc<Chains>,
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
        let chains = Arc::new(Chains::new(node, &registry.sealer().derive(KEY_LABEL)));
        let writer = Writer {
            db,
            registry,
            clock,
            chains: chains.clone(),
        };
        (Self { sender, chains }, tokio::spawn(writer.run(receiver)))
    }

    /// The audit chains that this node writes.
    #[must_use]
    pub fn chains(&self) -> &Chains {
        &self.chains
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
    chains: Arc<Chains>,
}

/// One transaction's worth of commands, with what became of each.
struct Batch {
    /// Tenants that this batch has made or ended so far.
    tenants: HashMap<String, bool>,
    outcomes: Vec<Result<(), JournalError>>,
    rows: Vec<audit_event::Model>,
    chains: HashMap<String, Chain>,
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
            self.chains.doubt();
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
        self.chains.remember(batch.chains);
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
            chains: HashMap::new(),
        };
        for command in commands {
            let outcome = self
                .change(transaction, &mut batch.tenants, &command.changes)
                .await?;
            if outcome.is_ok() {
                for change in &command.changes {
                    if let Change::CutAudit {
                        tenant,
                        through,
                        hash,
                        ..
                    } = change
                    {
                        let chain = self.chain(transaction, &mut batch.chains, tenant).await?;
                        chain.first = Head {
                            seq: *through,
                            hash: *hash,
                        };
                    }
                }
                for record in &command.audit {
                    let chain = self
                        .chain(transaction, &mut batch.chains, &record.tenant)
                        .await?;
                    let row = chain.last.append(record.clone(), self.chains.node());
                    batch.rows.push(row);
                }
            }
            batch.outcomes.push(outcome);
        }
        store::audit::append(transaction, std::mem::take(&mut batch.rows)).await?;
        let chains = batch.chains.iter();
        let heads = chains.map(|(tenant, chain)| self.chains.seal(tenant, chain));
        store::audit::put_heads(transaction, heads.collect()).await?;
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
            if made {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
            made
        };
        if !made {
            return Ok(Err(JournalError::Conflict));
        }
        *tenants = known;
        Ok(Ok(()))
    }

    /// Makes changes in order and says what is new; `false` at the first that does not hold.
    async fn make(
        &self,
        transaction: &DatabaseTransaction,
        tenants: &mut HashMap<String, bool>,
        changes: &[Change],
    ) -> Result<bool, DbErr> {
        for change in changes {
            if !self.has_its_tenant(tenants, change) || !store::apply(transaction, change).await? {
                return Ok(false);
            }
        }
        store::audit::announce(transaction, changes.iter(), self.clock.millis()).await?;
        Ok(true)
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

    /// A tenant's chain as this batch has moved it so far.
    async fn chain<'b>(
        &self,
        transaction: &DatabaseTransaction,
        moved: &'b mut HashMap<String, Chain>,
        tenant: &str,
    ) -> Result<&'b mut Chain, DbErr> {
        if !moved.contains_key(tenant) {
            let chain = match self.chains.at_hand(tenant) {
                Some(chain) => chain,
                None => {
                    let node = self.chains.node();
                    let head = store::audit::head(transaction, tenant, node).await?;
                    let last = store::audit::last(transaction, tenant, node).await?;
                    self.chains.resume(tenant, head.as_ref(), last)
                }
            };
            moved.insert(tenant.to_owned(), chain);
        }
        moved
            .get_mut(tenant)
            .ok_or_else(|| DbErr::Custom("no audit chain".into()))
    }
}

fn failed(error: &DbErr) -> JournalError {
    JournalError::Failed(error.to_string())
}
