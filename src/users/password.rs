//! Passwords: hashed with argon2id, or as another server has hashed them until their first use.

use std::{sync::LazyLock, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use scrypt::Scrypt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::{
    app::App,
    entropy::Entropy,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
};

/// Longest password, bytes: whatever is longer is no password.
const LONGEST: usize = 1024;
/// How long somebody waits for their turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The second recommendation of OWASP for argon2id: 19 MiB, two passes, one lane.
fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// How every hash begins that is as good as a new one.
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// What takes as long to check as a password that exists. Nobody knows what it is a hash of.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    let password = Entropy::Os.bytes::<32>();
    hash_now(&password, &Entropy::Os).unwrap_or_default()
});

/// What a password turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another one.
    Wrong,
    /// It.
    Right,
    /// It, and its hash is to be replaced by one of ours.
    RightButOld,
}

/// Hashes a new password.
///
/// # Errors
/// 503 when too many wait.
pub async fn hash(app: &App, password: &str) -> Result<String> {
    let (password, entropy) = (Zeroizing::new(password.to_owned()), app.entropy.clone());
    let hashed = in_turn(app, move || hash_now(password.as_bytes(), &entropy)).await?;
    hashed.ok_or_else(|| OAuthError::server_error("a password cannot be hashed"))
}

/// Checks a password. With no hash to check it against it takes as long, and is wrong.
///
/// # Errors
/// 503 when too many wait.
pub async fn verify(app: &App, stored: Option<String>, password: &str) -> Result<Verdict> {
    let password = Zeroizing::new(password.to_owned());
    in_turn(app, move || match stored {
        Some(stored) => verify_now(&stored, password.as_bytes()),
        None => {
            verify_now(&NOBODY, password.as_bytes());
            Verdict::Wrong
        }
    })
    .await
}

/// Each takes a processor and much memory for a while: only so many at the same time, and none
/// where requests are answered.
async fn in_turn<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let turn = timeout(PATIENCE, app.hashing.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            "Too many people are signing in at the moment: try again in a second.",
        ));
    };
    let working = tokio::task::spawn_blocking(move || {
        // Kept until it is done, even if nobody waits for it any more.
        let _turn = turn;
        work()
    });
    working.await.map_err(OAuthError::server_error)
}

fn hash_now(password: &[u8], entropy: &Entropy) -> Option<String> {
    let hash = argon2()?.hash_password_with_salt(password, &entropy.bytes::<16>());
    Some(hash.ok()?.to_string())
}

fn verify_now(stored: &str, password: &[u8]) -> Verdict {
    if password.len() > LONGEST || !matches(stored, password) {
        Verdict::Wrong
    } else if stored.starts_with(CURRENT) {
        Verdict::Right
    } else {
        Verdict::RightButOld
    }
}

fn matches(stored: &str, password: &[u8]) -> bool {
    match Form::of(stored) {
        Some(Form::Argon2) => {
            let hash = PasswordHash::new(stored);
            hash.is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
        }
        Some(Form::Scrypt) => {
            let hash = PasswordHash::new(stored);
            hash.is_ok_and(|hash| Scrypt::default().verify_password(password, &hash).is_ok())
        }
        Some(Form::ScryptCrypt) => {
            let hash = scrypt::mcf::PasswordHash::new(stored);
            hash.is_ok_and(|hash| Scrypt::default().verify_password(password, &hash).is_ok())
        }
        Some(Form::Bcrypt) => bcrypt::verify(password, stored).unwrap_or(false),
        None => false,
    }
}

/// How a hash is written.
enum Form {
    /// PHC string format: `$argon2id$`, `$argon2i$`, `$argon2d$`.
    Argon2,
    /// PHC string format: `$scrypt$ln=…`.
    Scrypt,
    /// Modular crypt format: `$7$`.
    ScryptCrypt,
    /// Modular crypt format: `$2a$`, `$2b$`, `$2x$`, `$2y$`.
    Bcrypt,
}

impl Form {
    fn of(stored: &str) -> Option<Self> {
        match stored.split('$').nth(1)? {
            "argon2id" | "argon2i" | "argon2d" => Some(Self::Argon2),
            "scrypt" => Some(Self::Scrypt),
            "7" => Some(Self::ScryptCrypt),
            "2a" | "2b" | "2x" | "2y" => Some(Self::Bcrypt),
            _ => None,
        }
    }
}

/// Whether a hash of another server can be taken over, and checked without exhausting this one.
///
/// # Errors
/// What a hash must be.
pub fn check_hash(stored: &str) -> Result<(), String> {
    let phc = |names: [&str; 3]| {
        let hash = PasswordHash::new(stored).ok()?;
        let whole = hash.salt.is_some() && hash.hash.is_some();
        let [one, two, three] = names.map(|name| hash.params.get_decimal(name).map(u64::from));
        whole.then_some([one?, two?, three?])
    };
    let good = match Form::of(stored) {
        Some(Form::Argon2) => phc(["m", "t", "p"]).filter(|[memory, passes, lanes]| {
            // The lanes share the memory.
            *lanes <= 16 && memory.saturating_mul(*passes) <= MOST_ARGON2
        }),
        Some(Form::Scrypt) => phc(["ln", "r", "p"]).filter(is_bounded_scrypt),
        Some(Form::ScryptCrypt) => {
            let readable = scrypt::mcf::PasswordHash::new(stored).is_ok();
            crypt_costs(stored).filter(|costs| readable && is_bounded_scrypt(costs))
        }
        Some(Form::Bcrypt) => {
            let parts = stored.parse::<bcrypt::HashParts>().ok();
            let parts = parts.filter(|parts| parts.get_cost() <= MOST_BCRYPT);
            parts.map(|_| [0; 3])
        }
        None => None,
    };
    good.map(drop).ok_or_else(|| {
        "a password hash is bcrypt ($2b$, cost up to 14), scrypt ($scrypt$ or $7$, N*r*p up to \
         2^20) or argon2 ($argon2id$, m*t up to 2^18 KiB)"
            .into()
    })
}

/// Most memory that is filled for an argon2 hash in all its passes, KiB: about seven times what one
/// of our own takes, and as much as the defaults of other servers need.
const MOST_ARGON2: u64 = 1 << 18;
/// Most blocks of 128 bytes that are mixed for a scrypt hash, N times r times p.
const MOST_SCRYPT: u64 = 1 << 20;
/// Most work for a bcrypt hash, as a power of two.
const MOST_BCRYPT: u32 = 14;

fn is_bounded_scrypt([log, r, p]: &[u64; 3]) -> bool {
    let n = if *log <= 20 { 1 << log } else { u64::MAX };
    n.saturating_mul(*r).saturating_mul(*p) <= MOST_SCRYPT
}

/// `$7$`, then the logarithm of N in one digit, r and p in five each, the lowest first. No more
/// than the lowest is ever needed.
fn crypt_costs(stored: &str) -> Option<[u64; 3]> {
    const DIGITS: &str = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digits = stored.strip_prefix("$7$")?;
    let number = |text: &str| {
        let (lowest, others) = text.split_at_checked(1)?;
        let small = others.bytes().all(|digit| digit == b'.');
        DIGITS.find(lowest).filter(|_| small)
    };
    let at = |from: usize, to: usize| u64::try_from(number(digits.get(from..to)?)?).ok();
    Some([at(0, 1)?, at(1, 6)?, at(6, 11)?])
}

/// Whether somebody may take this as their password.
///
/// # Errors
/// What a password must be.
pub fn check_new(app: &App, password: &str, username: &str) -> Result<(), String> {
    let least = app.config.users.password_length;
    if password.chars().count() < least {
        return Err(format!("A password has at least {least} characters."));
    }
    if password.len() > LONGEST {
        return Err(format!("A password has at most {LONGEST} bytes."));
    }
    if super::account::key(password) == super::account::key(username) {
        return Err("The password must be another text than the user name.".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_its_own_and_no_other() {
        let entropy = Entropy::seeded(1);
        let stored = hash_now(b"correct horse", &entropy).unwrap();
        assert!(stored.starts_with(CURRENT), "{stored}");
        assert_ne!(stored, hash_now(b"correct horse", &entropy).unwrap());
        assert_eq!(verify_now(&stored, b"correct horse"), Verdict::Right);
        assert_eq!(verify_now(&stored, b"correct horsf"), Verdict::Wrong);
        assert_eq!(verify_now(&stored, b""), Verdict::Wrong);
        assert_eq!(verify_now("", b""), Verdict::Wrong);
        assert_eq!(verify_now(&NOBODY, b""), Verdict::Wrong);
    }
}
