//! Whether what is known here can be relied on.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a request has to look at. All of it is one word, so that looking is
/// one load: zero means that nothing is denied and, as long as the last proof
/// counts, everything is well.
#[derive(Debug)]
pub(super) struct Attention(AtomicU32);

/// One reason to look further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Flag {
    /// Something is denied.
    Markers = 1,
    /// An event could not be kept, or could not be compared with tokens.
    Doubt = 1 << 1,
    /// Nobody told what was revoked before the start.
    Cold = 1 << 2,
    /// What was revoked before is not here yet.
    Starting = 1 << 3,
    /// Events do not arrive.
    Delivery = 1 << 4,
    /// A verification event did not come back.
    Echo = 1 << 5,
    /// Nobody receives any more.
    Stopped = 1 << 6,
}

/// The word as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(u32);

impl Attention {
    pub(super) const fn new(flag: Flag) -> Self {
        Self(AtomicU32::new(flag as u32))
    }

    /// Whether it was not set before.
    pub(super) fn set(&self, flag: Flag) -> bool {
        self.0.fetch_or(flag as u32, Ordering::AcqRel) & flag as u32 == 0
    }

    pub(super) fn clear(&self, flag: Flag) {
        self.0.fetch_and(!(flag as u32), Ordering::AcqRel);
    }

    pub(super) fn look(&self) -> Look {
        Look(self.0.load(Ordering::Acquire))
    }
}

impl Look {
    pub(super) const fn is_clear(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u32 != 0
    }

    /// The gravest reason not to rely on what is known here.
    pub(super) fn trouble(self) -> Option<Trouble> {
        [
            (Flag::Stopped, Trouble::Stopped),
            (Flag::Starting, Trouble::Starting),
            (Flag::Delivery, Trouble::Unreachable),
            (Flag::Echo, Trouble::NoEcho),
        ]
        .into_iter()
        .find_map(|(flag, trouble)| self.has(flag).then_some(trouble))
    }
}

/// Why it is not known whether a token was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// What was revoked before the start has not all arrived.
    #[error("the revocations of before the start have not all arrived")]
    Starting,
    /// The transmitter cannot be reached, or delivers nothing.
    #[error("the transmitter does not deliver")]
    Unreachable,
    /// A verification event did not come back within ten seconds, or the last
    /// one that did is too old.
    #[error("a verification event did not come back")]
    NoEcho,
    /// An event could not be kept or understood, and may be about any token.
    #[error("an event could not be kept or understood")]
    Doubt,
    /// Nothing will arrive any more; the log says why.
    #[error("no events are received any more")]
    Stopped,
}

/// How the revocations are arriving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Why every token is asked about, or refused, at the moment; nothing when
    /// all is well.
    pub trouble: Option<Trouble>,
    /// Tokens issued before this time, seconds since 1970, are asked about:
    /// nobody told what was revoked before. Ends by itself when they have all
    /// expired.
    pub unknown_before: Option<i64>,
    /// How long the last verification event took from being asked for to
    /// arriving.
    pub lag: Option<Duration>,
    /// When it arrived, seconds since 1970.
    pub verified_at: Option<i64>,
    /// The stream.
    pub stream_id: Option<String>,
    /// How many revocations are remembered.
    pub remembered: usize,
    /// How many SETs have arrived,
    pub received: u64,
    /// how many of them not for the first time,
    pub repeated: u64,
    /// and how many were not believed.
    pub refused: u64,
}
