//! One transaction's worth of commands.

use std::collections::{HashMap, HashSet};

use entity::{replay, signal};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};

use super::{Command, JournalError, Outcome};
use crate::{
    audit::{Chain, Chains, Head},
    entropy::Entropy,
    registry::{DEFAULT, Registry},
    signals::{Cause, Initiator, consequences},
    store::{self, Change, Made, Once, outbox},
};

/// Why a transaction failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database would not take any command now, or nobody knows whether it took this one.
    Database(DbErr),
    /// A statement failed; another command may fare better.
    Statement(DbErr),
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        if store::is_unavailable(&error) && !store::is_contention(&error) {
            Self::Database(error)
        } else {
            Self::Statement(error)
        }
    }
}

impl From<Failure> for JournalError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) => Self::Unavailable(error.to_string()),
            Failure::Statement(error) if store::is_contention(&error) => {
                Self::Unavailable(error.to_string())
            }
            Failure::Statement(error) => Self::Failed(error.to_string()),
        }
    }
}

/// What a batch is written on top of.
pub(super) struct Base<'w> {
    pub(super) registry: &'w Registry,
    pub(super) node: &'w str,
    /// Position of the node's last outbox row.
    pub(super) position: i64,
    /// The audit chains that it writes.
    pub(super) chains: &'w Chains,
    pub(super) entropy: &'w Entropy,
    /// Unix milliseconds.
    pub(super) at: i64,
    /// How far what ends tokens until a moment reaches beyond it, seconds.
    pub(super) ahead: i64,
}

/// A committed transaction.
pub(super) struct Done {
    pub(super) outcomes: Vec<Outcome>,
    /// What was changed, in order.
    pub(super) changes: Vec<Change>,
    pub(super) position: i64,
    /// Chains that grew or were cut, as they are now.
    pub(super) chains: HashMap<String, Chain>,
}

/// Writes all commands in one transaction: those that do not hold are left out.
///
/// # Errors
/// When the transaction failed as a whole.
pub(super) async fn commit(
    db: &DatabaseConnection,
    base: &Base<'_>,
    commands: &[Command],
) -> Result<Done, Failure> {
    let transaction = db
        .begin_with_options(TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        })
        .await
        .map_err(Failure::Database)?;
    let done = fill(&transaction, base, commands).await?;
    // Whether a commit that failed has reached the disk is not known.
    transaction.commit().await.map_err(Failure::Database)?;
    Ok(done)
}

async fn fill(
    transaction: &DatabaseTransaction,
    base: &Base<'_>,
    commands: &[Command],
) -> Result<Done, DbErr> {
    let mut done = Done {
        outcomes: Vec::with_capacity(commands.len()),
        changes: Vec::new(),
        position: base.position,
        chains: HashMap::new(),
    };
    let mut fresh = use_up(transaction, commands).await?;
    let mut rows = Vec::with_capacity(commands.len());
    for command in commands {
        let cut = cut(transaction, base, &done.chains, &command.changes).await?;
        let outcome = match (&cut, only_names(command)) {
            (Err(conflict), _) => Err(conflict.clone()),
            (_, Some(names)) => take(&mut fresh, names),
            _ => change(transaction, base, command, &mut done.changes).await?,
        };
        if outcome.is_ok() {
            done.chains.extend(cut.into_iter().flatten());
            for record in &command.audit {
                let chain = chain(transaction, base, &mut done.chains, &record.tenant).await?;
                rows.push(chain.last.append(record.clone(), base.node));
            }
        }
        done.outcomes.push(outcome);
    }
    // Names of commands that used another name a second time.
    store::once::give_back(transaction, fresh).await?;
    store::audit::append(transaction, rows).await?;
    let moved = done.chains.iter();
    let heads = moved.map(|(tenant, chain)| base.chains.seal(tenant, chain));
    store::audit::put_heads(transaction, heads.collect()).await?;
    // Last but for what is this node's own: whoever adds signals holds the others up.
    let mut signals = signals(&mut done.changes);
    for row in &mut signals {
        crate::signals::happens(row, base.at, base.ahead)
            .map_err(|error| DbErr::Json(error.to_string()))?;
    }
    store::signals::append(transaction, &mut signals).await?;
    let news = outbox::rows(&done.changes, base.node, &mut done.position, base.at);
    outbox::append(transaction, news).await?;
    Ok(done)
}

/// The names that a command uses up, when that is all it changes. Most do no more, and for them
/// one statement serves the whole batch.
fn only_names(command: &Command) -> Option<Vec<(&replay::Model, Once)>> {
    let name = |change| match change {
        &Change::UseOnce { ref row, what } => Some((row, what)),
        _ => None,
    };
    command.changes.iter().map(name).collect()
}

async fn use_up(
    transaction: &DatabaseTransaction,
    commands: &[Command],
) -> Result<HashSet<(String, Vec<u8>)>, DbErr> {
    let names = commands.iter().filter_map(only_names).flatten();
    let rows: Vec<_> = names.map(|(row, _)| row.clone()).collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    store::once::use_up(transaction, rows).await
}

/// Takes a command's names out of those that nobody has used: all of them or none.
fn take(fresh: &mut HashSet<(String, Vec<u8>)>, names: Vec<(&replay::Model, Once)>) -> Outcome {
    let mut taken = Vec::with_capacity(names.len());
    for (row, what) in names {
        match fresh.take(&(row.tenant.clone(), row.digest.clone())) {
            Some(name) => taken.push(name),
            None => {
                fresh.extend(taken);
                return Err(JournalError::Used(what));
            }
        }
    }
    Ok(())
}

/// Makes a command's changes: all of them hold or none.
async fn change(
    transaction: &DatabaseTransaction,
    base: &Base<'_>,
    command: &Command,
    made: &mut Vec<Change>,
) -> Result<Outcome, DbErr> {
    let changes = command.changes.as_slice();
    if let Some(error) = changes.iter().find_map(|c| base.registry.check(c).err()) {
        return Ok(Err(JournalError::Failed(error.to_string())));
    }
    // One change alone holds or touches nothing: it needs no savepoint.
    let outcome = if changes.len() == 1 {
        make(transaction, changes).await?
    } else {
        let savepoint = transaction.begin().await?;
        let outcome = make(&savepoint, changes).await?;
        if outcome.is_ok() {
            savepoint.commit().await?;
        } else {
            savepoint.rollback().await?;
        }
        outcome
    };
    Ok(outcome.map(|changes| {
        let told = told(base, command, &changes);
        made.extend(changes.into_iter().chain(told));
    }))
}

/// What receivers are told of changes that were made.
fn told(base: &Base<'_>, command: &Command, made: &[Change]) -> Vec<Change> {
    let mut told = Vec::new();
    let mut cause = command.cause.clone();
    for change in made {
        let Some(tenant) = change.tenant().and_then(|name| base.registry.find(name)) else {
            continue;
        };
        for draft in consequences::of(change, tenant.name(), tenant.issuer()) {
            let cause = cause
                .get_or_insert_with(|| Cause::new(base.entropy, Initiator::System, "it has ended"));
            let row = draft.row(tenant.name(), cause, base.entropy, base.at);
            told.push(Change::Signal(row));
        }
    }
    told
}

/// The signals among changes.
fn signals(changes: &mut [Change]) -> Vec<&mut signal::Model> {
    let rows = changes.iter_mut().filter_map(|change| match change {
        Change::Signal(row) => Some(row),
        _ => None,
    });
    rows.collect()
}

/// Makes changes in order, and says what was really made, up to the first that does not hold.
async fn make(
    db: &impl ConnectionTrait,
    changes: &[Change],
) -> Result<Result<Vec<Change>, JournalError>, DbErr> {
    let mut all = Vec::with_capacity(changes.len());
    for change in changes {
        if !has_its_tenant(db, change).await? {
            return Ok(Err(JournalError::Conflict));
        }
        match (store::change::apply(db, change).await?, change) {
            (Made::AsAsked, _) => all.push(change.clone()),
            (Made::Instead(made), _) => all.extend(made),
            (Made::No, Change::UseOnce { what, .. }) => {
                return Ok(Err(JournalError::Used(*what)));
            }
            (Made::No, _) => return Ok(Err(JournalError::Conflict)),
        }
    }
    Ok(Ok(all))
}

/// Whether the tenant of a change exists at this moment. A request that began before its tenant
/// ended must not leave anything behind for the next tenant of that name.
async fn has_its_tenant(db: &impl ConnectionTrait, change: &Change) -> Result<bool, DbErr> {
    match (change, change.tenant()) {
        (Change::PutTenant(_) | Change::RemoveTenant(_), _) | (_, None | Some(DEFAULT)) => Ok(true),
        (_, Some(name)) => store::declared::holds_tenant(db, name).await,
    }
}

/// The chains that a command cuts, as they are then. Whoever judged what goes has read the chain
/// before: a conflict when it begins elsewhere by now.
async fn cut(
    transaction: &DatabaseTransaction,
    base: &Base<'_>,
    moved: &HashMap<String, Chain>,
    changes: &[Change],
) -> Result<Result<HashMap<String, Chain>, JournalError>, DbErr> {
    let mut all = HashMap::new();
    let place = |(seq, hash): (i64, [u8; 32])| Head { seq, hash };
    for change in changes {
        if let Change::CutAudit {
            tenant,
            first,
            anchor,
            ..
        } = change
        {
            let chain = known(transaction, base, moved, tenant).await?;
            match chain.cut(place(*first), place(*anchor)) {
                Some(chain) => all.insert(tenant.clone(), chain),
                None => return Ok(Err(JournalError::Conflict)),
            };
        }
    }
    Ok(Ok(all))
}

/// A tenant's chain so far: as this batch has moved it, or remembered, or read.
async fn known(
    transaction: &DatabaseTransaction,
    base: &Base<'_>,
    moved: &HashMap<String, Chain>,
    tenant: &str,
) -> Result<Chain, DbErr> {
    let at_hand = moved.get(tenant).copied();
    if let Some(chain) = at_hand.or_else(|| base.chains.at_hand(tenant)) {
        return Ok(chain);
    }
    let head = store::audit::head(transaction, tenant, base.node).await?;
    let last = store::audit::last(transaction, tenant, base.node).await?;
    Ok(base.chains.resume(tenant, head.as_ref(), last))
}

/// A tenant's chain, for this batch to move.
async fn chain<'b>(
    transaction: &DatabaseTransaction,
    base: &Base<'_>,
    moved: &'b mut HashMap<String, Chain>,
    tenant: &str,
) -> Result<&'b mut Chain, DbErr> {
    if !moved.contains_key(tenant) {
        let chain = known(transaction, base, moved, tenant).await?;
        moved.insert(tenant.to_owned(), chain);
    }
    moved
        .get_mut(tenant)
        .ok_or_else(|| DbErr::Custom("no audit chain".into()))
}
