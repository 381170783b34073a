//! The data directory: made, held by one process, read by its owner alone.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

use super::ServeError;
use crate::config;

/// Makes the directory where it is missing, and holds it for this process as long as the file
/// lives.
///
/// # Errors
/// When another process holds it, or it cannot be made.
pub fn hold(storage: &config::Storage) -> Result<File, ServeError> {
    let directory = storage.data_dir.as_path();
    let broken = |error| ServeError::Directory(directory.to_owned(), error);
    make_directory(directory).map_err(broken)?;
    let held = lock(directory)?;
    if storage.url.is_empty() {
        // The database gives its log files its own mode.
        open_private(&directory.join("writ.db")).map_err(broken)?;
    }
    private_files(directory);
    Ok(held)
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Two servers on one directory would each keep half of the state in memory.
fn lock(directory: &Path) -> Result<File, ServeError> {
    let path = directory.join("writ.lock");
    let broken = |error| ServeError::Directory(path.clone(), error);
    let file = open_private(&path).map_err(broken)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServeError::Taken(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(broken(error)),
    }
}

/// Sees to it that only the owner can read what is in the directory, also when the directory was
/// there before and others may enter it.
fn private_files(directory: &Path) {
    #[cfg(unix)]
    for name in [
        "writ.db",
        "writ.db-wal",
        "writ.db-shm",
        "sealing.key",
        "admin.json",
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = directory.join(name);
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        if found.permissions().mode() & 0o077 != 0
            && let Err(error) = fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        {
            // A key that is mounted read-only may still be the right one.
            tracing::warn!(path = %path.display(), %error, "others than the owner can read this");
        }
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
