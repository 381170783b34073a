//! The audit trail and the outbox in the database.

use entity::{audit_event, outbox};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::Change;

/// Rows in one INSERT: enough to share its cost, few enough for any parameter limit.
const CHUNK: usize = 64;

/// The last row of a chain: its position and hash.
///
/// # Errors
/// When the database does.
pub async fn head(
    db: &impl ConnectionTrait,
    tenant: &str,
    node: &str,
) -> Result<Option<(i64, Vec<u8>)>, DbErr> {
    let last = audit_event::Entity::find()
        .filter(audit_event::Column::Tenant.eq(tenant))
        .filter(audit_event::Column::Node.eq(node))
        .order_by_desc(audit_event::Column::Seq)
        .one(db)
        .await?;
    Ok(last.map(|row| (row.seq, row.hash)))
}

/// Writes rows at the end of their chains.
///
/// # Errors
/// When the database does.
pub async fn append(db: &impl ConnectionTrait, rows: Vec<audit_event::Model>) -> Result<(), DbErr> {
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk = rows
            .by_ref()
            .take(CHUNK)
            .map(audit_event::Model::into_active_model);
        audit_event::Entity::insert_many(chunk)
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Writes what others must hear of these changes.
///
/// # Errors
/// When the database does.
pub async fn announce(
    db: &impl ConnectionTrait,
    changes: impl Iterator<Item = &Change>,
    at: i64,
) -> Result<(), DbErr> {
    let rows: Vec<_> = changes
        .filter_map(Change::news)
        .map(|(tenant, kind, subject)| outbox::ActiveModel {
            seq: NotSet,
            tenant: Set(tenant.into()),
            kind: Set(kind.into()),
            subject: Set(subject.into()),
            at: Set(at),
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    outbox::Entity::insert_many(rows)
        .exec_without_returning(db)
        .await
        .map(drop)
}

/// Which events a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only later than this position.
    pub after: i64,
    /// Only of this kind.
    pub kind: Option<String>,
    /// At most this many.
    pub limit: u64,
}

/// A tenant's events of one node, oldest first.
///
/// # Errors
/// When the database does.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: &str,
    node: &str,
    filter: &Filter,
) -> Result<Vec<audit_event::Model>, DbErr> {
    let mut query = audit_event::Entity::find()
        .filter(audit_event::Column::Tenant.eq(tenant))
        .filter(audit_event::Column::Node.eq(node))
        .filter(audit_event::Column::Seq.gt(filter.after));
    if let Some(kind) = &filter.kind {
        query = query.filter(audit_event::Column::Kind.eq(kind));
    }
    query
        .order_by_asc(audit_event::Column::Seq)
        .limit(filter.limit)
        .all(db)
        .await
}
