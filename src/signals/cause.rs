//! Why something ended, as receivers are told.

use crate::entropy::Entropy;

/// Who began it (CAEP §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// An administrator.
    Admin,
    /// The person concerned, or the client that holds the token.
    User,
    /// A rule.
    Policy,
    /// The server itself.
    System,
}

impl Initiator {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Policy => "policy",
            Self::System => "system",
        }
    }
}

/// Why changes are made together.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The same on everything that receivers are told of it (RFC 8417 §2.2 `txn`).
    pub txn: String,
    /// Who began it.
    pub by: Initiator,
    /// In words for administrators of receivers: nothing personal.
    pub reason: String,
}

impl Cause {
    /// A cause of its own.
    #[must_use]
    pub fn new(entropy: &Entropy, by: Initiator, reason: impl Into<String>) -> Self {
        Self {
            txn: entropy.id(),
            by,
            reason: reason.into(),
        }
    }
}
