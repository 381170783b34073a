//! Proofs that were seen, in memory (RFC 9449 §11.1).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::{AHEAD, Proof};

/// Why a proof is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Seen {
    /// It was used before.
    #[error("the DPoP proof was used before: make a new proof for every request")]
    Before,
    /// It was made before this process began, and nobody here knows whether
    /// it was used then.
    #[error("the DPoP proof is older than this server: make a new one")]
    Perhaps,
    /// There is no room to remember it in.
    #[error("too many DPoP proofs are remembered at the moment")]
    Full,
}

/// Remembers proofs for as long as they would be accepted. When it is full it
/// takes no more: nothing is forgotten that could be used again.
///
/// A proof dated ahead of this server's clock, and used just before a
/// restart, can be taken once more in the few seconds until its date; a
/// server that asks for nonces under a key of its own has no such gap.
#[derive(Debug)]
pub struct Replays {
    began: i64,
    lifetime: i64,
    capacity: usize,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    seen: HashSet<[u8; 32]>,
    /// What can be forgotten after each second.
    until: BTreeMap<i64, Vec<[u8; 32]>>,
}

impl Replays {
    /// A memory that begins now, for proofs that are accepted for `lifetime`
    /// seconds, of which it holds `capacity` (about 100 bytes each).
    #[must_use]
    pub fn new(now: i64, lifetime: i64, capacity: usize) -> Self {
        Self {
            began: now,
            lifetime,
            capacity,
            memory: Mutex::default(),
        }
    }

    /// Takes a proof, once.
    ///
    /// # Errors
    /// [`Seen`]; nothing was remembered then.
    pub fn take(&self, proof: &Proof, now: i64) -> Result<(), Seen> {
        if proof.iat() < self.began {
            return Err(Seen::Perhaps);
        }
        let name = proof.digest();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget_before(now);
        if memory.seen.contains(&name) {
            return Err(Seen::Before);
        }
        if memory.seen.len() >= self.capacity {
            return Err(Seen::Full);
        }
        memory.seen.insert(name);
        // Somewhat longer than it is accepted, since clocks are set back a little.
        let until = proof.iat().saturating_add(self.lifetime + AHEAD);
        memory.until.entry(until).or_default().push(name);
        Ok(())
    }
}

impl Memory {
    fn forget_before(&mut self, now: i64) {
        while let Some(first) = self.until.first_entry() {
            if *first.key() >= now {
                return;
            }
            for name in first.remove() {
                self.seen.remove(&name);
            }
        }
    }
}
