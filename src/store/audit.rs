//! The audit trail in the database.

use entity::audit_event;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement, Value, sea_query::ArrayType,
};

use super::CHUNK;

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
    if db.get_database_backend() == DbBackend::Postgres {
        return match rows.is_empty() {
            true => Ok(()),
            false => db.execute_raw(unnest(rows)).await.map(drop),
        };
    }
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

/// One array for each column: a twentieth of the database's work for a row at a time.
fn unnest(rows: Vec<audit_event::Model>) -> Statement {
    const SQL: &str = "INSERT INTO audit_event (tenant, node, seq, at, kind, event, hash) \
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], \
         $6::text[], $7::bytea[])";
    let mut columns: [Vec<Value>; 7] = Default::default();
    for row in rows {
        let values: [Value; 7] = [
            row.tenant.into(),
            row.node.into(),
            row.seq.into(),
            row.at.into(),
            row.kind.into(),
            row.event.into(),
            row.hash.into(),
        ];
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    let kinds = [
        ArrayType::String,
        ArrayType::String,
        ArrayType::BigInt,
        ArrayType::BigInt,
        ArrayType::String,
        ArrayType::String,
        ArrayType::Bytes,
    ];
    let arrays = kinds.into_iter().zip(columns);
    let values = arrays.map(|(kind, column)| super::array(kind, column));
    Statement::from_sql_and_values(DbBackend::Postgres, SQL, values)
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
