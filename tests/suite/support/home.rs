//! Where a test's server keeps its state: a directory, and a database of its own.
//!
//! `TEST_DATABASE=postgres` runs the suite on PostgreSQL, at `TEST_POSTGRES_URL`, whose role may
//! create databases. Without it every test has a SQLite file.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
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
    /// The URL of a PostgreSQL database; empty for SQLite.
    url: String,
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
        let copy = Self::made(database(&template.url)).await;
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
            let url = String::new();
            return Self { directory, url };
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
        let url = server.replace(database(&server), &name);
        Self { directory, url }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// These settings, in this place.
    pub(crate) fn settle(&self, mut config: Config) -> Config {
        config.storage.data_dir = self.path().to_owned();
        config.storage.url.clone_from(&self.url);
        config
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.url.is_empty() {
            let mut over = OVER.lock().unwrap_or_else(PoisonError::into_inner);
            over.push(database(&self.url).to_owned());
        }
    }
}

/// The name of the database in a URL without parameters.
fn database(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}
