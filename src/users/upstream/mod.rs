//! Signing in with another provider: we are its client (OpenID Connect Core §3.1).
//!
//! | file | what it is |
//! |---|---|
//! | [`departure`] | what a browser carries to the provider and back, and where it is sent |
//! | `provider` | the provider's metadata and keys |
//! | `redeem` | from a code to what the provider says of a person |
//! | `id_token` | whether an ID token holds |
//! | [`person`] | from what it says to an account |
//!
//! A client that sends people here has no say in what the provider is asked, and gets nothing
//! because somebody is signed in there (the confused deputy of the MCP security best practices):
//! what it may do is asked on our own page before a browser leaves, each time, because nobody knows
//! yet who will come back. Where a client sends people, only what that page's form leads to sets the
//! cookie that a `state` is bound to, and makes the `state`.

pub mod departure;
mod id_token;
pub mod person;
mod provider;
mod redeem;

use std::borrow::Cow;

pub use self::{
    departure::{Departure, Traveller},
    id_token::Claims,
    redeem::redeem,
};

/// Why nobody is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the person is told.
    pub words: Cow<'static, str>,
    /// What the log and the audit trail are told.
    pub reason: String,
    /// Whether it may go well later.
    pub passing: bool,
}

impl Failure {
    /// The provider has said something that does not hold. What exactly is for the operators.
    fn wrong(reason: impl Into<String>) -> Self {
        Self {
            words: "Its answer does not hold, so you are not signed in. The log of this server \
                    says why."
                .into(),
            reason: reason.into(),
            passing: false,
        }
    }

    /// The provider cannot be reached, or is out of order.
    fn away(reason: impl Into<String>) -> Self {
        Self {
            words: "It does not answer as it should. Try again in a moment.".into(),
            reason: reason.into(),
            passing: true,
        }
    }

    /// The person may not sign in so.
    fn refused(words: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            reason: reason.into(),
            passing: false,
        }
    }
}
