//! The audit trail in the database.

use std::collections::BTreeSet;

use entity::{audit_cursor, audit_event, audit_head};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseConnection, DbBackend, DbErr,
    EntityTrait as _, IntoActiveModel as _, IsolationLevel, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select, Statement, TransactionTrait as _, Value,
    sea_query::{ArrayType, LikeExpr, OnConflict},
};

use super::CHUNK;

/// The head of a chain.
///
/// # Errors
/// When the database does.
pub async fn head(
    db: &impl ConnectionTrait,
    tenant: &str,
    node: &str,
) -> Result<Option<audit_head::Model>, DbErr> {
    let key = (tenant.to_owned(), node.to_owned());
    audit_head::Entity::find_by_id(key).one(db).await
}

/// The last row of a chain: its position and hash.
///
/// # Errors
/// When the database does.
pub async fn last(
    db: &impl ConnectionTrait,
    tenant: &str,
    node: &str,
) -> Result<Option<(i64, Vec<u8>)>, DbErr> {
    rows(tenant, node)
        .select_only()
        .columns([audit_event::Column::Seq, audit_event::Column::Hash])
        .order_by_desc(audit_event::Column::Seq)
        .into_tuple()
        .one(db)
        .await
}

fn rows(tenant: &str, node: &str) -> Select<audit_event::Entity> {
    audit_event::Entity::find()
        .filter(audit_event::Column::Tenant.eq(tenant))
        .filter(audit_event::Column::Node.eq(node))
}

/// Says where chains begin and end now.
///
/// # Errors
/// When the database does.
pub async fn put_heads(
    db: &impl ConnectionTrait,
    heads: Vec<audit_head::Model>,
) -> Result<(), DbErr> {
    for head in heads {
        audit_head::Entity::insert(head.into_active_model())
            .on_conflict(
                OnConflict::columns([audit_head::Column::Tenant, audit_head::Column::Node])
                    .update_columns([
                        audit_head::Column::FirstSeq,
                        audit_head::Column::FirstHash,
                        audit_head::Column::LastSeq,
                        audit_head::Column::LastHash,
                        audit_head::Column::Mac,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Writes rows at the end of their chains.
///
/// # Errors
/// When the database does.
pub async fn append(db: &impl ConnectionTrait, rows: Vec<audit_event::Model>) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    if db.get_database_backend() == DbBackend::Postgres {
        return db.execute_raw(unnest(rows)).await.map(drop);
    }
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        db.execute_raw(values(rows.by_ref().take(CHUNK))).await?;
    }
    Ok(())
}

/// A row's values, in the order of [`COLUMNS`].
fn columns(row: audit_event::Model) -> [Value; 7] {
    [
        row.tenant.into(),
        row.node.into(),
        row.seq.into(),
        row.at.into(),
        row.kind.into(),
        row.event.into(),
        row.hash.into(),
    ]
}

const COLUMNS: &str = "tenant, node, seq, at, kind, event, hash";

/// A parameter for each value. Every token passes here: the statement is written down, not built.
fn values(rows: impl Iterator<Item = audit_event::Model>) -> Statement {
    let mut sql = format!("INSERT INTO audit_event ({COLUMNS}) VALUES ");
    let mut values = Vec::with_capacity(CHUNK * 7);
    for row in rows {
        let separator = if values.is_empty() { "" } else { "," };
        sql.push_str(separator);
        sql.push_str("(?,?,?,?,?,?,?)");
        values.extend(columns(row));
    }
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

/// One array for each column: a twentieth of the database's work for a row at a time.
fn unnest(rows: Vec<audit_event::Model>) -> Statement {
    let sql = format!(
        "INSERT INTO audit_event ({COLUMNS}) SELECT * FROM UNNEST($1::text[], $2::text[], \
         $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bytea[])"
    );
    let mut arrays: [Vec<Value>; 7] = Default::default();
    for row in rows {
        for (array, value) in arrays.iter_mut().zip(columns(row)) {
            array.push(value);
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
    let arrays = kinds.into_iter().zip(arrays);
    let values = arrays.map(|(kind, values)| super::array(kind, values));
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// The nodes that have a chain in this tenant, by name: those with a head and those with rows.
///
/// # Errors
/// When the database does.
pub async fn nodes(db: &impl ConnectionTrait, tenant: &str) -> Result<Vec<String>, DbErr> {
    let mut nodes: BTreeSet<String> = audit_head::Entity::find()
        .filter(audit_head::Column::Tenant.eq(tenant))
        .select_only()
        .column(audit_head::Column::Node)
        .into_tuple()
        .all(db)
        .await?
        .into_iter()
        .collect();
    // One look into the key for each node, instead of one at every row.
    let mut after = String::new();
    loop {
        let next: Option<String> = audit_event::Entity::find()
            .filter(audit_event::Column::Tenant.eq(tenant))
            .filter(audit_event::Column::Node.gt(&after))
            .select_only()
            .column(audit_event::Column::Node)
            .order_by_asc(audit_event::Column::Node)
            .into_tuple()
            .one(db)
            .await?;
        let Some(node) = next else { break };
        nodes.insert(node.clone());
        after = node;
    }
    Ok(nodes.into_iter().collect())
}

/// The chains that a node writes, by tenant, those of ended tenants too.
///
/// # Errors
/// When the database does.
pub async fn heads_of(
    db: &impl ConnectionTrait,
    node: &str,
) -> Result<Vec<audit_head::Model>, DbErr> {
    audit_head::Entity::find()
        .filter(audit_head::Column::Node.eq(node))
        .order_by_asc(audit_head::Column::Tenant)
        .all(db)
        .await
}

/// A part of a chain as it was at one moment.
#[derive(Clone, Debug)]
pub struct Page {
    /// The head.
    pub head: Option<audit_head::Model>,
    /// Rows in order.
    pub rows: Vec<audit_event::Model>,
}

/// At most `limit` rows after a position, with the head of the same moment. Without a position it
/// begins where the chain does.
///
/// # Errors
/// When the database does.
pub async fn page(
    db: &DatabaseConnection,
    tenant: &str,
    node: &str,
    after: Option<i64>,
    limit: u64,
) -> Result<Page, DbErr> {
    // In SQLite a transaction sees one moment anyway.
    let isolation = match db.get_database_backend() {
        DbBackend::Sqlite => None,
        _ => Some(IsolationLevel::RepeatableRead),
    };
    let moment = db.begin_with_config(isolation, None).await?;
    let head = head(&moment, tenant, node).await?;
    let rows = rows(tenant, node)
        .filter(audit_event::Column::Seq.gt(after.unwrap_or(i64::MIN)))
        .order_by_asc(audit_event::Column::Seq)
        .limit(limit)
        .all(&moment)
        .await?;
    moment.commit().await?;
    Ok(Page { head, rows })
}

/// What the database can tell of the rows that are wanted; it may let others through.
#[derive(Clone, Debug, Default)]
pub struct Prefilter {
    /// The kind, or how it begins where the text ends in `*`.
    pub kind: Option<String>,
    /// Texts of which the event holds at least one of each group.
    pub holds: Vec<Vec<String>>,
    /// Not earlier, Unix milliseconds.
    pub since: Option<i64>,
    /// Earlier, Unix milliseconds.
    pub until: Option<i64>,
}

/// Rows of a chain after one position and up to another, as far as the database can tell.
///
/// # Errors
/// When the database does.
pub async fn select(
    db: &impl ConnectionTrait,
    (tenant, node): (&str, &str),
    (after, through): (i64, i64),
    wanted: &Prefilter,
    limit: u64,
) -> Result<Vec<audit_event::Model>, DbErr> {
    let mut query = rows(tenant, node)
        .filter(audit_event::Column::Seq.gt(after))
        .filter(audit_event::Column::Seq.lte(through));
    if let Some(kind) = &wanted.kind {
        query = match kind.strip_suffix('*') {
            Some(start) => query.filter(audit_event::Column::Kind.like(pattern("", start))),
            None => query.filter(audit_event::Column::Kind.eq(kind)),
        };
    }
    for any in &wanted.holds {
        let one = |text: &String| audit_event::Column::Event.like(pattern("%", text));
        query = query.filter(any.iter().map(one).fold(Condition::any(), Condition::add));
    }
    if let Some(since) = wanted.since {
        query = query.filter(audit_event::Column::At.gte(since));
    }
    if let Some(until) = wanted.until {
        query = query.filter(audit_event::Column::At.lt(until));
    }
    query
        .order_by_asc(audit_event::Column::Seq)
        .limit(limit)
        .all(db)
        .await
}

/// A LIKE pattern for this text, whatever characters it has, and anything behind it.
fn pattern(before: &str, text: &str) -> LikeExpr {
    let mut escaped = String::from(before);
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped.push('%');
    LikeExpr::new(escaped).escape('\\')
}

/// When the first row at or behind a position was written, Unix milliseconds.
///
/// # Errors
/// When the database does.
pub async fn written_at(
    db: &impl ConnectionTrait,
    tenant: &str,
    node: &str,
    seq: i64,
) -> Result<Option<i64>, DbErr> {
    rows(tenant, node)
        .filter(audit_event::Column::Seq.gte(seq))
        .select_only()
        .column(audit_event::Column::At)
        .order_by_asc(audit_event::Column::Seq)
        .into_tuple()
        .one(db)
        .await
}

/// Takes away the rows of a chain up to a position.
///
/// # Errors
/// When the database does.
pub async fn cut(
    db: &impl ConnectionTrait,
    tenant: &str,
    node: &str,
    through: i64,
) -> Result<(), DbErr> {
    audit_event::Entity::delete_many()
        .filter(audit_event::Column::Tenant.eq(tenant))
        .filter(audit_event::Column::Node.eq(node))
        .filter(audit_event::Column::Seq.lte(through))
        .exec(db)
        .await
        .map(drop)
}

/// How far a node's chains have been delivered to a sink.
///
/// # Errors
/// When the database does.
pub async fn cursors(
    db: &impl ConnectionTrait,
    sink: &str,
    node: &str,
) -> Result<Vec<audit_cursor::Model>, DbErr> {
    audit_cursor::Entity::find()
        .filter(audit_cursor::Column::Sink.eq(sink))
        .filter(audit_cursor::Column::Node.eq(node))
        .all(db)
        .await
}

/// Says how far chains have been delivered.
///
/// # Errors
/// When the database does.
pub async fn put_cursors(
    db: &impl ConnectionTrait,
    cursors: &[audit_cursor::Model],
) -> Result<(), DbErr> {
    for cursor in cursors {
        audit_cursor::Entity::insert(cursor.clone().into_active_model())
            .on_conflict(
                OnConflict::columns([
                    audit_cursor::Column::Sink,
                    audit_cursor::Column::Tenant,
                    audit_cursor::Column::Node,
                ])
                .update_column(audit_cursor::Column::Seq)
                .to_owned(),
            )
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}
