//! What receivers are told: the words of Shared Signals (SSF 1.0, CAEP 1.0, RISC 1.0), and what
//! follows from a change of state.
//!
//! Nobody who revokes has to think of telling: the journal asks [`consequences::of`] for every
//! change it makes, and writes the answer in the same transaction.

mod cause;
pub mod consequences;
mod draft;
mod kind;
pub mod subject;

pub use self::{
    cause::{Cause, Initiator},
    draft::{Audience, Draft, LASTING, Level, SHORT, happens},
    kind::{EventKind, KINDS, Member},
};
