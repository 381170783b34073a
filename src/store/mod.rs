//! The only place with SQL: plain functions over a connection.
//!
//! Writing is done by [`apply`] and [`audit::append`], and only the journal calls them.

pub mod audit;

use std::{path::Path, time::Duration};

use entity::{audit_cursor, client, grant, outbox, replay, resource, signing_key, tenant};
use migration::MigratorTrait as _;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectOptions, ConnectionTrait, Database,
    DatabaseConnection, DbErr, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    sea_query::OnConflict,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};

/// What must hold of the row a change replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none yet.
    Absent,
    /// There is one.
    Present,
    /// Either.
    Any,
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
        /// What must hold of the row before.
        expect: Expect,
    },
    /// Takes a client away, with its grants.
    RemoveClient {
        /// Its tenant.
        tenant: String,
        /// Its identifier.
        client_id: String,
    },
    /// Writes a resource.
    PutResource {
        /// The row.
        row: resource::Model,
        /// What must hold of the row before.
        expect: Expect,
    },
    /// Takes a resource away.
    RemoveResource {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
    },
    /// Remembers a grant; the first one of an identity stays.
    PutGrant(grant::Model),
    /// Writes and removes signing keys of one tenant, all at once.
    Keys {
        /// The tenant.
        tenant: String,
        /// New and changed rows.
        put: Vec<signing_key::Model>,
        /// Keys that leave.
        remove: Vec<String>,
    },
    /// Uses a name that holds once; fails when it was used before.
    UseOnce(replay::Model),
    /// Says how far audit chains have been delivered.
    AuditCursors(Vec<audit_cursor::Model>),
    /// Takes away the beginning of an audit chain; what is left begins at its new anchor.
    CutAudit {
        /// The tenant, which may have ended.
        tenant: String,
        /// The node, which is the one that commits this.
        node: String,
        /// Position of the last row that goes.
        through: i64,
        /// Its hash.
        hash: [u8; 32],
    },
    /// Forgets names that cannot be presented any more.
    ForgetReplays {
        /// Unix seconds.
        before: i64,
    },
    /// Forgets outbox rows that everyone has seen.
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
            Self::UseOnce(row) => Some(&row.tenant),
            other => other.news().map(|(tenant, _, _)| tenant),
        }
    }

    /// What other parts and nodes hear of it: what kind of thing changed, and which one.
    #[must_use]
    pub fn news(&self) -> Option<(&str, &'static str, &str)> {
        match self {
            Self::PutTenant(row) => Some((&row.name, "tenant", &row.name)),
            Self::RemoveTenant(name) => Some((name, "tenant", name)),
            Self::PutClient { row, .. } => Some((&row.tenant, "client", &row.client_id)),
            Self::RemoveClient { tenant, client_id } => Some((tenant, "client", client_id)),
            Self::PutResource { row, .. } => Some((&row.tenant, "resource", &row.id)),
            Self::RemoveResource { tenant, id } => Some((tenant, "resource", id)),
            Self::PutGrant(row) => Some((&row.tenant, "grant", &row.id)),
            Self::Keys { tenant, .. } => Some((tenant, "keys", "")),
            Self::AuditCursors(_) | Self::CutAudit { .. } => None,
            Self::UseOnce(_) | Self::ForgetReplays { .. } | Self::ForgetOutbox { .. } => None,
        }
    }
}

/// Two connections' worth of database: one that writes, a few that read.
#[derive(Clone, Debug)]
pub struct Store {
    /// For the journal alone.
    pub writer: DatabaseConnection,
    /// For lists and start-up.
    pub reader: DatabaseConnection,
}

/// Opens `writ.db` in `directory` and brings its schema up to date.
///
/// # Errors
/// When the file cannot be opened or migrated.
pub async fn open(directory: &Path) -> Result<Store, DbErr> {
    let url = format!("sqlite://{}?mode=rwc", directory.join("writ.db").display());
    let writer = Database::connect(options(&url, 1)).await?;
    migration::Migrator::up(&writer, None).await?;
    let reader = Database::connect(options(&url, 4)).await?;
    Ok(Store { writer, reader })
}

fn options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                // An answer is given only after the commit has reached the disk.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .foreign_keys(false)
                .pragma("wal_autocheckpoint", "8000")
                .pragma("journal_size_limit", "67108864")
        });
    options
}

/// Moves committed pages from the write-ahead log into the database file, as far as that holds
/// nobody up. Done from outside the writer, so that no commit has to wait for it.
///
/// # Errors
/// When the database does.
pub async fn checkpoint(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    db.execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)")
        .await
        .map(drop)
}

/// Everything the registry keeps in memory.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Tenants.
    pub tenants: Vec<tenant::Model>,
    /// Clients.
    pub clients: Vec<client::Model>,
    /// Resources.
    pub resources: Vec<resource::Model>,
    /// Grants.
    pub grants: Vec<grant::Model>,
    /// Keys.
    pub keys: Vec<signing_key::Model>,
}

/// Reads all tenants' state.
///
/// # Errors
/// When the database does.
pub async fn snapshot(db: &impl ConnectionTrait) -> Result<Snapshot, DbErr> {
    Ok(Snapshot {
        tenants: tenant::Entity::find().all(db).await?,
        clients: client::Entity::find().all(db).await?,
        resources: resource::Entity::find().all(db).await?,
        grants: grant::Entity::find().all(db).await?,
        keys: signing_key::Entity::find().all(db).await?,
    })
}

/// Makes one change; `false` when what it expects does not hold, and then nothing was changed.
///
/// # Errors
/// When the database fails.
pub async fn apply(db: &impl ConnectionTrait, change: &Change) -> Result<bool, DbErr> {
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
            Ok(true)
        }
        Change::RemoveTenant(name) => {
            client::Entity::delete_many()
                .filter(client::Column::Tenant.eq(name))
                .exec(db)
                .await?;
            resource::Entity::delete_many()
                .filter(resource::Column::Tenant.eq(name))
                .exec(db)
                .await?;
            grant::Entity::delete_many()
                .filter(grant::Column::Tenant.eq(name))
                .exec(db)
                .await?;
            replay::Entity::delete_many()
                .filter(replay::Column::Tenant.eq(name))
                .exec(db)
                .await?;
            signing_key::Entity::delete_many()
                .filter(signing_key::Column::Tenant.eq(name))
                .exec(db)
                .await?;
            let gone = tenant::Entity::delete_by_id(name.as_str()).exec(db).await?;
            Ok(gone.rows_affected == 1)
        }
        Change::PutClient { row, expect } => put_client(db, row, *expect).await,
        Change::RemoveClient { tenant, client_id } => {
            grant::Entity::delete_many()
                .filter(grant::Column::Tenant.eq(tenant))
                .filter(grant::Column::ClientId.eq(client_id))
                .exec(db)
                .await?;
            let key = (tenant.clone(), client_id.clone());
            Ok(client::Entity::delete_by_id(key)
                .exec(db)
                .await?
                .rows_affected
                == 1)
        }
        Change::PutResource { row, expect } => put_resource(db, row, *expect).await,
        Change::RemoveResource { tenant, id } => {
            let key = (tenant.clone(), id.clone());
            Ok(resource::Entity::delete_by_id(key)
                .exec(db)
                .await?
                .rows_affected
                == 1)
        }
        Change::PutGrant(row) => {
            let holder = (row.tenant.clone(), row.client_id.clone());
            if client::Entity::find_by_id(holder).one(db).await?.is_none() {
                return Ok(false);
            }
            // Whoever comes second uses the first one's grant.
            grant::Entity::insert(row.clone().into_active_model())
                .on_conflict(OnConflict::new().do_nothing().to_owned())
                .exec_without_returning(db)
                .await?;
            Ok(true)
        }
        Change::Keys {
            tenant,
            put,
            remove,
        } => {
            for kid in remove.iter().chain(put.iter().map(|row| &row.kid)) {
                let key = (tenant.clone(), kid.clone());
                signing_key::Entity::delete_by_id(key).exec(db).await?;
            }
            for row in put {
                signing_key::Entity::insert(row.clone().into_active_model())
                    .exec_without_returning(db)
                    .await?;
            }
            Ok(true)
        }
        Change::UseOnce(row) => {
            let written = replay::Entity::insert(row.clone().into_active_model())
                .on_conflict(OnConflict::new().do_nothing().to_owned())
                .exec_without_returning(db)
                .await?;
            Ok(written == 1)
        }
        Change::AuditCursors(cursors) => {
            audit::put_cursors(db, cursors).await?;
            Ok(true)
        }
        Change::CutAudit {
            tenant,
            node,
            through,
            ..
        } => {
            audit::cut(db, tenant, node, *through).await?;
            Ok(true)
        }
        Change::ForgetReplays { before } => {
            replay::Entity::delete_many()
                .filter(replay::Column::ExpiresAt.lt(*before))
                .exec(db)
                .await?;
            Ok(true)
        }
        Change::ForgetOutbox { before } => {
            outbox::Entity::delete_many()
                .filter(outbox::Column::At.lt(*before))
                .exec(db)
                .await?;
            Ok(true)
        }
    }
}

async fn put_client(
    db: &impl ConnectionTrait,
    row: &client::Model,
    expect: Expect,
) -> Result<bool, DbErr> {
    let key = (row.tenant.clone(), row.client_id.clone());
    let known = client::Entity::find_by_id(key).one(db).await?.is_some();
    match expect {
        Expect::Absent if known => return Ok(false),
        Expect::Present if !known => return Ok(false),
        _ => {}
    }
    let model = row.clone().into_active_model();
    if known {
        let changed: client::ActiveModel = model.reset_all();
        client::Entity::update(changed).exec(db).await?;
    } else {
        client::Entity::insert(model)
            .exec_without_returning(db)
            .await?;
    }
    Ok(true)
}

async fn put_resource(
    db: &impl ConnectionTrait,
    row: &resource::Model,
    expect: Expect,
) -> Result<bool, DbErr> {
    // Another resource may hold this URI already.
    let holder = resource::Entity::find()
        .filter(resource::Column::Tenant.eq(&row.tenant))
        .filter(resource::Column::Normalised.eq(&row.normalised))
        .one(db)
        .await?;
    if holder.is_some_and(|other| other.id != row.id) {
        return Ok(false);
    }
    let key = (row.tenant.clone(), row.id.clone());
    let known = resource::Entity::find_by_id(key).one(db).await?.is_some();
    match expect {
        Expect::Absent if known => return Ok(false),
        Expect::Present if !known => return Ok(false),
        _ => {}
    }
    let model = row.clone().into_active_model();
    if known {
        let changed: resource::ActiveModel = model.reset_all();
        resource::Entity::update(changed).exec(db).await?;
    } else {
        resource::Entity::insert(model)
            .exec_without_returning(db)
            .await?;
    }
    Ok(true)
}
