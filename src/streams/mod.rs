//! Receivers of security events, their streams, and delivery (SSF 1.0, RFC 8935, RFC 8936).
//!
//! What is told is in [`crate::signals`], and is written with the change that it follows from.
//! Here it is handed out: every stream reads the one log of signals from its own place, and what
//! concerns it is signed at the moment it is sent.

pub mod queue;
pub mod set;
