//! Opening a database: SQLite in a file, or PostgreSQL that several nodes may share.

use std::{borrow::Cow, path::Path, time::Duration};

use migration::MigratorTrait as _;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError,
    sqlx::{
        self, Connection as _, PgConnection, SqliteConnection,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};

use super::Store;
use crate::config;

/// How long an operation of the database may take before it counts as away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows that SQLite's thread may be ahead of whoever reads them: a start reads them all, and every
/// time one waits for the other costs more than a row does.
const ROWS_AHEAD: usize = 1024;
/// How long a start waits for a node of the same name to be gone.
const HANDOVER: Duration = Duration::from_secs(10);

/// Opens `writ.db` in `directory` and brings its schema up to date.
///
/// # Errors
/// When the file cannot be opened or migrated.
pub async fn sqlite(directory: &Path) -> Result<Store, DbErr> {
    let url = format!("sqlite://{}?mode=rwc", directory.join("writ.db").display());
    let writer = Database::connect(sqlite_options(&url, 1)).await?;
    migration::Migrator::up(&writer, None).await?;
    let reader = Database::connect(sqlite_options(&url, 4)).await?;
    Ok(Store {
        writer,
        reader,
        lease: None,
        starting: None,
    })
}

/// Opens the configured database as it is, beside a server that may be using it.
///
/// # Errors
/// When there is none, or it cannot be reached.
pub(super) async fn existing(settings: &config::Storage) -> Result<DatabaseConnection, DbErr> {
    let options = if settings.url.is_empty() {
        let path = settings.data_dir.join("writ.db");
        sqlite_options(&format!("sqlite://{}?mode=rw", path.display()), 1)
    } else {
        postgres_options(&settings.url, 1)
    };
    Database::connect(options).await
}

fn sqlite_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_sqlite_pool_opts(|pool| {
            pool.after_release(|connection, _| Box::pin(has_no_transaction(connection)))
        })
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                // An answer is given only after the commit has reached the disk.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(PATIENCE)
                .row_buffer_size(ROWS_AHEAD)
                .foreign_keys(false)
                .pragma("wal_autocheckpoint", "8000")
                .pragma("journal_size_limit", "67108864")
        });
    options
}

/// Whether a connection that comes back can be used again. SQLite ends a transaction by itself when
/// the disk is full; the rollback then fails, and the driver counts one transaction more than
/// there is. It would open savepoints from then on, and commit none of them.
async fn has_no_transaction(connection: &mut SqliteConnection) -> Result<bool, SqlxError> {
    if connection.is_in_transaction() {
        // The rollback may still be on its way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Opens a PostgreSQL database as one of its nodes and brings its schema up to date. Whoever
/// starts at the same moment waits until [`Starting::end`].
///
/// # Errors
/// When the database cannot be reached or migrated, or another process is this node.
pub async fn postgres(url: &str, node: &str) -> Result<Store, DbErr> {
    let lease = Lease::take(url, node).await?;
    let starting = Starting::begin(url).await?;
    let writer = Database::connect(postgres_options(url, 1)).await?;
    migration::Migrator::up(&writer, None).await?;
    // Readings are rare and have nobody who tries again: no connection that was cut meanwhile.
    let mut readings = postgres_options(url, 4);
    readings.test_before_acquire(true);
    let reader = Database::connect(readings).await?;
    Ok(Store {
        writer,
        reader,
        lease: Some(lease),
        starting: Some(starting),
    })
}

fn postgres_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .connect_timeout(PATIENCE)
        .acquire_timeout(PATIENCE)
        .sqlx_logging(false)
        .test_before_acquire(false)
        .map_sqlx_postgres_opts(|postgres| {
            postgres.application_name("writ").options([
                // An answer is given only after the commit has reached the disk.
                ("synchronous_commit", "on"),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "10s"),
            ])
        });
    options
}

/// A node's name on a shared database, held by a connection of its own: two processes of one name
/// would each write half of one audit chain.
#[derive(Debug)]
pub struct Lease {
    url: String,
    node: String,
    connection: PgConnection,
}

impl Lease {
    async fn take(url: &str, node: &str) -> Result<Self, DbErr> {
        let connection = PgConnection::connect(url).await.map_err(connection_error)?;
        let mut lease = Self {
            url: url.to_owned(),
            node: node.to_owned(),
            connection,
        };
        let tries = HANDOVER.as_millis() / 250;
        for _ in 0..tries {
            if lease.try_hold().await? {
                return Ok(lease);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Err(DbErr::Custom(format!(
            "another process is node '{node}' on this database: give each its own storage.node"
        )))
    }

    async fn try_hold(&mut self) -> Result<bool, DbErr> {
        let name = format!("writ node {}", self.node);
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(name)
            .fetch_one(&mut self.connection)
            .await
            .map_err(query_error)
    }

    /// Whether the name is still ours, after taking it again where the connection was lost.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn holds(&mut self) -> Result<bool, DbErr> {
        if self.connection.ping().await.is_ok() {
            return Ok(true);
        }
        self.connection = PgConnection::connect(&self.url)
            .await
            .map_err(connection_error)?;
        self.try_hold().await
    }
}

/// Held while a node starts: whoever starts at the same moment waits, and then finds the schema,
/// the first keys and the first administrator made.
#[derive(Debug)]
pub struct Starting(PgConnection);

impl Starting {
    async fn begin(url: &str) -> Result<Self, DbErr> {
        let mut connection = PgConnection::connect(url).await.map_err(connection_error)?;
        sqlx::query("SELECT pg_advisory_lock(hashtextextended('writ start', 0))")
            .execute(&mut connection)
            .await
            .map_err(query_error)?;
        Ok(Self(connection))
    }

    /// Lets the next one start. Dropping it does too, a moment later.
    pub async fn end(self) {
        let _ = self.0.close().await;
    }
}

fn connection_error(error: SqlxError) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: SqlxError) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// Whether a statement only met another one's: a lock it waited for too long, or a deadlock.
#[must_use]
pub fn is_contention(error: &DbErr) -> bool {
    // serialization_failure, deadlock_detected, lock_not_available, query_canceled.
    sqlstate(error).is_some_and(|code| matches!(&*code, "40001" | "40P01" | "55P03" | "57014"))
}

/// Whether PostgreSQL cannot hold a value (its class 22), for example a text with NUL in it.
#[must_use]
pub fn is_unstorable(error: &DbErr) -> bool {
    sqlstate(error).is_some_and(|code| code.len() == 5 && code.starts_with("22"))
}

/// The database's code for an error.
fn sqlstate(error: &DbErr) -> Option<Cow<'_, str>> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    error.as_database_error()?.code()
}

/// Whether an error is the database's own trouble (away, full, read-only), which no other command
/// would fare better with.
#[must_use]
pub fn is_unavailable(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_));
    };
    let sqlx::Error::Database(error) = &**error else {
        return true;
    };
    let Some(code) = error.code() else {
        return false;
    };
    match code.parse::<u32>() {
        // SQLite: BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, in the low byte.
        Ok(number) if code.len() != 5 => matches!(number & 0xff, 5 | 6 | 8 | 10 | 11 | 13 | 14),
        // PostgreSQL: connection, resources, operator, system; and a standby.
        _ => ["08", "53", "57", "58", "25006", "XX"]
            .iter()
            .any(|class| code.starts_with(class)),
    }
}

/// Moves committed pages from SQLite's write-ahead log into the database file, as far as that
/// holds nobody up. Done from outside the writer, so that no commit has to wait for it.
///
/// # Errors
/// When the database does.
pub async fn checkpoint(db: &DatabaseConnection) -> Result<(), DbErr> {
    if db.get_database_backend() != sea_orm::DbBackend::Sqlite {
        return Ok(());
    }
    db.execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)")
        .await
        .map(drop)
}
