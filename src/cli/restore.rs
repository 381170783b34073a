//! `writ restore`

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use aws_lc_rs::digest::{Context, SHA256};
use clap::Args;
use entity::signing_key;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    Failure,
    backup::{END, FORMAT, Header, PROGRESS, Place, SEALING_KEY, VERSION, away, hexadecimal},
    print,
};
use crate::{
    config::Config,
    keys::{
        self,
        sealed::{Sealer, write_private},
    },
    serve::directory,
    store::{
        Store,
        backup::{self, Row},
    },
};

/// Longest line: more than any row holds.
const LINE: u64 = 64 * 1024 * 1024;
/// Rows written at a time.
const BATCH: usize = 1000;

/// Fill an empty database from a backup. The server must not run; the database may be of another
/// kind than the one the backup was made of.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// What `writ backup` made.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

impl Restore {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let config = self.place.config()?;
        let mut lines = Lines::open(&self.file).map_err(|why| why.at(&self.file))?;
        // All of it is read before anything is written.
        let checked = lines.check().map_err(|why| why.at(&self.file))?;
        // A server on the same files would not know what happens to them.
        let _held = directory::hold(&config.storage)?;
        let key_file = config.sealing_key();
        let key = Key::find(key_file.clone(), checked.sealing_key)?;
        let rows = fill(&config, &mut lines, &checked.digest, &key)
            .await
            .map_err(|why| why.at(&self.file))?;
        let key_is_there = key.text.is_some();
        let issuer = &lines.header.issuer;
        let warning = format!(
            "What was revoked, disabled or deleted since {} is valid again, and what may be used \
             once may be used again. Before anybody else reaches the server: `writ revoke tenant \
             default`, and so for each tenant, ends all grants; then disable and delete again.",
            print::tame(&lines.header.at)
        );
        if json {
            print::json(&json!({
                "rows": rows,
                "issuer": issuer,
                "sealing_key": key_file,
                "sealing_key_is_there": key_is_there,
                "made_at": lines.header.at,
                "warning": warning,
            }));
            return Ok(ExitCode::SUCCESS);
        }
        print::line(&format!(
            "{rows} rows are restored, of {}",
            print::tame(&lines.header.at)
        ));
        print::line(&warning);
        if !key_is_there {
            print::line(&format!(
                "Before `writ serve`: put the sealing key that was kept beside the backup at {}",
                key_file.display()
            ));
        }
        if config.issuer(config.server.listen) != *issuer {
            print::line(&format!(
                "The issuer was {}: tokens from before are only valid under the same one.",
                print::tame(issuer)
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What is in a backup whose trailer holds.
struct Checked {
    digest: String,
    sealing_key: Option<Zeroizing<String>>,
}

/// The sealing key that the server will find.
struct Key {
    file: PathBuf,
    /// None when the operator has yet to put it there.
    text: Option<Zeroizing<String>>,
    /// Whether it is the backup's, and not there yet.
    new: bool,
}

impl Key {
    /// What is in `file`, or is going to be. A key that is there, or may be, is not overwritten.
    fn find(file: PathBuf, backed_up: Option<Zeroizing<String>>) -> Result<Self, Failure> {
        let present = match fs::read_to_string(&file) {
            Ok(text) => Some(Zeroizing::new(text)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(Failure::from(why).at(&file)),
        };
        if let (Some(present), Some(backed_up)) = (&present, &backed_up)
            && present.trim() != backed_up.as_str()
        {
            let problem = "is another sealing key than the backup's: move it away";
            return Err(Failure::new(problem).at(&file));
        }
        let new = present.is_none() && backed_up.is_some();
        Ok(Self {
            file,
            text: present.or(backed_up),
            new,
        })
    }

    /// Refuses when it is known and does not open a signing key that was restored.
    fn opens(&self, row: Option<&signing_key::Model>) -> Result<(), Failure> {
        let (Some(text), Some(row)) = (&self.text, row) else {
            return Ok(());
        };
        let sealer = Sealer::from_text(text, &self.file)?;
        let opened = sealer.open(&row.sealed, &keys::context(&row.tenant, &row.kid));
        opened.map(|_| ()).map_err(|_| {
            let problem = "does not open the signing keys of the backup: put the sealing key that \
                           was kept beside it there";
            Failure::new(problem).at(&self.file)
        })
    }

    fn write(&self) -> Result<(), Failure> {
        let Some(text) = self.text.as_ref().filter(|_| self.new) else {
            return Ok(());
        };
        let line = Zeroizing::new(format!("{}\n", text.as_str()));
        write_private(&self.file, line.as_bytes()).map_err(|why| Failure::from(why).at(&self.file))
    }
}

/// Writes the rows in one transaction, and the sealing key; the number of rows.
async fn fill(config: &Config, lines: &mut Lines, digest: &str, key: &Key) -> Result<u64, Failure> {
    let away = |why| away(config, why);
    let store = Store::open(&config.storage).await.map_err(away)?;
    let target = backup::empty(&store).await.map_err(away)?;
    lines.rewind()?;
    let (mut rows, mut batch, mut table) = (0, Vec::new(), String::new());
    loop {
        let line = lines.next()?;
        let next = match &line {
            Line::Row(next, _) => next.as_str(),
            Line::SealingKey(_) | Line::End(_) => "",
        };
        if next != table || batch.len() == BATCH {
            backup::insert(&target, &table, &batch)
                .await
                .map_err(away)?;
            batch.clear();
            next.clone_into(&mut table);
        }
        match line {
            Line::Row(_, row) => batch.push(row),
            Line::SealingKey(_) => continue,
            // The file is the one that was checked, to its last byte.
            Line::End(end) if end.sha256 == digest => break,
            Line::End(_) => return Err(Failure::new("the file was changed while it was read")),
        }
        rows += 1;
        if rows % PROGRESS == 0 {
            print::note(&format!("{rows} rows, now {}", print::tame(&table)));
        }
    }
    let restored = backup::signing_key(&target).await.map_err(away)?;
    key.opens(restored.as_ref())?;
    key.write()?;
    target.commit().await.map_err(away)?;
    Ok(rows)
}

/// A line of a backup after the first.
enum Line {
    Row(String, Row),
    SealingKey(Zeroizing<String>),
    End(End),
}

/// The trailer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    rows: u64,
    sha256: String,
}

/// A backup that is read line by line.
struct Lines {
    file: BufReader<File>,
    header: Header,
    digest: Context,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut file = BufReader::new(File::open(path)?);
        let mut digest = Context::new(&SHA256);
        let line = read_line(&mut file)?;
        digest.update(&line);
        let header: Header = serde_json::from_slice(&line)
            .map_err(|why| Failure::new(format!("this is no backup of Writ: {why}")))?;
        if header.format != FORMAT || header.version != VERSION {
            return Err(Failure::new(format!(
                "this is '{}' version {}, and only '{FORMAT}' version {VERSION} can be read",
                print::tame(&header.format),
                header.version
            )));
        }
        if header.schema != backup::schema() {
            return Err(Failure::new(format!(
                "it was made by Writ {}, whose schema is '{}', and this one's is '{}': restore it \
                 with the version that made it, and let `writ serve` of this one bring it up to date",
                print::tame(&header.writ),
                print::tame(&header.schema),
                backup::schema()
            )));
        }
        Ok(Self {
            file,
            header,
            digest,
        })
    }

    /// Goes back to the first line after the header.
    fn rewind(&mut self) -> Result<(), Failure> {
        self.file.rewind()?;
        let line = read_line(&mut self.file)?;
        self.digest = Context::new(&SHA256);
        self.digest.update(&line);
        Ok(())
    }

    fn next(&mut self) -> Result<Line, Failure> {
        let line = read_line(&mut self.file)?;
        let unreadable = |why| Failure::new(format!("it is damaged: {why}"));
        let members: Map<String, Value> = serde_json::from_slice(&line).map_err(unreadable)?;
        let mut members = members.into_iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return Err(Failure::new("it is damaged: a line holds not one thing"));
        };
        if name == END {
            let end: End = serde_json::from_value(value).map_err(unreadable)?;
            if end.sha256 != hexadecimal(&self.digest) {
                return Err(Failure::new("it is damaged: its digest does not hold"));
            }
            if !self.file.fill_buf()?.is_empty() {
                return Err(Failure::new("it is damaged: it goes on after its end"));
            }
            return Ok(Line::End(end));
        }
        self.digest.update(&line);
        match value {
            Value::Object(row) => Ok(Line::Row(name, row)),
            Value::String(key) if name == SEALING_KEY => Ok(Line::SealingKey(key.into())),
            _ => Err(Failure::new("it is damaged: a row is no object")),
        }
    }

    /// Reads to the end and compares with what header and trailer say.
    fn check(&mut self) -> Result<Checked, Failure> {
        let (mut counted, mut rows) = (BTreeMap::<String, u64>::new(), 0);
        let mut sealing_key = None;
        let end = loop {
            match self.next()? {
                Line::Row(table, _) => *counted.entry(table).or_default() += 1,
                Line::SealingKey(key) => {
                    sealing_key = Some(key);
                    continue;
                }
                Line::End(end) => break end,
            }
            rows += 1;
        };
        let promised = self.header.tables.iter();
        let promised = promised.filter_map(|(table, rows)| Some((table.clone(), rows.as_u64()?)));
        let promised: BTreeMap<_, _> = promised.filter(|(_, rows)| *rows > 0).collect();
        if rows != end.rows || counted != promised {
            return Err(Failure::new("it is damaged: rows are missing or too many"));
        }
        Ok(Checked {
            digest: end.sha256,
            sealing_key,
        })
    }
}

/// A whole line with its end.
fn read_line(file: &mut BufReader<File>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut line = Zeroizing::new(Vec::new());
    file.take(LINE).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(Failure::new("it is damaged: it ends too early"));
    }
    Ok(line)
}
