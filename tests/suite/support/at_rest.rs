//! What a stopped server has left in its files and its database, for tests that search it.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use sea_orm::{ConnectionTrait as _, Database, Statement};

use super::Home;

/// Every byte of it.
pub(crate) struct AtRest(Vec<u8>);

impl AtRest {
    /// Reads the files of a directory, and every row of a PostgreSQL database as text.
    pub(crate) async fn read(home: &Home) -> Self {
        // The database's last connection moves its journal into the file and removes it.
        let mut bytes = loop {
            match files(home.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                read => break read.unwrap(),
            }
        };
        if let Some(url) = home.url() {
            let db = Database::connect(url).await.unwrap();
            let rows = async |sql: &str| -> Vec<String> {
                let query = Statement::from_string(db.get_database_backend(), sql);
                let rows = db.query_all_raw(query).await.unwrap();
                let text = |row: sea_orm::QueryResult| row.try_get_by_index(0).unwrap();
                rows.into_iter().map(text).collect()
            };
            let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
            for table in rows(tables).await {
                for row in rows(&format!("SELECT t::text FROM \"{table}\" t")).await {
                    bytes.extend(row.into_bytes());
                }
            }
        }
        Self(bytes)
    }

    /// Whether these bytes are in it, as they are or as PostgreSQL prints them.
    pub(crate) fn holds(&self, part: &[u8]) -> bool {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let found = |part: &[u8]| self.0.windows(part.len()).any(|window| window == part);
        found(part) || found(hex.as_bytes())
    }
}

/// The contents of all files in a directory.
fn files(directory: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory)? {
        bytes.extend(fs::read(entry?.path())?);
    }
    Ok(bytes)
}
