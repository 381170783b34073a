//! Where random bytes, identifiers and secrets come from.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// A source of randomness.
#[derive(Clone, Debug)]
pub enum Entropy {
    /// A cryptographic generator seeded by the operating system.
    Os,
    /// A generator with a fixed seed, so that a test sees the same answer twice.
    Seeded(Arc<Mutex<StdRng>>),
}

impl Entropy {
    /// A generator that always gives the same sequence.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match self {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that asks the system"
            )]
            Self::Os => rand::rng().fill_bytes(&mut bytes),
            Self::Seeded(rng) => {
                rng.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .fill_bytes(&mut bytes);
            }
        }
        bytes
    }

    /// An identifier with nearly 128 random bits, 22 characters of `[A-Za-z0-9_-]`. The first is no
    /// hyphen: on a command line it would begin an option.
    #[must_use]
    pub fn id(&self) -> String {
        loop {
            let id = URL_SAFE_NO_PAD.encode(self.bytes::<16>());
            if !id.starts_with('-') {
                return id;
            }
        }
    }

    /// A bearer string with 256 random bits after a prefix that tells scanners what leaked.
    ///
    /// Only unreserved characters: clients disagree on encoding others in HTTP Basic.
    #[must_use]
    pub fn secret(&self, prefix: &str) -> String {
        let mut secret = String::with_capacity(prefix.len() + 43);
        secret.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(self.bytes::<32>(), &mut secret);
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(Entropy::seeded(7).id(), Entropy::seeded(7).id());
        assert_ne!(Entropy::Os.id(), Entropy::Os.id());
    }

    #[test]
    fn a_hundred_thousand_secrets_do_not_repeat() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100_000 {
            assert!(seen.insert(Entropy::Os.secret("writ_cs_")));
        }
    }
}
