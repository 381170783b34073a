//! `writ audit export`

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    super::{
        Failure,
        api::{Api, Connection, Page},
        print,
    },
    events::{PAGE, Selection, follow},
};
use crate::{
    audit::ocsf::{self, Source},
    keys::sealed::write_private,
};

/// How exported events are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// The Open Cybersecurity Schema Framework.
    #[default]
    Ocsf,
    /// As the admin API shows them.
    Jsonl,
}

/// Events for another system.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    selection: Selection,
    /// How they are written, one a line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The file they are added to; standard output without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where is remembered how far the export is; the next one goes on from there.
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Do not end: go on with what happens.
    #[arg(long)]
    follow: bool,
}

impl Export {
    pub(super) async fn run(self, connection: &Connection) -> Result<ExitCode, Failure> {
        let cursor = self.cursor.as_deref();
        let known = cursor.map(read_cursor).transpose()?.flatten();
        let mut path = self.selection.path(PAGE, known);
        let mut out = Out::open(self.out.as_deref())?;
        let line = |event: &Value, issuer: &str| match self.format {
            Format::Jsonl => event.to_string(),
            Format::Ocsf => ocsf::event(&source(event, issuer), &event["event"]).to_string(),
        };
        // Only what is on disk counts as exported: after a break some lines come twice, none never.
        let remember = |path: &str, out: &mut Out| {
            out.finish()?;
            cursor.map_or(Ok(()), |file| write_cursor(file, path))
        };
        if self.follow {
            let out = std::cell::RefCell::new(out);
            return follow(
                connection,
                path,
                |event, issuer| out.borrow_mut().line(&line(event, issuer)),
                |path| remember(path, &mut out.borrow_mut()),
            )
            .await;
        }
        let api = Api::connect(connection).await?;
        loop {
            let page: Page<Vec<Value>> = api.page(&path).await?;
            for event in &page.content {
                out.line(&line(event, api.issuer()))?;
            }
            remember(&page.path, &mut out)?;
            if !page.more {
                return Ok(ExitCode::SUCCESS);
            }
            path = page.path;
        }
    }
}

fn source<'a>(event: &'a Value, issuer: &'a str) -> Source<'a> {
    Source {
        issuer,
        node: event["node"].as_str().unwrap_or_default(),
        seq: event["seq"].as_i64().unwrap_or_default(),
        hash: event["hash"].as_str().unwrap_or_default(),
        at: event["at"].as_i64().unwrap_or_default(),
        kind: event["kind"].as_str().unwrap_or_default(),
    }
}

/// Where exported lines go.
enum Out {
    File(PathBuf, io::BufWriter<File>),
    Standard,
}

impl Out {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self::Standard);
        };
        let file = File::options().append(true).create(true).open(path);
        let file = file.map_err(|why| Failure::from(why).at(path))?;
        Ok(Self::File(path.to_owned(), io::BufWriter::new(file)))
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::File(path, file) => {
                writeln!(file, "{line}").map_err(|why| Failure::from(why).at(path))
            }
            Self::Standard => {
                print::line(line);
                Ok(())
            }
        }
    }

    /// Sees to it that every line is where it should be.
    fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::File(path, file) => file
                .flush()
                .and_then(|()| file.get_ref().sync_data())
                .map_err(|why| Failure::from(why).at(path)),
            Self::Standard => Ok(io::stdout().flush()?),
        }
    }
}

fn read_cursor(file: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Failure::from(why).at(file)),
    }
}

/// Keeps the cursor of a path to go on with.
fn write_cursor(file: &Path, path: &str) -> Result<(), Failure> {
    let cursor = path.rsplit_once("cursor=").map_or("", |(_, cursor)| cursor);
    write_private(file, format!("{cursor}\n").as_bytes()).map_err(|why| Failure::from(why).at(file))
}
