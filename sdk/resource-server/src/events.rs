//! Revocations that arrive: the receiver of an OpenID Shared Signals stream
//! (SSF 1.0, CAEP 1.0, RISC 1.0; RFC 8417, RFC 8935, RFC 8936).
//!
//! A token that verifies may have been revoked since. The authorization server
//! says so in a security event token (SET) on a stream of this resource's own,
//! and the next request with such a token is refused, without a question.
//!
//! | file | what it is about |
//! |---|---|
//! | `settings` | what an author says: [`Events`] |
//! | `name` | what its stream is called, so that nobody else takes it |
//! | `transmitter` | discovery, token, finding or creating the stream |
//! | `subscription` | what a receiver does from its start to its end |
//! | `feed`, `poll`, `push` | the three ways SETs arrive; `sse` reads the feed's text |
//! | `set`, `types` | which SETs are believed, and the codes of the others |
//! | `subject` | which tokens a SET is about |
//! | `state`, `seen` | what a SET changes, once |
//! | `deny` | what is denied: looked up for every request |
//! | `health` | whether all of this can be relied on at the moment |
//! | `revoked` | what open answers and running calls wait for |
//!
//! To understand one more event type, add an arm to `State::take`, and what it
//! must say to `set::REQUIRED`.

mod deny;
mod feed;
mod health;
mod name;
mod poll;
mod push;
mod receiver;
mod revoked;
mod seen;
mod set;
mod settings;
mod sse;
mod state;
mod subject;
mod subscription;
mod transmitter;
mod types;

pub use health::{Health, Trouble};
pub use revoked::Revoked;
pub use settings::{Event, Events, Reaction, Revocation, WhenStale};
pub use subject::Subject;

pub(crate) use receiver::{Context, Receiver};
pub(crate) use state::Certainty;
