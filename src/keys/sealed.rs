//! Private keys at rest: AES-256-GCM under a key that never enters the database.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::KeyError;
use crate::entropy::Entropy;

/// Seals and opens private keys, and derives keys that every node has without storing them.
pub struct Sealer {
    cipher: LessSafeKey,
    root: Prk,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer with this 256-bit key.
    ///
    /// # Errors
    /// Never for 32 bytes; the library's type says it may.
    pub fn new(key: &[u8; 32]) -> Result<Self, KeyError> {
        let root = Salt::new(HKDF_SHA256, b"writ").extract(key);
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| KeyError::Sealing)?;
        Ok(Self {
            cipher: LessSafeKey::new(key),
            root,
        })
    }

    /// The key for one purpose (RFC 5869): the same wherever the sealing key is the same, and of
    /// no use in finding another purpose's.
    ///
    /// # Errors
    /// Never for 32 bytes; the library's type says it may.
    pub fn derive(&self, purpose: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        self.root
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *key))
            .map_err(|_| KeyError::Sealing)?;
        Ok(key)
    }

    /// The sealer whose key is in `path`; the file is made on first use, readable by its owner.
    ///
    /// # Errors
    /// When the file cannot be read or written, or does not hold a key.
    pub fn from_file(path: &Path, entropy: &Entropy) -> Result<Self, KeyError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = Zeroizing::new(STANDARD.encode(entropy.bytes::<32>()) + "\n");
                write_private(path, text.as_bytes())
                    .map_err(|e| KeyError::File(path.display().to_string(), e))?;
                text
            }
            Err(error) => return Err(KeyError::File(path.display().to_string(), error)),
        };
        Self::from_text(&text, path)
    }

    /// The sealer with the key in the text of `path`.
    ///
    /// # Errors
    /// When it does not hold a key.
    pub fn from_text(text: &str, path: &Path) -> Result<Self, KeyError> {
        let other = || KeyError::NotASealingKey(path.display().to_string());
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| other())?);
        Self::new(bytes.as_slice().try_into().map_err(|_| other())?)
    }

    /// Seals `secret` for the place named by `context`; it opens only there.
    ///
    /// # Errors
    /// When the cipher fails.
    pub fn seal(
        &self,
        secret: &[u8],
        context: &str,
        entropy: &Entropy,
    ) -> Result<Vec<u8>, KeyError> {
        let nonce = entropy.bytes::<NONCE_LEN>();
        let mut sealed = secret.to_vec();
        self.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut sealed,
            )
            .map_err(|_| KeyError::Sealing)?;
        sealed.splice(0..0, nonce);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made for the same context.
    ///
    /// # Errors
    /// When the sealing key is another, or the bytes were changed or moved.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (nonce, body) = sealed
            .split_at_checked(NONCE_LEN)
            .ok_or(KeyError::Sealing)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Sealing)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .cipher
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| KeyError::Sealing)?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

/// Writes a file that only its owner can read, and makes it durable, before it gets its name.
///
/// # Errors
/// As the file system says.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = PrivateFile::create(path)?;
    file.write_all(content)?;
    file.finish()
}

/// A file that only its owner can read, before it is whole: it is named `….partial-…` until
/// [`Self::finish`], and removed when that is never reached.
#[derive(Debug)]
pub struct PrivateFile {
    file: fs::File,
    partial: PathBuf,
    path: PathBuf,
}

impl PrivateFile {
    /// A file that is going to be `path`.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        // Where others may write too, nobody can have put a file or a link under this name, and
        // `create_new` would not take it.
        partial.push(format!(".partial-{}", Entropy::Os.id()));
        let partial = PathBuf::from(partial);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        Ok(Self {
            file: options.open(&partial)?,
            partial,
            path: path.to_owned(),
        })
    }

    /// Makes it durable, and then gives it its name.
    ///
    /// # Errors
    /// As the file system says.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        self.partial.clear();
        let directory = match self.path.parent() {
            Some(directory) if directory != Path::new("") => directory,
            _ => Path::new("."),
        };
        fs::File::open(directory)?.sync_all()
    }
}

impl Write for PrivateFile {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.file.write(content)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        if self.partial != Path::new("") {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_in_its_own_place() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let sealed = sealer
            .seal(b"secret", "default/kid-1", &Entropy::seeded(1))
            .unwrap();
        assert_eq!(
            sealer.open(&sealed, "default/kid-1").unwrap().as_slice(),
            b"secret"
        );
        assert!(sealer.open(&sealed, "default/kid-2").is_err());
        assert!(
            Sealer::new(&[8; 32])
                .unwrap()
                .open(&sealed, "default/kid-1")
                .is_err()
        );
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_new_whatever_has_its_names() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "whole").unwrap();
        fs::write(at("key.partial"), "of somebody else").unwrap();
        symlink(at("victim"), at("key")).unwrap();
        write_private(&at("key"), b"secret").unwrap();
        assert_eq!(fs::read(at("key")).unwrap(), b"secret");
        let made = fs::symlink_metadata(at("key")).unwrap();
        assert!(made.is_file());
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(at("victim")).unwrap(), b"whole");
        assert_eq!(fs::read(at("key.partial")).unwrap(), b"of somebody else");

        let unfinished = PrivateFile::create(&at("other")).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
        drop(unfinished);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_derived_key_belongs_to_its_purpose_and_its_sealing_key() {
        let derived = |seed, purpose| *Sealer::new(&[seed; 32]).unwrap().derive(purpose).unwrap();
        assert_eq!(derived(7, "a"), derived(7, "a"));
        assert_ne!(derived(7, "a"), derived(7, "b"));
        assert_ne!(derived(7, "a"), derived(8, "a"));
        assert_ne!(derived(7, "a"), [7; 32]);
    }
}
