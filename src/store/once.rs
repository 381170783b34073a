//! Names that hold once, for many commands at a time.

use std::collections::HashSet;

use entity::replay;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, IntoActiveModel as _, QueryTrait as _,
    Statement,
    sea_query::{ArrayType, OnConflict},
};

use super::{CHUNK, array};

/// A name: its tenant and digest.
type Name = (String, Vec<u8>);

/// Uses up names, and says which of them nobody had used before. A name that comes twice counts
/// once.
///
/// # Errors
/// When the database does.
pub async fn use_up(
    db: &impl ConnectionTrait,
    mut rows: Vec<replay::Model>,
) -> Result<HashSet<Name>, DbErr> {
    // Always in one order: two nodes that take the same names would wait for each other.
    rows.sort_unstable_by(|a, b| a.digest.cmp(&b.digest));
    let mut fresh = HashSet::with_capacity(rows.len());
    if db.get_database_backend() == DbBackend::Postgres {
        let statement = unnest(rows);
        for row in db.query_all_raw(statement).await? {
            fresh.insert((row.try_get("", "tenant")?, row.try_get("", "digest")?));
        }
        return Ok(fresh);
    }
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk = rows
            .by_ref()
            .take(CHUNK)
            .map(replay::Model::into_active_model);
        let mut insert = replay::Entity::insert_many(chunk)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .into_query();
        insert.returning(
            sea_orm::sea_query::Query::returning()
                .columns([replay::Column::Tenant, replay::Column::Digest]),
        );
        for row in db.query_all(&insert).await? {
            fresh.insert((row.try_get("", "tenant")?, row.try_get("", "digest")?));
        }
    }
    Ok(fresh)
}

/// Takes back names that were used up for nothing.
///
/// # Errors
/// When the database does.
pub async fn give_back(
    db: &impl ConnectionTrait,
    names: impl IntoIterator<Item = Name>,
) -> Result<(), DbErr> {
    for name in names {
        replay::Entity::delete_by_id(name).exec(db).await?;
    }
    Ok(())
}

fn unnest(rows: Vec<replay::Model>) -> Statement {
    const SQL: &str = "INSERT INTO replay (tenant, digest, expires_at) \
         SELECT * FROM UNNEST($1::text[], $2::bytea[], $3::bigint[]) \
         ON CONFLICT DO NOTHING RETURNING tenant, digest";
    let (mut tenants, mut digests, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        tenants.push(row.tenant.into());
        digests.push(row.digest.into());
        ends.push(row.expires_at.into());
    }
    let values = [
        array(ArrayType::String, tenants),
        array(ArrayType::Bytes, digests),
        array(ArrayType::BigInt, ends),
    ];
    Statement::from_sql_and_values(DbBackend::Postgres, SQL, values)
}
