//! What nobody needs any more, taken away some at a time: whoever commits meanwhile waits for it.

use entity::{client, consent, grant, outbox, signal, stream};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, Select,
    sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, Query},
};

use super::Change;

/// Rows that one change takes away at most.
pub const AT_ONCE: u64 = 1000;

/// Signals that expired before a Unix second. What another node is taking away is left to it.
pub(super) async fn signals(db: &impl ConnectionTrait, before: i64) -> Result<(), DbErr> {
    let old = signal::Entity::find()
        .select_only()
        .column(signal::Column::Seq)
        .filter(signal::Column::ExpiresAt.lt(before))
        .order_by_asc(signal::Column::ExpiresAt)
        .limit(AT_ONCE)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    signal::Entity::delete_many()
        .filter(signal::Column::Seq.in_subquery(old.into_query()))
        .exec(db)
        .await
        .map(drop)
}

/// Outbox rows from before a Unix millisecond, in the same way.
pub(super) async fn outbox(db: &impl ConnectionTrait, before: i64) -> Result<(), DbErr> {
    let key = [outbox::Column::Node, outbox::Column::Seq];
    let old = outbox::Entity::find()
        .select_only()
        .columns(key)
        .filter(outbox::Column::At.lt(before))
        .order_by_asc(outbox::Column::At)
        .limit(AT_ONCE)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    outbox::Entity::delete_many()
        .filter(Expr::tuple(key.map(Expr::col)).in_subquery(old.into_query()))
        .exec(db)
        .await
        .map(drop)
}

/// Clients that came by themselves and have not changed since a Unix second, that hold no grant and
/// no stream, and that nobody has allowed anything. One that is disabled stays: it is to be remembered.
pub(super) fn unused_clients(before: i64) -> Select<client::Entity> {
    macro_rules! none_in {
        ($table:ident) => {
            Expr::exists(
                Query::select()
                    .expr(Expr::val(1))
                    .from($table::Entity)
                    .and_where(
                        Expr::col(($table::Entity, $table::Column::Tenant))
                            .equals((client::Entity, client::Column::Tenant)),
                    )
                    .and_where(
                        Expr::col(($table::Entity, $table::Column::ClientId))
                            .equals((client::Entity, client::Column::ClientId)),
                    )
                    .take(),
            )
            .not()
        };
    }
    client::Entity::find()
        .filter(client::Column::Origin.is_in(["registered", "document"]))
        .filter(client::Column::Disabled.eq(false))
        .filter(client::Column::UpdatedAt.lt(before))
        .filter(none_in!(grant))
        .filter(none_in!(consent))
        .filter(none_in!(stream))
        .order_by_asc(client::Column::UpdatedAt)
}

/// Whether there is more to forget than one change took away.
///
/// # Errors
/// When the database does.
pub async fn is_left(db: &impl ConnectionTrait, change: &Change) -> Result<bool, DbErr> {
    match *change {
        Change::ForgetUnusedClients { before } => {
            Ok(unused_clients(before).one(db).await?.is_some())
        }
        Change::ForgetSignals { before } => {
            let old = signal::Entity::find().filter(signal::Column::ExpiresAt.lt(before));
            Ok(old.one(db).await?.is_some())
        }
        Change::ForgetOutbox { before } => {
            let old = outbox::Entity::find().filter(outbox::Column::At.lt(before));
            Ok(old.one(db).await?.is_some())
        }
        _ => Ok(false),
    }
}
