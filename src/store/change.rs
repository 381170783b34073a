//! Changes of state, and how each is made.
//!
//! No statement here can raise an error for what it finds: a row that is there already, or is
//! not, or belongs to another, is a change that does not hold, and costs its neighbours in the
//! same transaction nothing. That must stay so, because nodes that share a database race.

use std::collections::{BTreeMap, BTreeSet};

use entity::{
    audit_cursor, client, consent, credential, grant, logout as logout_row, pushed_request,
    refresh_token, replay, resource, revoked_token, session, signal, signing_key, stream,
    stream_progress, tenant, user,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbBackend, DbErr,
    EntityTrait, IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _,
    Statement,
    sea_query::{Alias, Expr, ExprTrait as _, LikeExpr, OnConflict, Query},
};

use super::{audit, authorization, forget, logout, people, progress, streams};

/// Ids in one statement, below any parameter limit: others wait while grants end.
pub(super) const MANY_IDS: usize = 10_000;

/// Seconds that clocks of nodes may differ: a name that one of them would still take must not be
/// forgotten by another.
const SKEW: i64 = 60;

/// How the identity of a grant begins that a person gave.
pub const PERSON: &str = "person ";
/// The `origin` of clients whose id is the URL of their metadata.
const DOCUMENT: &str = "document";

/// A kind of name that holds once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// The `jti` of a client assertion (RFC 7523 §3).
    Assertion,
    /// A DPoP proof (RFC 9449 §11.1).
    Proof,
    /// An authorization code (RFC 6749 §4.1.2).
    Code,
    /// A pushed authorization request (RFC 9126 §4).
    PushedRequest,
    /// The challenge of a passkey (WebAuthn level 2 §13.4.3).
    Challenge,
    /// What a browser carried to another provider and back: the `state` (RFC 6749 §10.12).
    Departure,
}

/// Whose grants end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This one.
    Grant(String),
    /// All of a client.
    Client(String),
    /// All that speak for a subject.
    Subject(String),
    /// All for a resource, by its reference.
    Resource(String),
    /// All of the tenant.
    All,
}

impl Whose {
    /// Whether a grant is among them.
    #[must_use]
    pub fn includes(&self, row: &grant::Model) -> bool {
        match self {
            Self::Grant(id) => row.id == *id,
            Self::Client(id) => row.client_id == *id,
            Self::Subject(subject) => row.subject == *subject,
            Self::Resource(reference) => row.resources.split(' ').any(|r| r == reference),
            Self::All => true,
        }
    }

    /// The rows, as far as SQL can tell them apart.
    fn condition(&self) -> Condition {
        let all = Condition::all();
        match self {
            Self::Grant(id) => all.add(grant::Column::Id.eq(id)),
            Self::Client(id) => all.add(grant::Column::ClientId.eq(id)),
            Self::Subject(subject) => all.add(grant::Column::Subject.eq(subject)),
            Self::Resource(reference) => {
                // References are URIs or ids: no spaces, so a space on both sides finds one.
                let escaped = reference
                    .replace('\\', "\\\\")
                    .replace('%', "\\%")
                    .replace('_', "\\_");
                let pattern = LikeExpr::new(format!("%{escaped}%")).escape('\\');
                all.add(grant::Column::Resources.into_expr().like(pattern))
            }
            Self::All => all,
        }
    }
}

/// Grants that ended together, as far as others have to be told.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose.
    pub whose: Whose,
    /// Those which that does not say: each is told by itself. What was derived from a grant ends
    /// with it.
    pub each: Vec<grant::Model>,
    /// References of the resources of all of them.
    pub resources: Vec<String>,
}

/// Whose an access token is.
#[derive(Clone, Debug)]
pub struct Token {
    /// The client that holds it.
    pub client_id: String,
    /// Whom it speaks for.
    pub subject: String,
    /// References of its resources.
    pub resources: Vec<String>,
}

/// One change of state.
#[derive(Clone, Debug)]
pub enum Change {
    /// Creates a tenant or changes its settings.
    PutTenant(tenant::Model),
    /// Ends a tenant and everything that belongs to it; its audit trail stays.
    RemoveTenant(String),
    /// Writes a client.
    PutClient {
        /// The row.
        row: client::Model,
        /// The row that it was made from, which must stand unchanged; none for a new client.
        before: Option<Box<client::Model>>,
    },
    /// Takes a client away, with its grants.
    RemoveClient {
        /// Its tenant.
        tenant: String,
        /// Its identifier.
        client_id: String,
    },
    /// Writes a resource. Its URI stays what it is.
    PutResource {
        /// The row.
        row: resource::Model,
        /// The row that it was made from, which must stand unchanged; none for a new resource.
        before: Option<Box<resource::Model>>,
    },
    /// Takes a resource away, with the grants for it.
    RemoveResource {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
    },
    /// Remembers a grant; the first one of an identity stays.
    PutGrant(grant::Model),
    /// Something of what people authorize.
    Authorization(authorization::Change),
    /// Ends grants, and with them every token that hangs from them or from what was derived.
    EndGrants {
        /// The tenant.
        tenant: String,
        /// Which.
        whose: Whose,
    },
    /// These grants have ended.
    GrantsEnded {
        /// The tenant.
        tenant: String,
        /// Their ids.
        ids: Vec<String>,
        /// What receivers have to be told; nothing when somebody else has seen to that.
        ended: Option<Box<Ended>>,
    },
    /// Ends one access token.
    RevokeToken {
        /// The row.
        row: revoked_token::Model,
        /// Whose it was, if that is known.
        token: Option<Box<Token>>,
    },
    /// Tells receivers. Its place among the signals is given when it is committed.
    Signal(signal::Model),
    /// Writes a stream.
    PutStream {
        /// The row.
        row: stream::Model,
        /// The row that it was made from, which must stand unchanged; none for a new stream.
        before: Option<Box<stream::Model>>,
    },
    /// Takes a stream away.
    RemoveStream {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
    },
    /// Says how far streams have been delivered.
    Progress(Vec<progress::Step>),
    /// Remembers that the receiver of a stream has asked for something.
    StreamActive {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
        /// Unix seconds.
        at: i64,
    },
    /// Has a node push streams that no other one does.
    HoldStreams(progress::Hold),
    /// Writes and removes signing keys of one tenant, all at once.
    Keys {
        /// The tenant.
        tenant: String,
        /// The keys that this was planned from: none of them may have changed since, and no
        /// other have come.
        known: Vec<signing_key::Model>,
        /// New and changed rows.
        put: Vec<signing_key::Model>,
        /// Keys that leave.
        remove: Vec<String>,
    },
    /// Uses a name that holds once; fails when it was used before.
    UseOnce {
        /// The name.
        row: replay::Model,
        /// What it names.
        what: Once,
    },
    /// Changes something about people: accounts, credentials, sessions.
    People(people::Change),
    /// Something about whom to tell of the end of sessions.
    Logout(logout::Change),
    /// Says how far audit chains have been delivered.
    AuditCursors(Vec<audit_cursor::Model>),
    /// Takes away the beginning of an audit chain; what is left begins at the anchor.
    CutAudit {
        /// The tenant, which may have ended.
        tenant: String,
        /// The node, which is the one that commits this.
        node: String,
        /// Where the chain begins until then: position and hash.
        first: (i64, [u8; 32]),
        /// Position and hash of the last row that goes.
        anchor: (i64, [u8; 32]),
    },
    /// Forgets what cannot be presented any more: names, and tokens that have expired.
    ForgetExpired {
        /// Unix seconds.
        before: i64,
    },
    /// Forgets grants that were derived from one which has ended: no token hangs from them that
    /// still holds.
    ForgetOrphanedGrants,
    /// Forgets clients that came by themselves and that nobody uses, some at a time.
    ForgetUnusedClients {
        /// Unix seconds: those that came, or changed, before.
        before: i64,
    },
    /// Forgets signals that nobody needs any more, some at a time.
    ForgetSignals {
        /// Unix seconds.
        before: i64,
    },
    /// Forgets outbox rows that everyone has seen, some at a time.
    ForgetOutbox {
        /// Unix milliseconds.
        before: i64,
    },
}

impl Change {
    /// The tenant it belongs to; none for the housekeeping of all.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::PutTenant(row) => Some(&row.name),
            Self::RemoveTenant(name) => Some(name),
            Self::PutClient { row, .. } => Some(&row.tenant),
            Self::PutResource { row, .. } => Some(&row.tenant),
            Self::PutGrant(row) => Some(&row.tenant),
            Self::Authorization(change) => Some(change.tenant()),
            Self::RevokeToken { row, .. } => Some(&row.tenant),
            Self::Signal(row) => Some(&row.tenant),
            Self::PutStream { row, .. } => Some(&row.tenant),
            Self::UseOnce { row, .. } => Some(&row.tenant),
            Self::RemoveClient { tenant, .. }
            | Self::RemoveResource { tenant, .. }
            | Self::EndGrants { tenant, .. }
            | Self::GrantsEnded { tenant, .. }
            | Self::RemoveStream { tenant, .. }
            | Self::StreamActive { tenant, .. }
            | Self::Keys { tenant, .. } => Some(tenant),
            Self::People(change) => change.tenant(),
            Self::Logout(change) => Some(change.tenant()),
            Self::AuditCursors(_)
            | Self::CutAudit { .. }
            | Self::Progress(_)
            | Self::HoldStreams(_)
            | Self::ForgetExpired { .. }
            | Self::ForgetOrphanedGrants
            | Self::ForgetUnusedClients { .. }
            | Self::ForgetSignals { .. }
            | Self::ForgetOutbox { .. } => None,
        }
    }
}

/// What became of a change.
#[derive(Clone, Debug)]
pub enum Made {
    /// What it expects does not hold, and nothing was changed.
    No,
    /// It was made as asked.
    AsAsked,
    /// This was made in its place.
    Instead(Vec<Change>),
}

impl Made {
    pub(super) fn if_one(rows_affected: u64) -> Self {
        if rows_affected == 1 {
            Self::AsAsked
        } else {
            Self::No
        }
    }
}

/// Makes one change.
///
/// # Errors
/// When the database fails.
pub async fn apply(db: &impl ConnectionTrait, change: &Change) -> Result<Made, DbErr> {
    match change {
        Change::PutTenant(row) => {
            tenant::Entity::insert(row.clone().into_active_model())
                .on_conflict(
                    OnConflict::column(tenant::Column::Name)
                        .update_column(tenant::Column::Registration)
                        .to_owned(),
                )
                .exec_without_returning(db)
                .await?;
            Ok(Made::AsAsked)
        }
        Change::RemoveTenant(name) => remove_tenant(db, name).await,
        Change::PutClient { row, before } => put_client(db, row, before.as_deref()).await,
        Change::RemoveClient { tenant, client_id } => {
            hold_grants(db, tenant, Hold::ToEnd).await?;
            let key = (tenant.clone(), client_id.clone());
            let gone = client::Entity::delete_by_id(key).exec(db).await?;
            if gone.rows_affected != 1 {
                return Ok(Made::No);
            }
            let ended = end_grants(db, tenant, Whose::Client(client_id.clone())).await?;
            authorization::end_consents(db, tenant, client_id).await?;
            let streams = streams::remove_all(db, tenant, client_id).await?;
            let made = [change.clone(), ended].into_iter().chain(streams);
            Ok(Made::Instead(made.collect()))
        }
        Change::PutResource { row, before } => put_resource(db, row, before.as_deref()).await,
        Change::RemoveResource { tenant, id } => {
            hold_grants(db, tenant, Hold::ToEnd).await?;
            let key = (tenant.clone(), id.clone());
            let Some(row) = resource::Entity::find_by_id(key.clone()).one(db).await? else {
                return Ok(Made::No);
            };
            resource::Entity::delete_by_id(key).exec(db).await?;
            let ended = end_grants(db, tenant, Whose::Resource(row.normalised)).await?;
            Ok(Made::Instead(vec![change.clone(), ended]))
        }
        Change::PutGrant(row) => put_grant(db, row).await,
        Change::Authorization(change) => authorization::apply(db, change).await,
        Change::EndGrants { tenant, whose } => {
            let ended = end_grants(db, tenant, whose.clone()).await?;
            Ok(Made::Instead(vec![ended]))
        }
        Change::GrantsEnded { tenant, ids, .. } => {
            for ids in ids.chunks(MANY_IDS) {
                grant::Entity::delete_many()
                    .filter(grant::Column::Tenant.eq(tenant))
                    .filter(grant::Column::Id.is_in(ids))
                    .exec(db)
                    .await?;
                authorization::end_lines(db, tenant, ids).await?;
            }
            Ok(Made::AsAsked)
        }
        Change::RevokeToken { row, .. } => {
            insert_or_ignore(db, row.clone().into_active_model()).await?;
            Ok(Made::AsAsked)
        }
        // Written with its place, by whoever commits: see `signals::append`.
        Change::Signal(_) => Ok(Made::AsAsked),
        Change::PutStream { row, before } => streams::put(db, row, before.as_deref()).await,
        Change::RemoveStream { tenant, id } => streams::remove(db, tenant, id).await,
        Change::Progress(steps) => {
            progress::advance(db, steps).await?;
            Ok(Made::AsAsked)
        }
        Change::StreamActive { tenant, id, at } => {
            progress::active(db, tenant, id, *at).await?;
            Ok(Made::AsAsked)
        }
        Change::HoldStreams(hold) => {
            progress::hold(db, hold).await?;
            Ok(Made::AsAsked)
        }
        Change::Keys {
            tenant,
            known,
            put,
            remove,
        } => {
            if !stand(db, tenant, known).await? {
                return Ok(Made::No);
            }
            for kid in remove.iter().chain(put.iter().map(|row| &row.kid)) {
                let key = (tenant.clone(), kid.clone());
                signing_key::Entity::delete_by_id(key).exec(db).await?;
            }
            for row in put {
                insert_or_ignore(db, row.clone().into_active_model()).await?;
            }
            Ok(Made::AsAsked)
        }
        Change::UseOnce { row, .. } => {
            let written = insert_or_ignore(db, row.clone().into_active_model()).await?;
            Ok(Made::if_one(written))
        }
        Change::People(change) => people::apply(db, change).await,
        Change::Logout(change) => logout::apply(db, change).await,
        Change::AuditCursors(cursors) => {
            audit::put_cursors(db, cursors).await?;
            Ok(Made::AsAsked)
        }
        Change::CutAudit {
            tenant,
            node,
            anchor,
            ..
        } => {
            audit::cut(db, tenant, node, anchor.0).await?;
            Ok(Made::AsAsked)
        }
        Change::ForgetExpired { before } => {
            replay::Entity::delete_many()
                .filter(replay::Column::ExpiresAt.lt(*before - SKEW))
                .exec(db)
                .await?;
            revoked_token::Entity::delete_many()
                .filter(revoked_token::Column::ExpiresAt.lt(*before))
                .exec(db)
                .await?;
            let mut made = vec![change.clone()];
            for over in authorization::forget(db, *before).await? {
                Box::pin(apply(db, &over)).await?;
                made.push(over);
            }
            Ok(Made::Instead(made))
        }
        Change::ForgetOrphanedGrants => forget_orphaned_grants(db).await.map(Made::Instead),
        Change::ForgetUnusedClients { before } => {
            forget_unused_clients(db, *before).await.map(Made::Instead)
        }
        Change::ForgetSignals { before } => {
            forget::signals(db, *before).await?;
            Ok(Made::AsAsked)
        }
        Change::ForgetOutbox { before } => {
            forget::outbox(db, *before).await?;
            Ok(Made::AsAsked)
        }
    }
}

/// Writes a row unless one with a key of its own is there; says how many were written.
pub(super) async fn insert_or_ignore<A>(db: &impl ConnectionTrait, row: A) -> Result<u64, DbErr>
where
    A: sea_orm::ActiveModelTrait,
{
    <A::Entity as EntityTrait>::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(db)
        .await
}

/// Changes the row with this primary key, in all columns that are set.
pub(super) async fn update<A>(
    db: &impl ConnectionTrait,
    row: A,
    filter: Condition,
) -> Result<u64, DbErr>
where
    A: sea_orm::ActiveModelTrait,
{
    let changed = <A::Entity as EntityTrait>::update_many()
        .set(row)
        .filter(filter)
        .exec(db)
        .await?;
    Ok(changed.rows_affected)
}

/// The tenant's own row goes first: whoever is about to add something to it holds that.
async fn remove_tenant(db: &impl ConnectionTrait, name: &str) -> Result<Made, DbErr> {
    let gone = tenant::Entity::delete_by_id(name).exec(db).await?;
    macro_rules! empty {
        ($($table:ident),*) => {$(
            $table::Entity::delete_many()
                .filter($table::Column::Tenant.eq(name))
                .exec(db)
                .await?;
        )*};
    }
    empty!(
        client,
        consent,
        resource,
        grant,
        pushed_request,
        refresh_token,
        replay,
        revoked_token,
        signing_key,
        signal,
        stream,
        stream_progress,
        user,
        credential,
        session,
        logout_row
    );
    Ok(Made::if_one(gone.rows_affected))
}

async fn put_client(
    db: &impl ConnectionTrait,
    row: &client::Model,
    before: Option<&client::Model>,
) -> Result<Made, DbErr> {
    use client::Column;
    let model = row.clone().into_active_model();
    let written = match before {
        None if row.origin == DOCUMENT => return put_document_client(db, row).await,
        None => insert_or_ignore(db, model).await?,
        // Another node may have disabled it, or given it another secret, meanwhile.
        Some(before) => {
            let unchanged = Condition::all()
                .add(Column::Tenant.eq(&row.tenant))
                .add(Column::ClientId.eq(&row.client_id))
                .add(is(Column::SecretDigest, before.secret_digest.as_deref()))
                .add(Column::SecretExpiresAt.eq(before.secret_expires_at))
                .add(is(
                    Column::RegistrationDigest,
                    before.registration_digest.as_deref(),
                ))
                .add(Column::Document.eq(&before.document))
                .add(Column::Disabled.eq(before.disabled))
                .add(Column::CreatedAt.eq(before.created_at));
            update(db, model.reset_all(), unchanged).await?
        }
    };
    Ok(Made::if_one(written))
}

/// Two people may be the first to allow a client something: both have, unless it is disabled.
async fn put_document_client(
    db: &impl ConnectionTrait,
    row: &client::Model,
) -> Result<Made, DbErr> {
    if insert_or_ignore(db, row.clone().into_active_model()).await? == 1 {
        return Ok(Made::AsAsked);
    }
    let key = (row.tenant.clone(), row.client_id.clone());
    let first = client::Entity::find_by_id(key).one(db).await?;
    Ok(match first.filter(|first| !first.disabled) {
        Some(row) => Made::Instead(vec![Change::PutClient { row, before: None }]),
        None => Made::No,
    })
}

/// `column = value`, where nothing equals nothing.
fn is(column: client::Column, value: Option<&[u8]>) -> Condition {
    Condition::all().add(match value {
        Some(value) => column.eq(value),
        None => column.is_null(),
    })
}

async fn put_resource(
    db: &impl ConnectionTrait,
    row: &resource::Model,
    before: Option<&resource::Model>,
) -> Result<Made, DbErr> {
    use resource::Column;
    let model = row.clone().into_active_model();
    let written = match before {
        // Another resource may hold this URI already: that index is minded too.
        None => insert_or_ignore(db, model).await?,
        Some(before) => {
            let unchanged = Condition::all()
                .add(Column::Tenant.eq(&row.tenant))
                .add(Column::Id.eq(&row.id))
                .add(Column::Normalised.eq(&row.normalised))
                .add(Column::Document.eq(&before.document))
                .add(Column::CreatedAt.eq(before.created_at));
            update(db, model.reset_all(), unchanged).await?
        }
    };
    Ok(Made::if_one(written))
}

/// Whoever comes second uses the first one's grant.
pub(super) async fn put_grant(
    db: &impl ConnectionTrait,
    row: &grant::Model,
) -> Result<Made, DbErr> {
    hold_grants(db, &row.tenant, Hold::ToMake).await?;
    let holder = (row.tenant.clone(), row.client_id.clone());
    let holder = client::Entity::find_by_id(holder).one(db).await?;
    if holder.is_none_or(|client| client.disabled) || !are_there(db, row).await? {
        return Ok(Made::No);
    }
    let of_person = row.identity.starts_with(PERSON);
    if of_person && !people::may_sign_in(db, &row.tenant, &row.subject).await? {
        return Ok(Made::No);
    }
    if insert_or_ignore(db, row.clone().into_active_model()).await? == 1 {
        return Ok(Made::AsAsked);
    }
    let first = grant::Entity::find()
        .filter(grant::Column::Tenant.eq(&row.tenant))
        .filter(grant::Column::Identity.eq(&row.identity))
        .one(db)
        .await?;
    Ok(first.map_or(Made::No, |first| {
        Made::Instead(vec![Change::PutGrant(first)])
    }))
}

/// Whether the resources of a grant exist: one may have been removed since this was decided. The
/// admin API is in no table.
async fn are_there(db: &impl ConnectionTrait, row: &grant::Model) -> Result<bool, DbErr> {
    let named = row.resources.split(' ').filter(|r| r.contains(':'));
    let named: BTreeSet<&str> = named.collect();
    if named.is_empty() {
        return Ok(true);
    }
    let found = resource::Entity::find()
        .filter(resource::Column::Tenant.eq(&row.tenant))
        .filter(resource::Column::Normalised.is_in(named.iter().copied()))
        .count(db)
        .await?;
    Ok(found == named.len() as u64)
}

/// What a transaction is about to do with a tenant's grants.
pub(super) enum Hold {
    /// Make one: others may too.
    ToMake,
    /// End some: all that are made so far, and none meanwhile.
    ToEnd,
}

/// Until the transaction ends, no other node ends grants while one is made, nor makes one while
/// they are ended: one that was answered before would outlive them.
pub(super) async fn hold_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    hold: Hold,
) -> Result<(), DbErr> {
    let function = match hold {
        Hold::ToMake => "pg_advisory_xact_lock_shared",
        Hold::ToEnd => "pg_advisory_xact_lock",
    };
    lock(db, &format!("writ grants {tenant}"), function).await
}

/// Whether a tenant's keys are these, in these states, and stay so until the transaction ends:
/// another node may have rotated them.
async fn stand(
    db: &impl ConnectionTrait,
    tenant: &str,
    known: &[signing_key::Model],
) -> Result<bool, DbErr> {
    lock(db, &format!("writ keys {tenant}"), "pg_advisory_xact_lock").await?;
    let stored = signing_key::Entity::find()
        .filter(signing_key::Column::Tenant.eq(tenant))
        .all(db)
        .await?;
    let states = |rows: &[signing_key::Model]| -> BTreeMap<String, String> {
        let state = |row: &signing_key::Model| (row.kid.clone(), row.state.clone());
        rows.iter().map(state).collect()
    };
    Ok(states(&stored) == states(known))
}

/// Holds a lock of PostgreSQL until the transaction ends. SQLite has one writer anyway.
pub(super) async fn lock(
    db: &impl ConnectionTrait,
    name: &str,
    function: &str,
) -> Result<(), DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let sql = format!("SELECT {function}(hashtextextended($1, 0))");
    let lock = Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into()]);
    db.execute_raw(lock).await.map(drop)
}

pub(super) async fn end_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    whose: Whose,
) -> Result<Change, DbErr> {
    hold_grants(db, tenant, Hold::ToEnd).await?;
    let rows = find_grants(db, tenant, &whose).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let derived = derived_from(db, tenant, &ids).await?;
    let change = Change::GrantsEnded {
        tenant: tenant.to_owned(),
        ids,
        ended: Some(Box::new(Ended::new(whose, rows, derived))),
    };
    Box::pin(apply(db, &change)).await?;
    Ok(change)
}

impl Ended {
    fn new(whose: Whose, rows: Vec<grant::Model>, derived: Vec<grant::Model>) -> Self {
        let all = rows.iter().chain(&derived);
        let resources = all.flat_map(|row| row.resources.split(' '));
        let resources: BTreeSet<String> = resources.map(str::to_owned).collect();
        let each = match &whose {
            Whose::Grant(_) => rows.into_iter().chain(derived).collect(),
            // It ends with the tenant, or is among them already.
            Whose::All => Vec::new(),
            whose => {
                let others = derived.into_iter().filter(|row| !whose.includes(row));
                others.collect()
            }
        };
        Self {
            whose,
            each,
            resources: resources.into_iter().collect(),
        }
    }
}

/// Grants that were derived from these, and from those, which are not among them.
async fn derived_from(
    db: &impl ConnectionTrait,
    tenant: &str,
    ids: &[String],
) -> Result<Vec<grant::Model>, DbErr> {
    let mut seen: BTreeSet<String> = ids.iter().cloned().collect();
    let (mut derived, mut parents) = (Vec::new(), ids.to_vec());
    while !parents.is_empty() {
        let mut children = Vec::new();
        for parents in parents.chunks(MANY_IDS) {
            let query = grant::Entity::find()
                .filter(grant::Column::Tenant.eq(tenant))
                .filter(grant::Column::Parent.is_in(parents));
            children.extend(query.all(db).await?);
        }
        children.retain(|row| seen.insert(row.id.clone()));
        parents = children.iter().map(|row| row.id.clone()).collect();
        derived.extend(children);
    }
    Ok(derived)
}

/// Level by level: what hung from an orphan is one now.
async fn forget_orphaned_grants(db: &impl ConnectionTrait) -> Result<Vec<Change>, DbErr> {
    let parent = Alias::new("parent_grant");
    let its_parent = Query::select()
        .expr(Expr::val(1))
        .from_as(grant::Entity, parent.clone())
        .and_where(
            Expr::col((parent.clone(), grant::Column::Tenant))
                .equals((grant::Entity, grant::Column::Tenant)),
        )
        .and_where(
            Expr::col((parent, grant::Column::Id)).equals((grant::Entity, grant::Column::Parent)),
        )
        .take();
    let orphans = grant::Entity::find()
        .filter(grant::Column::Parent.is_not_null())
        .filter(Expr::exists(its_parent).not());
    let mut changes = Vec::new();
    loop {
        let gone = over(orphans.clone().all(db).await?);
        if gone.is_empty() {
            return Ok(changes);
        }
        for change in gone {
            Box::pin(apply(db, &change)).await?;
            changes.push(change);
        }
    }
}

/// Of one tenant: while it is done, none of its grants can be made. No receiver of events is told,
/// because nothing ends that anybody holds.
async fn forget_unused_clients(
    db: &impl ConnectionTrait,
    before: i64,
) -> Result<Vec<Change>, DbErr> {
    let oldest = forget::unused_clients(before).one(db).await?;
    let Some(client::Model { tenant, .. }) = oldest else {
        return Ok(Vec::new());
    };
    hold_grants(db, &tenant, Hold::ToEnd).await?;
    // Looked for again: one of them may have been used until then.
    let unused = forget::unused_clients(before)
        .filter(client::Column::Tenant.eq(&tenant))
        .limit(forget::AT_ONCE)
        .all(db)
        .await?;
    let ids: Vec<String> = unused.into_iter().map(|row| row.client_id).collect();
    client::Entity::delete_many()
        .filter(client::Column::Tenant.eq(&tenant))
        .filter(client::Column::ClientId.is_in(&ids))
        .exec(db)
        .await?;
    let removed = ids.into_iter().map(|client_id| Change::RemoveClient {
        tenant: tenant.clone(),
        client_id,
    });
    Ok(removed.collect())
}

/// The end of grants of which nobody has to be told: no token hangs from them that still holds.
pub(super) fn over(rows: Vec<grant::Model>) -> Vec<Change> {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        ids.entry(row.tenant).or_default().push(row.id);
    }
    let ended = |(tenant, ids)| Change::GrantsEnded {
        tenant,
        ids,
        ended: None,
    };
    ids.into_iter().map(ended).collect()
}

/// These grants.
///
/// # Errors
/// When the database does.
pub async fn find_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    whose: &Whose,
) -> Result<Vec<grant::Model>, DbErr> {
    let mut found = grant::Entity::find()
        .filter(grant::Column::Tenant.eq(tenant))
        .filter(whose.condition())
        .all(db)
        .await?;
    found.retain(|row| whose.includes(row));
    Ok(found)
}

/// Whether a tenant exists, and will until this transaction ends.
///
/// # Errors
/// When the database does.
pub async fn holds_tenant(db: &impl ConnectionTrait, name: &str) -> Result<bool, DbErr> {
    let row = tenant::Entity::find_by_id(name).lock_shared().one(db);
    Ok(row.await?.is_some())
}
