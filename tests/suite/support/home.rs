//! Where a test's server keeps its state: a directory, and a database of its own.
//!
//! `TEST_DATABASE=postgres` runs the suite on PostgreSQL, at `TEST_POSTGRES_URL`, whose role may
//! create databases. Without it every test has a SQLite file.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;
use writ::config::Config;

/// PostgreSQL to test on, where the environment asks for it.
fn postgres() -> Option<String> {
    match std::env::var("TEST_DATABASE").as_deref() {
        Ok("postgres") => {
            Some(std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names the server"))
        }
        Ok("sqlite") | Err(_) => None,
        Ok(other) => panic!("TEST_DATABASE is sqlite or postgres, not {other}"),
    }
}

/// A server's directory and database, gone after the test.
pub(crate) struct Home {
    directory: TempDir,
    postgres: Option<Arc<Postgres>>,
}

/// A database that goes when the last node's home does.
struct Postgres {
    url: String,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut over = OVER.lock().unwrap_or_else(PoisonError::into_inner);
        over.push(database(&self.url).to_owned());
    }
}

/// Databases whose tests are over; the next test takes them away.
static OVER: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Home {
    /// One without anything in it.
    pub(crate) async fn empty() -> Self {
        Self::made("template0").await
    }

    /// One with a copy of another's database, which nobody uses any more.
    pub(crate) async fn copy(template: &Self) -> Self {
        let copy = Self::made(template.url().map_or("template0", database)).await;
        for name in ["sealing.key", "writ.db"] {
            let from = template.path().join(name);
            if from.exists() {
                std::fs::copy(from, copy.path().join(name)).unwrap();
            }
        }
        copy
    }

    async fn made(template: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let Some(server) = postgres() else {
            let postgres = None;
            return Self {
                directory,
                postgres,
            };
        };
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{count}", std::process::id());
        let admin = Database::connect(&server).await.unwrap();
        let over = std::mem::take(&mut *OVER.lock().unwrap_or_else(PoisonError::into_inner));
        for old in over {
            let sql = format!("DROP DATABASE IF EXISTS {old} WITH (FORCE)");
            admin.execute_unprepared(&sql).await.unwrap();
        }
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        admin.execute_unprepared(&sql).await.unwrap();
        admin.close().await.unwrap();
        let url = format!("{}{name}", server.strip_suffix(database(&server)).unwrap());
        let postgres = Some(Arc::new(Postgres { url }));
        Self {
            directory,
            postgres,
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The database's URL, where it is PostgreSQL.
    pub(crate) fn url(&self) -> Option<&str> {
        self.postgres.as_deref().map(|database| &*database.url)
    }

    /// Another directory for the same PostgreSQL database, with the same sealing key.
    pub(crate) fn neighbour(&self) -> Self {
        let postgres = self.postgres.clone();
        assert!(postgres.is_some(), "two nodes need TEST_DATABASE=postgres");
        let directory = TempDir::new().unwrap();
        let key = directory.path().join("sealing.key");
        std::fs::copy(self.path().join("sealing.key"), key).unwrap();
        Self {
            directory,
            postgres,
        }
    }

    /// These settings, in this place.
    pub(crate) fn settle(&self, mut config: Config) -> Config {
        config.storage.data_dir = self.path().to_owned();
        config.storage.url = self.url().unwrap_or_default().to_owned();
        config
    }
}

/// The name of the database in a URL without parameters.
fn database(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}
