//! What other nodes hear: the outbox, and how far each node has come.
//!
//! An outbox row says what changed, not how: whoever hears it reads the row itself, so it never
//! matters in which order nodes hear of each other's changes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use entity::{client, grant, node, outbox, resource, revoked_token, signal, signing_key, stream};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
    sea_query::{Expr, OnConflict},
};

use super::{CHUNK, Change};

/// Rows of one command from which on others are told to read everything of that kind.
const MANY: usize = 1000;

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tenant,
    /// Everything the tenant had is gone; there may be another one of its name.
    TenantEnded,
    Keys,
    Resource,
    Client,
    Grant,
    /// More grants than are worth a row each.
    Grants,
    RevokedToken,
    Stream,
    Signal,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Tenant,
        Self::TenantEnded,
        Self::Keys,
        Self::Resource,
        Self::Client,
        Self::Grant,
        Self::Grants,
        Self::RevokedToken,
        Self::Stream,
        Self::Signal,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::TenantEnded => "tenant.ended",
            Self::Keys => "keys",
            Self::Resource => "resource",
            Self::Client => "client",
            Self::Grant => "grant",
            Self::Grants => "grants",
            Self::RevokedToken => "token.revoked",
            Self::Stream => "stream",
            Self::Signal => "signal",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What others hear of a change: kind and subject, in one tenant.
fn news(change: &Change) -> Vec<(Kind, Cow<'_, str>)> {
    let one = |kind, subject| vec![(kind, Cow::Borrowed(subject))];
    match change {
        Change::PutTenant(row) => one(Kind::Tenant, row.name.as_str()),
        Change::RemoveTenant(name) => one(Kind::TenantEnded, name),
        Change::PutClient { row, .. } => one(Kind::Client, &row.client_id),
        Change::RemoveClient { client_id, .. } => one(Kind::Client, client_id),
        Change::PutResource { row, .. } => one(Kind::Resource, &row.id),
        Change::RemoveResource { id, .. } => one(Kind::Resource, id),
        Change::PutGrant(row) => one(Kind::Grant, &row.id),
        Change::GrantsEnded { ids, .. } if ids.len() > MANY => one(Kind::Grants, ""),
        Change::GrantsEnded { ids, .. } => {
            let ids = ids
                .iter()
                .map(|id| (Kind::Grant, Cow::Borrowed(id.as_str())));
            ids.collect()
        }
        Change::RevokeToken { row, .. } => one(Kind::RevokedToken, &row.jti),
        Change::PutStream { row, .. } => one(Kind::Stream, &row.id),
        Change::RemoveStream { id, .. } => one(Kind::Stream, id),
        Change::Signal(row) => vec![(Kind::Signal, row.seq.to_string().into())],
        Change::Keys { .. } => one(Kind::Keys, ""),
        // Names that hold once are looked up where they are, and the rest is nobody's news.
        Change::EndGrants { .. }
        | Change::Authorization(_)
        | Change::UseOnce { .. }
        | Change::People(_)
        | Change::Logout(_)
        | Change::AuditCursors(_)
        | Change::CutAudit { .. }
        | Change::ForgetExpired { .. }
        | Change::ForgetOrphanedGrants
        | Change::ForgetUnusedClients { .. }
        | Change::ForgetSignals { .. }
        | Change::Progress(_)
        | Change::StreamActive { .. }
        | Change::HoldStreams(_)
        | Change::ForgetOutbox { .. } => Vec::new(),
    }
}

/// The rows that tell others of changes made on `node`, following position `seq`, which moves on.
pub fn rows(changes: &[Change], node: &str, seq: &mut i64, at: i64) -> Vec<outbox::Model> {
    let mut rows = Vec::new();
    for change in changes {
        for (kind, subject) in news(change) {
            *seq += 1;
            rows.push(outbox::Model {
                node: node.to_owned(),
                seq: *seq,
                tenant: change.tenant().unwrap_or_default().to_owned(),
                kind: kind.as_str().to_owned(),
                subject: subject.into_owned(),
                at,
            });
        }
    }
    rows
}

/// Writes rows, moves the node's position onto the last, and rings for the other nodes.
///
/// # Errors
/// When the database does.
pub async fn append(db: &impl ConnectionTrait, rows: Vec<outbox::Model>) -> Result<(), DbErr> {
    let Some(last) = rows.last() else {
        return Ok(());
    };
    let position = node::Model {
        name: last.node.clone(),
        seq: last.seq,
    };
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk = rows.by_ref().take(CHUNK);
        outbox::Entity::insert_many(chunk.map(outbox::Model::into_active_model))
            .exec_without_returning(db)
            .await?;
    }
    let name = position.name.clone();
    node::Entity::insert(position.into_active_model())
        .on_conflict(
            OnConflict::column(node::Column::Name)
                .update_column(node::Column::Seq)
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    if db.get_database_backend() == DbBackend::Postgres {
        // Rung when this commits. Who misses it finds the position a second later.
        let ring = "SELECT pg_notify($1, $2)";
        let values = [DOORBELL.into(), name.into()];
        let ring = Statement::from_sql_and_values(DbBackend::Postgres, ring, values);
        db.execute_raw(ring).await?;
    }
    Ok(())
}

/// The channel that a node rings after it has committed news.
pub const DOORBELL: &str = "writ_outbox";

/// How far every node has come.
///
/// # Errors
/// When the database does.
pub async fn positions(db: &impl ConnectionTrait) -> Result<Vec<node::Model>, DbErr> {
    node::Entity::find().all(db).await
}

/// Sees to it that a node has a position, and says which. It is written, so that a commit of this
/// node that is still under way somewhere is waited for and counts.
///
/// # Errors
/// When the database does, or does not take it.
pub async fn position(db: &impl ConnectionTrait, node: &str) -> Result<i64, DbErr> {
    let first = node::Model {
        name: node.to_owned(),
        seq: 0,
    };
    let (table, seq) = (node::Entity, node::Column::Seq);
    let stays = Expr::col((table, seq));
    let row = node::Entity::insert(first.into_active_model())
        .on_conflict(
            OnConflict::column(node::Column::Name)
                .value(seq, stays)
                .to_owned(),
        )
        .exec_with_returning(db)
        .await?;
    Ok(row.seq)
}

/// A node's rows after a position, oldest first.
///
/// # Errors
/// When the database does.
pub async fn after(
    db: &impl ConnectionTrait,
    node: &str,
    seq: i64,
) -> Result<Vec<outbox::Model>, DbErr> {
    outbox::Entity::find()
        .filter(outbox::Column::Node.eq(node))
        .filter(outbox::Column::Seq.gt(seq))
        .order_by_asc(outbox::Column::Seq)
        .limit(1000)
        .all(db)
        .await
}

/// What has to be done in memory after news.
#[derive(Debug)]
pub enum Heard {
    /// These changes were made by others.
    Changes(Vec<Change>),
    /// A tenant came or changed; it is read whole, because what others have added to it may have
    /// been heard before it was.
    Tenant(String),
    /// A tenant ended; what there is under its name is read anew.
    TenantEnded(String),
    /// These are a tenant's keys now.
    Keys(String, Vec<signing_key::Model>),
    /// So many grants ended that the whole list is read: these stand.
    Grants(String, Vec<grant::Model>),
    /// Receivers are told this.
    Signals {
        /// What is stored of it.
        rows: Vec<signal::Model>,
        /// The places of what is not stored any more.
        gone: Vec<i64>,
    },
}

/// Reads what the news are about, in an order in which it can be applied.
///
/// # Errors
/// When the database does.
pub async fn hear(db: &impl ConnectionTrait, rows: &[outbox::Model]) -> Result<Vec<Heard>, DbErr> {
    let mut by_tenant: BTreeMap<&str, BTreeMap<Kind, BTreeSet<&str>>> = BTreeMap::new();
    for row in rows {
        match Kind::parse(&row.kind) {
            Some(kind) => {
                let kinds = by_tenant.entry(&row.tenant).or_default();
                kinds.entry(kind).or_default().insert(&row.subject);
            }
            None => tracing::warn!(kind = row.kind, node = row.node, "news of an unknown kind"),
        }
    }
    let (mut heard, mut places) = (Vec::new(), BTreeSet::new());
    for (tenant, mut kinds) in by_tenant {
        // They have places among those of all tenants, also when theirs has ended.
        let told = kinds.remove(&Kind::Signal).into_iter().flatten();
        places.extend(told.filter_map(|seq| seq.parse::<i64>().ok()));
        if kinds.contains_key(&Kind::TenantEnded) {
            heard.push(Heard::TenantEnded(tenant.to_owned()));
            continue;
        }
        for (kind, subjects) in kinds {
            let subjects: Vec<&str> = subjects.into_iter().collect();
            heard.push(read(db, tenant, kind, &subjects).await?);
        }
    }
    if !places.is_empty() {
        // Last: whoever is told of an end finds that it has come.
        heard.push(signals(db, places).await?);
    }
    Ok(heard)
}

async fn signals(db: &impl ConnectionTrait, mut gone: BTreeSet<i64>) -> Result<Heard, DbErr> {
    let places: Vec<i64> = gone.iter().copied().collect();
    let mut rows = Vec::new();
    for places in places.chunks(CHUNK) {
        let places = signal::Column::Seq.is_in(places.iter().copied());
        rows.extend(signal::Entity::find().filter(places).all(db).await?);
    }
    for row in &rows {
        gone.remove(&row.seq);
    }
    Ok(Heard::Signals {
        rows,
        gone: gone.into_iter().collect(),
    })
}

async fn read(
    db: &impl ConnectionTrait,
    tenant: &str,
    kind: Kind,
    subjects: &[&str],
) -> Result<Heard, DbErr> {
    /// The rows of a table with these keys.
    macro_rules! rows {
        ($table:ident, $key:ident) => {{
            let mut rows = Vec::new();
            for subjects in subjects.chunks(CHUNK) {
                let query = $table::Entity::find()
                    .filter($table::Column::Tenant.eq(tenant))
                    .filter($table::Column::$key.is_in(subjects.iter().copied()));
                rows.extend(query.all(db).await?);
            }
            rows
        }};
    }
    let tenant_name = || tenant.to_owned();
    let gone = |known: BTreeSet<&str>| -> Vec<String> {
        let gone = subjects.iter().filter(|subject| !known.contains(**subject));
        gone.map(|subject| (*subject).to_owned()).collect()
    };
    let changes = match kind {
        Kind::Tenant => return Ok(Heard::Tenant(tenant_name())),
        // Heard by themselves.
        Kind::TenantEnded | Kind::Signal => Vec::new(),
        Kind::Keys => {
            let query = signing_key::Entity::find();
            let query = query.filter(signing_key::Column::Tenant.eq(tenant));
            let put = query.all(db).await?;
            return Ok(Heard::Keys(tenant_name(), put));
        }
        Kind::Resource => {
            let rows = rows!(resource, Id);
            let gone = gone(rows.iter().map(|row| row.id.as_str()).collect());
            let removed = gone.into_iter().map(|id| Change::RemoveResource {
                tenant: tenant_name(),
                id,
            });
            let put = rows
                .into_iter()
                .map(|row| Change::PutResource { row, before: None });
            removed.chain(put).collect()
        }
        Kind::Client => {
            let rows = rows!(client, ClientId);
            let gone = gone(rows.iter().map(|row| row.client_id.as_str()).collect());
            let removed = gone.into_iter().map(|client_id| Change::RemoveClient {
                tenant: tenant_name(),
                client_id,
            });
            let put = rows
                .into_iter()
                .map(|row| Change::PutClient { row, before: None });
            removed.chain(put).collect()
        }
        Kind::Grant => {
            let rows = rows!(grant, Id);
            let ids = gone(rows.iter().map(|row| row.id.as_str()).collect());
            let ended = Change::GrantsEnded {
                tenant: tenant_name(),
                ids,
                ended: None,
            };
            let made = rows.into_iter().map(Change::PutGrant);
            std::iter::once(ended).chain(made).collect()
        }
        Kind::Grants => {
            let query = grant::Entity::find().filter(grant::Column::Tenant.eq(tenant));
            return Ok(Heard::Grants(tenant_name(), query.all(db).await?));
        }
        Kind::RevokedToken => {
            let rows = rows!(revoked_token, Jti);
            let revoked = |row| Change::RevokeToken { row, token: None };
            rows.into_iter().map(revoked).collect()
        }
        Kind::Stream => {
            let rows = rows!(stream, Id);
            let gone = gone(rows.iter().map(|row| row.id.as_str()).collect());
            let removed = gone.into_iter().map(|id| Change::RemoveStream {
                tenant: tenant_name(),
                id,
            });
            let put = rows
                .into_iter()
                .map(|row| Change::PutStream { row, before: None });
            removed.chain(put).collect()
        }
    };
    Ok(Heard::Changes(changes))
}
