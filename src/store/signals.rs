//! What receivers are told, in the one order in which it was committed.

use entity::{signal, signal_head};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
};

use super::CHUNK;

/// How many of the last ones nodes keep in memory.
pub const AT_HAND: u64 = 32_768;
/// How many are read at a time.
pub const PAGE: u64 = 500;

const NAME: &str = "signal";

/// Gives signals their places, which follow the last one's without a gap, and writes them. Until
/// the transaction ends, no other node adds any: whoever reads up to a place has seen all before.
///
/// # Errors
/// When the database does.
pub async fn append(
    db: &impl ConnectionTrait,
    rows: &mut [&mut signal::Model],
) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    const MOVE: &str = "INSERT INTO signal_head (name, seq) VALUES ($1, $2) \
         ON CONFLICT (name) DO UPDATE SET seq = signal_head.seq + excluded.seq RETURNING seq";
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let backend = db.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, MOVE, [NAME.into(), count.into()]);
    let head = db.query_one_raw(statement).await?;
    let head: i64 = head
        .ok_or_else(|| DbErr::Custom("the head of the signals does not move".into()))?
        .try_get("", "seq")?;
    for (seq, row) in (head - count + 1..).zip(rows.iter_mut()) {
        row.seq = seq;
    }
    for chunk in rows.chunks(CHUNK) {
        let chunk = chunk.iter().map(|row| (**row).clone().into_active_model());
        signal::Entity::insert_many(chunk)
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// The place of the last one.
///
/// # Errors
/// When the database does.
pub async fn head(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let head = signal_head::Entity::find_by_id(NAME).one(db).await?;
    Ok(head.map_or(0, |head| head.seq))
}

/// The last ones of all tenants, oldest first.
///
/// # Errors
/// When the database does.
pub async fn last(db: &impl ConnectionTrait, count: u64) -> Result<Vec<signal::Model>, DbErr> {
    let mut rows = signal::Entity::find()
        .order_by_desc(signal::Column::Seq)
        .limit(count)
        .all(db)
        .await?;
    rows.reverse();
    Ok(rows)
}

/// A tenant's signals after a place, oldest first, at most [`PAGE`].
///
/// # Errors
/// When the database does.
pub async fn after(
    db: &impl ConnectionTrait,
    tenant: &str,
    seq: i64,
) -> Result<Vec<signal::Model>, DbErr> {
    signal::Entity::find()
        .filter(signal::Column::Tenant.eq(tenant))
        .filter(signal::Column::Seq.gt(seq))
        .order_by_asc(signal::Column::Seq)
        .limit(PAGE)
        .all(db)
        .await
}

/// The place after which a tenant's signals are no older than this, Unix milliseconds.
///
/// # Errors
/// When the database does.
pub async fn before(db: &impl ConnectionTrait, tenant: &str, at: i64) -> Result<i64, DbErr> {
    let first = signal::Entity::find()
        .filter(signal::Column::Tenant.eq(tenant))
        .filter(signal::Column::At.gte(at))
        .order_by_asc(signal::Column::Seq)
        .one(db)
        .await?;
    match first {
        Some(row) => Ok(row.seq - 1),
        None => head(db).await,
    }
}
