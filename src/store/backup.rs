//! All rows of all tables, out and in, whatever the database.
//!
//! A table is read in pages along its primary key and within one transaction, so that neither its
//! size nor what is written meanwhile matters. Columns are found by the models: a new table needs
//! one word in the list below, which a test asks for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use entity::{
    audit_cursor, audit_event, audit_head, client, consent, courier, credential, grant, logout,
    node, outbox, pushed_request, refresh_token, replay, resource, revoked_token, session, signal,
    signal_head, signing_key, stream, stream_progress, tenant, user,
};
use migration::MigratorTrait as _;
use sea_orm::{
    AccessMode, ActiveModelTrait, ColumnTrait as _, ColumnType, ConnectionTrait, DatabaseBackend,
    DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, ExprTrait as _, IdenStatic as _,
    IsolationLevel, Iterable as _, ModelTrait, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, TransactionTrait as _, Value, sea_query::Expr,
};
use serde_json::Map;

use super::{CHUNK, Store, connection};
use crate::config;

/// Rows read at a time.
const PAGE: u64 = 1000;

/// One row: its columns by name; bytes as base64.
pub type Row = Map<String, serde_json::Value>;

macro_rules! tables {
    ($($table:ident)*) => {
        /// Every table.
        pub const TABLES: &[&str] = &[$(stringify!($table)),*];

        /// How many rows a table has.
        ///
        /// # Errors
        /// When the database does.
        pub async fn count<C: ConnectionTrait>(db: &C, table: &str) -> Result<u64, DbErr> {
            match table {
                $(stringify!($table) => $table::Entity::find().count(db).await,)*
                other => Err(unknown(other)),
            }
        }

        /// The rows that follow `last` in a table; none at its end.
        ///
        /// # Errors
        /// When the database does.
        pub async fn page<C: ConnectionTrait>(
            db: &C,
            table: &str,
            last: Option<&Row>,
        ) -> Result<Vec<Row>, DbErr> {
            match table {
                $(stringify!($table) => page_of::<$table::Entity, C>(db, last).await,)*
                other => Err(unknown(other)),
            }
        }

        /// Writes rows into a table.
        ///
        /// # Errors
        /// When the database does, or a row is not one of this table.
        pub async fn insert<C: ConnectionTrait>(
            db: &C,
            table: &str,
            rows: &[Row],
        ) -> Result<(), DbErr> {
            if rows.is_empty() {
                return Ok(());
            }
            match table {
                $(stringify!($table) => insert_into::<$table::Entity, C>(db, rows).await,)*
                other => Err(unknown(other)),
            }
        }
    };
}

tables! {
    tenant client resource grant signing_key revoked_token replay node outbox audit_event audit_head
    audit_cursor stream stream_progress signal signal_head courier user credential session logout
    pushed_request refresh_token consent
}

/// The last step of the schema that this program knows.
#[must_use]
pub fn schema() -> String {
    let steps = migration::Migrator::migrations();
    steps
        .last()
        .map(|step| step.name().to_owned())
        .unwrap_or_default()
}

/// The database as it is at this moment, while others go on writing.
///
/// # Errors
/// When it cannot be opened, or its schema is not this program's.
pub async fn snapshot(settings: &config::Storage) -> Result<DatabaseTransaction, DbErr> {
    let db = connection::existing(settings).await?;
    let pending = migration::Migrator::get_pending_migrations_read_only(&db).await?;
    if let Some(step) = pending.first() {
        return Err(DbErr::Custom(format!(
            "its schema is an older one, without {}: `writ serve` of this version brings it up to \
             date",
            step.name()
        )));
    }
    begin(&db).await
}

async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    if db.get_database_backend() == DatabaseBackend::Sqlite {
        // Its readers see the moment of their first statement.
        return db.begin().await;
    }
    let snapshot = db
        .begin_with_config(
            Some(IsolationLevel::RepeatableRead),
            Some(AccessMode::ReadOnly),
        )
        .await?;
    // Counting a long trail takes longer than any statement of a request may.
    snapshot
        .execute_unprepared("SET LOCAL statement_timeout = 0")
        .await?;
    Ok(snapshot)
}

/// A transaction in a database that must have no rows yet.
///
/// # Errors
/// When it has some, or fails.
pub async fn empty(store: &Store) -> Result<DatabaseTransaction, DbErr> {
    let target = store.writer.begin().await?;
    for table in TABLES {
        if !page(&target, table, None).await?.is_empty() {
            return Err(DbErr::Custom(format!(
                "the database is not empty (table {table}): a backup is restored into a new one"
            )));
        }
    }
    Ok(target)
}

/// One of the signing keys, if there are any.
///
/// # Errors
/// When the database does.
pub async fn signing_key<C: ConnectionTrait>(db: &C) -> Result<Option<signing_key::Model>, DbErr> {
    signing_key::Entity::find().one(db).await
}

async fn page_of<E, C>(db: &C, last: Option<&Row>) -> Result<Vec<Row>, DbErr>
where
    E: EntityTrait,
    E::Model: ModelTrait<Entity = E>,
    C: ConnectionTrait,
{
    let keys: Vec<E::Column> = E::PrimaryKey::iter()
        .map(sea_orm::PrimaryKeyToColumn::into_column)
        .collect();
    let mut select = E::find().limit(PAGE);
    for key in &keys {
        select = select.order_by_asc(*key);
    }
    if let Some(last) = last {
        let values = keys.iter().map(|key| {
            let value = last.get(key.as_str()).unwrap_or_default();
            read::<E>(*key, value).map(Expr::val)
        });
        let values = Expr::tuple(values.collect::<Result<Vec<_>, _>>()?);
        let columns = Expr::tuple(keys.iter().map(|key| Expr::col(*key)));
        select = select.filter(columns.gt(values));
    }
    let rows = select.all(db).await?;
    Ok(rows.iter().map(written).collect())
}

async fn insert_into<E, C>(db: &C, rows: &[Row]) -> Result<(), DbErr>
where
    E: EntityTrait,
    E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
    C: ConnectionTrait,
{
    for chunk in rows.chunks(CHUNK) {
        let models = chunk.iter().map(made::<E>);
        let models = models.collect::<Result<Vec<_>, _>>()?;
        E::insert_many(models).exec_without_returning(db).await?;
    }
    Ok(())
}

/// A row as JSON.
fn written<M: ModelTrait>(model: &M) -> Row {
    let columns = <M::Entity as EntityTrait>::Column::iter();
    let members = columns.map(|column| {
        let value = match model.get(column) {
            Value::String(text) => text.into(),
            Value::Bytes(bytes) => bytes.map(|bytes| STANDARD.encode(bytes)).into(),
            Value::BigInt(number) => number.into(),
            Value::Int(number) => number.into(),
            Value::Bool(truth) => truth.into(),
            other => other.to_string().into(),
        };
        (column.as_str().to_owned(), value)
    });
    members.collect()
}

/// A row from JSON: every column, and nothing else.
fn made<E: EntityTrait>(row: &Row) -> Result<E::ActiveModel, DbErr>
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let mut model = <E::ActiveModel as ActiveModelTrait>::default();
    let mut columns = 0;
    for column in E::Column::iter() {
        let value = row
            .get(column.as_str())
            .ok_or_else(|| unlike::<E>(column))?;
        model.try_set(column, read::<E>(column, value)?)?;
        columns += 1;
    }
    if row.len() != columns {
        let problem = format!(
            "a row of {} has {} columns",
            E::default().as_str(),
            row.len()
        );
        return Err(DbErr::Custom(problem));
    }
    Ok(model)
}

fn read<E: EntityTrait>(column: E::Column, value: &serde_json::Value) -> Result<Value, DbErr> {
    use serde_json::Value as Json;
    let definition = column.def();
    Ok(match (definition.get_column_type(), value) {
        (ColumnType::BigInteger, Json::Null) => Value::BigInt(None),
        (ColumnType::BigInteger, Json::Number(number)) => {
            Value::BigInt(Some(number.as_i64().ok_or_else(|| unlike::<E>(column))?))
        }
        (ColumnType::Integer, Json::Null) => Value::Int(None),
        (ColumnType::Integer, Json::Number(number)) => {
            let number = number.as_i64().and_then(|number| number.try_into().ok());
            Value::Int(Some(number.ok_or_else(|| unlike::<E>(column))?))
        }
        (ColumnType::Boolean, Json::Null) => Value::Bool(None),
        (ColumnType::Boolean, Json::Bool(truth)) => Value::Bool(Some(*truth)),
        (ColumnType::Blob | ColumnType::Binary(_) | ColumnType::VarBinary(_), Json::Null) => {
            Value::Bytes(None)
        }
        (
            ColumnType::Blob | ColumnType::Binary(_) | ColumnType::VarBinary(_),
            Json::String(text),
        ) => Value::Bytes(Some(
            STANDARD.decode(text).map_err(|_| unlike::<E>(column))?,
        )),
        (ColumnType::Text | ColumnType::String(_), Json::Null) => Value::String(None),
        (ColumnType::Text | ColumnType::String(_), Json::String(text)) => {
            Value::String(Some(text.clone()))
        }
        _ => return Err(unlike::<E>(column)),
    })
}

fn unlike<E: EntityTrait>(column: E::Column) -> DbErr {
    DbErr::Custom(format!(
        "{}.{} is missing in a row, or of another type",
        E::default().as_str(),
        column.as_str()
    ))
}

fn unknown(table: &str) -> DbErr {
    DbErr::Custom(format!("there is no table '{table}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_a_backup() {
        let modules = include_str!("../../entity/src/lib.rs").lines();
        let mut entities: Vec<_> = modules
            .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
            .collect();
        let mut tables = TABLES.to_vec();
        entities.sort_unstable();
        tables.sort_unstable();
        assert!(!entities.is_empty());
        assert_eq!(tables, entities);
    }

    #[test]
    fn a_row_is_itself_again() {
        let row = signing_key::Model {
            tenant: "default".into(),
            kid: "\u{e9}\"\n".into(),
            algorithm: "EdDSA".into(),
            state: "active".into(),
            sealed: vec![0, 255, 7],
            published_at: i64::MAX,
            activated_at: Some(-1),
            remove_at: None,
        };
        let written = written(&row);
        let read = |row: &Row| {
            let made = made::<signing_key::Entity>(row)?;
            signing_key::Model::try_from(made)
        };
        assert_eq!(read(&written).unwrap(), row);
        for (column, value) in [
            ("published_at", serde_json::json!("1")),
            ("sealed", serde_json::json!("*")),
            ("tenant", serde_json::Value::Null),
            ("unheard_of", serde_json::json!(1)),
        ] {
            let mut other = written.clone();
            other.insert(column.into(), value);
            assert!(read(&other).is_err(), "{column}");
        }
    }
}
