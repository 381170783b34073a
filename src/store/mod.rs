//! The only place with SQL: plain functions over a connection.
//!
//! Writing is done by [`change::apply`], [`once::use_up`], [`outbox::append`] and
//! [`audit::append`], and only the journal calls them.

pub mod audit;
pub mod authorization;
pub mod backup;
pub mod change;
pub mod connection;
pub mod declared;
pub mod forget;
pub mod grants;
pub mod logout;
pub mod once;
pub mod outbox;
pub mod people;
pub mod progress;
pub mod signals;
mod streams;

use entity::{client, grant, resource, revoked_token, signal, signing_key, stream, tenant};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseConnection, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Value,
    sea_query::{ArrayType, Expr, ExprTrait as _},
};

pub use sea_orm::DbErr;

pub use self::{
    change::{Change, Made, Once, Token},
    connection::{Lease, Starting, checkpoint, is_contention, is_unavailable, is_unstorable},
    grants::{Ended, Whose, find_grants},
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

/// Rows of what the registry keeps in memory, some at a time.
#[derive(Debug)]
pub enum Rows {
    /// Tenants.
    Tenants(Vec<tenant::Model>),
    /// Keys.
    Keys(Vec<signing_key::Model>),
    /// Resources.
    Resources(Vec<resource::Model>),
    /// Clients.
    Clients(Vec<client::Model>),
    /// Grants.
    Grants(Vec<grant::Model>),
    /// Tokens that were revoked one by one.
    RevokedTokens(Vec<revoked_token::Model>),
    /// Streams.
    Streams(Vec<stream::Model>),
    /// The last signals of all tenants, in order.
    Signals {
        /// The place of the last one, as it was before they were read.
        head: i64,
        /// They, and perhaps some that came since.
        rows: Vec<signal::Model>,
    },
}

/// Rows of a table that may hold millions, in one page.
const PAGE: u64 = 4096;

/// Reads one tenant's state, or that of all, in an order in which it can be taken: a tenant comes
/// before what belongs to it.
///
/// # Errors
/// When the database does, or whoever takes it.
pub async fn read<E: From<DbErr>>(
    db: &impl ConnectionTrait,
    only: Option<&str>,
    mut take: impl FnMut(Rows) -> Result<(), E>,
) -> Result<(), E> {
    macro_rules! select {
        ($table:ident, $tenant:ident) => {{
            let tenant = only.map(|name| $table::Column::$tenant.eq(name));
            $table::Entity::find().filter(Condition::all().add_option(tenant))
        }};
    }
    /// Page by page, in the order of the primary key.
    macro_rules! pages {
        ($table:ident, $rows:ident, $key:ident, $id:ident) => {
            let mut after = None;
            loop {
                let key = [$table::Column::Tenant, $table::Column::$key];
                // A comparison of rows, not of one column after the other: only for that does
                // SQLite go straight to where a page begins.
                let behind = |last: [String; 2]| {
                    Expr::tuple(key.map(Expr::col)).gt(Expr::tuple(last.map(Expr::val)))
                };
                let page = select!($table, Tenant)
                    .filter(Condition::all().add_option(after.map(behind)))
                    .order_by_asc(key[0])
                    .order_by_asc(key[1])
                    .limit(PAGE)
                    .all(db)
                    .await?;
                let Some(last) = page.last() else { break };
                after = Some([last.tenant.clone(), last.$id.clone()]);
                take(Rows::$rows(page))?;
            }
        };
    }
    take(Rows::Tenants(select!(tenant, Name).all(db).await?))?;
    take(Rows::Keys(select!(signing_key, Tenant).all(db).await?))?;
    take(Rows::Resources(select!(resource, Tenant).all(db).await?))?;
    pages!(client, Clients, ClientId, client_id);
    pages!(grant, Grants, Id, id);
    pages!(stream, Streams, Id, id);
    take(Rows::RevokedTokens(
        select!(revoked_token, Tenant).all(db).await?,
    ))?;
    if only.is_none() {
        let head = signals::head(db).await?;
        let rows = signals::last(db, signals::AT_HAND).await?;
        take(Rows::Signals { head, rows })?;
    }
    Ok(())
}

/// An array parameter for `UNNEST`.
fn array(kind: ArrayType, values: Vec<Value>) -> Value {
    Value::Array(kind, Some(Box::new(values)))
}
