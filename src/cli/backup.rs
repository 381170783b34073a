//! `writ backup`, and what its file looks like.
//!
//! JSON lines: a [`Header`], one line for each row, perhaps the sealing key, and a trailer with the
//! number of rows and SHA-256 of every byte before it. Each line but the header is an object with
//! one member, whose name says what it is: a table, [`SEALING_KEY`] or [`END`].

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use aws_lc_rs::digest::{Context, SHA256};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use zeroize::Zeroizing;

use super::{Failure, print};
use crate::{
    clock::Clock,
    config::{Config, Overrides},
    keys::sealed::PrivateFile,
    store::backup::{self, TABLES},
};

/// The name of the file's form.
pub(super) const FORMAT: &str = "writ-backup";
/// The one version of it.
pub(super) const VERSION: u32 = 1;
/// The member of the line with the sealing key.
pub(super) const SEALING_KEY: &str = "sealing_key";
/// The member of the last line.
pub(super) const END: &str = "end";
/// Rows between two words about the progress.
pub(super) const PROGRESS: u64 = 100_000;

/// Which database: that of `writ serve` with the same settings.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "WRIT_CONFIG")]
    config: Option<PathBuf>,
    /// Where database and keys are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Place {
    pub(super) fn config(self) -> Result<Config, Failure> {
        Ok(Config::load(&Overrides {
            file: self.config,
            data_dir: self.data_dir,
            ..Overrides::default()
        })?)
    }
}

/// Write everything the server knows to a file: its state at one moment, whether it runs or not.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to make; only its owner will be able to read it.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Put the key that opens the signing keys into the file too. Whoever reads it then can sign.
    #[arg(long)]
    with_sealing_key: bool,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// [`FORMAT`]
    pub format: String,
    /// [`VERSION`]
    pub version: u32,
    /// The last step of the database's schema.
    pub schema: String,
    /// The program that wrote it.
    pub writ: String,
    /// When, RFC 3339.
    pub at: String,
    /// The issuer it was written for.
    pub issuer: String,
    /// Rows of each table.
    pub tables: Map<String, serde_json::Value>,
    /// Whether the sealing key is in it.
    pub sealing_key: bool,
}

impl Backup {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let config = self.place.config()?;
        if self.file.exists() {
            return Err(Failure::new("the file exists: give another name").at(&self.file));
        }
        let sealing_key = config.sealing_key();
        let included = if self.with_sealing_key {
            let text = fs::read_to_string(&sealing_key)
                .map_err(|why| Failure::from(why).at(&sealing_key))?;
            Some(Zeroizing::new(text))
        } else {
            None
        };
        let rows = write(&config, &self.file, included.as_deref()).await?;
        if json {
            print::json(&json!({
                "file": self.file,
                "rows": rows,
                "sealing_key": if self.with_sealing_key { None } else { Some(&sealing_key) },
            }));
            return Ok(ExitCode::SUCCESS);
        }
        print::line(&format!("{rows} rows are in {}", self.file.display()));
        print::line(&if self.with_sealing_key {
            "With the sealing key in it: whoever reads this file can sign tokens.".to_owned()
        } else {
            format!(
                "Keep a copy of {} too, in another place: without it the signing keys in the \
                 backup cannot be opened.",
                sealing_key.display()
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// A failure of the database.
pub(super) fn away(config: &Config, why: impl std::error::Error) -> Failure {
    Failure::new(format!("{}: {why}", config.storage.place()))
}

/// Writes the whole file and makes it durable; the number of rows.
async fn write(config: &Config, path: &Path, sealing_key: Option<&String>) -> Result<u64, Failure> {
    let away = |why| away(config, why);
    let db = backup::snapshot(&config.storage).await.map_err(away)?;
    let mut tables = Map::new();
    for table in TABLES {
        let rows = backup::count(&db, table).await.map_err(away)?;
        tables.insert((*table).to_owned(), rows.into());
    }
    let mut lines = Lines::create(path).map_err(|why| Failure::from(why).at(path))?;
    lines.put(&Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        schema: backup::schema(),
        writ: env!("CARGO_PKG_VERSION").to_owned(),
        at: print::moment(Clock::System.seconds()),
        issuer: config.issuer(config.server.listen),
        tables: tables.clone(),
        sealing_key: sealing_key.is_some(),
    })?;
    let mut rows = 0;
    for table in TABLES {
        let mut last = None;
        loop {
            let page = backup::page(&db, table, last.as_ref())
                .await
                .map_err(away)?;
            for row in &page {
                lines.put(&json!({ *table: row }))?;
                rows += 1;
                if rows % PROGRESS == 0 {
                    print::note(&format!("{rows} rows, now {table} of {}", tables[*table]));
                }
            }
            match page.into_iter().next_back() {
                Some(row) => last = Some(row),
                None => break,
            }
        }
    }
    if let Some(key) = sealing_key {
        lines.put(&json!({ SEALING_KEY: key.trim() }))?;
    }
    lines.end(rows).map_err(|why| Failure::from(why).at(path))?;
    Ok(rows)
}

/// A file being written, and the digest of what is in it.
struct Lines {
    file: BufWriter<PrivateFile>,
    digest: Context,
}

impl Lines {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(PrivateFile::create(path)?),
            digest: Context::new(&SHA256),
        })
    }

    fn put(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = Zeroizing::new(serde_json::to_vec(line)?);
        line.push(b'\n');
        self.digest.update(&line);
        self.file.write_all(&line)
    }

    fn end(mut self, rows: u64) -> io::Result<()> {
        let sha256 = hexadecimal(&self.digest.clone());
        self.put(&json!({ END: { "rows": rows, "sha256": sha256 } }))?;
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.finish()
    }
}

/// What the digest says of everything so far.
pub(super) fn hexadecimal(digest: &Context) -> String {
    let digest = digest.clone().finish();
    crate::audit::hexadecimal(digest.as_ref())
}
