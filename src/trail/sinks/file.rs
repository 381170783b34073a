//! A file that events are added to, one a line.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::Outgoing;

/// It is opened for each batch, so that whoever moves it away gets a new one.
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds events, and answers when they are on disk.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) async fn send(&self, events: &[Outgoing]) -> Result<(), String> {
        let mut text = String::new();
        for event in events {
            text.push_str(&event.line);
            text.push('\n');
        }
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || add(&path, &text))
            .await
            .map_err(|why| why.to_string())?
            .map_err(|why| format!("{}: {why}", self.path.display()))
    }
}

fn add(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    // A line that was cut short ends here; the whole one comes again.
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()
}
