//! The only place with SQL: plain functions over a connection.
//!
//! Writing is done by [`change::apply`], [`once::use_up`], [`outbox::append`] and
//! [`audit::append`], and only the journal calls them.

pub mod audit;
pub mod backup;
pub mod change;
pub mod connection;
pub mod once;
pub mod outbox;

use entity::{client, grant, resource, revoked_token, signing_key, tenant};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, Value, sea_query::ArrayType,
};

pub use self::{
    change::{Change, Expect, Made, Once, Whose},
    connection::{Lease, Starting, checkpoint, is_unavailable},
};
use crate::config;

/// Rows in one statement: enough to share its cost, few enough for any parameter limit.
const CHUNK: usize = 64;

/// Two connections' worth of database: one that writes, a few that read.
#[derive(Debug)]
pub struct Store {
    /// For the journal, and nobody else.
    pub writer: DatabaseConnection,
    /// For lists and start-up.
    pub reader: DatabaseConnection,
    /// This node's name, where nodes share a database.
    pub lease: Option<Lease>,
    /// Held until a start is complete, where nodes share a database.
    pub starting: Option<Starting>,
}

impl Store {
    /// Opens the configured database and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be opened or migrated, or another process is this node.
    pub async fn open(settings: &config::Storage) -> Result<Self, DbErr> {
        if settings.url.is_empty() {
            connection::sqlite(&settings.data_dir).await
        } else {
            connection::postgres(&settings.url, &settings.node).await
        }
    }

    /// Whether signing keys are in it: then the key that seals them must exist.
    ///
    /// # Errors
    /// When the database does.
    pub async fn has_keys(&self) -> Result<bool, DbErr> {
        Ok(signing_key::Entity::find().count(&self.reader).await? > 0)
    }
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
    /// Tokens that were revoked one by one.
    pub revoked_tokens: Vec<revoked_token::Model>,
}

/// Reads all tenants' state.
///
/// # Errors
/// When the database does.
pub async fn snapshot(db: &impl ConnectionTrait) -> Result<Snapshot, DbErr> {
    snapshot_of(db, None).await
}

/// Reads one tenant's state, or that of all.
async fn snapshot_of(db: &impl ConnectionTrait, only: Option<&str>) -> Result<Snapshot, DbErr> {
    macro_rules! rows {
        ($table:ident, $tenant:ident) => {{
            let tenant = only.map(|name| $table::Column::$tenant.eq(name));
            let filter = Condition::all().add_option(tenant);
            $table::Entity::find().filter(filter).all(db).await?
        }};
    }
    Ok(Snapshot {
        tenants: rows!(tenant, Name),
        clients: rows!(client, Tenant),
        resources: rows!(resource, Tenant),
        grants: rows!(grant, Tenant),
        keys: rows!(signing_key, Tenant),
        revoked_tokens: rows!(revoked_token, Tenant),
    })
}

/// An array parameter for `UNNEST`.
fn array(kind: ArrayType, values: Vec<Value>) -> Value {
    Value::Array(kind, Some(Box::new(values)))
}
