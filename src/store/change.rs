//! Changes of state, and how each is made.
//!
//! No statement here can raise an error for what it finds: a row that is there already, or is
//! not, or belongs to another, is a change that does not hold, and costs its neighbours in the
//! same transaction nothing. That must stay so, because nodes that share a database race.

use entity::{
    audit_cursor, client, grant, replay, resource, revoked_token, signal, signing_key, stream,
    tenant,
};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait,
    IntoActiveModel as _, QueryFilter as _, Statement, sea_query::OnConflict,
};

use super::{
    audit, authorization, declared, forget,
    grants::{self, Ended, Whose},
    logout, people, progress, streams,
};

/// Seconds that clocks of nodes may differ: a name that one of them would still take must not be
/// forgotten by another.
const SKEW: i64 = 60;

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
    /// Uses up what has this SHA-256, which is of no use after `expires_at` (Unix seconds) anyway.
    #[must_use]
    pub fn use_once(tenant: &str, digest: impl Into<Vec<u8>>, expires_at: i64, what: Once) -> Self {
        let row = replay::Model {
            tenant: tenant.to_owned(),
            digest: digest.into(),
            expires_at,
        };
        Self::UseOnce { row, what }
    }

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
        Change::PutTenant(row) => declared::put_tenant(db, row).await,
        Change::RemoveTenant(name) => declared::remove_tenant(db, name).await,
        Change::PutClient { row, before } => declared::put_client(db, row, before.as_deref()).await,
        Change::RemoveClient { tenant, client_id } => {
            declared::remove_client(db, tenant, client_id).await
        }
        Change::PutResource { row, before } => {
            declared::put_resource(db, row, before.as_deref()).await
        }
        Change::RemoveResource { tenant, id } => declared::remove_resource(db, tenant, id).await,
        Change::PutGrant(row) => grants::put_grant(db, row).await,
        Change::Authorization(change) => authorization::apply(db, change).await,
        Change::EndGrants { tenant, whose } => {
            let ended = grants::end_grants(db, tenant, whose.clone()).await?;
            Ok(Made::Instead(vec![ended]))
        }
        Change::GrantsEnded { tenant, ids, .. } => {
            grants::remove_grants(db, tenant, ids).await?;
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
        } => declared::put_keys(db, tenant, known, put, remove).await,
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
        Change::ForgetExpired { before } => forget_expired(db, *before).await,
        Change::ForgetOrphanedGrants => grants::forget_orphaned_grants(db).await.map(Made::Instead),
        Change::ForgetUnusedClients { before } => {
            let gone = declared::forget_unused_clients(db, *before).await?;
            Ok(Made::Instead(gone))
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

/// Says which grants have ended by themselves.
async fn forget_expired(db: &impl ConnectionTrait, before: i64) -> Result<Made, DbErr> {
    replay::Entity::delete_many()
        .filter(replay::Column::ExpiresAt.lt(before - SKEW))
        .exec(db)
        .await?;
    revoked_token::Entity::delete_many()
        .filter(revoked_token::Column::ExpiresAt.lt(before))
        .exec(db)
        .await?;
    let mut made = vec![Change::ForgetExpired { before }];
    for over in authorization::forget(db, before).await? {
        Box::pin(apply(db, &over)).await?;
        made.push(over);
    }
    Ok(Made::Instead(made))
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
