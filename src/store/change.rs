//! Changes of state, and how each is made.
//!
//! No statement here can raise an error for what it finds: a row that is there already, or is
//! not, or belongs to another, is a change that does not hold, and costs its neighbours in the
//! same transaction nothing. That must stay so, because nodes that share a database race.

use std::collections::BTreeMap;

use entity::{
    audit_cursor, client, consent, credential, grant, logout as logout_row, pushed_request,
    refresh_token, replay, resource, revoked_token, session, signal, signing_key, stream,
    stream_progress, tenant, user,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbBackend, DbErr,
    EntityTrait, IntoActiveModel as _, QueryFilter as _, QuerySelect as _, Statement,
    sea_query::OnConflict,
};

use super::{
    audit, authorization, forget,
    grants::{
        Ended, Hold, MANY_IDS, Whose, end_grants, forget_orphaned_grants, hold_grants, put_grant,
    },
    logout, people, progress, streams,
};

/// Seconds that clocks of nodes may differ: a name that one of them would still take must not be
/// forgotten by another.
const SKEW: i64 = 60;

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
    /// What was decided before anybody had signed in.
    Decision,
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

/// Whether a tenant exists, and will until this transaction ends.
///
/// # Errors
/// When the database does.
pub async fn holds_tenant(db: &impl ConnectionTrait, name: &str) -> Result<bool, DbErr> {
    let row = tenant::Entity::find_by_id(name).lock_shared().one(db);
    Ok(row.await?.is_some())
}
