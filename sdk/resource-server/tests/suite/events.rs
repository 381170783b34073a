//! Revocations that arrive (SSF 1.0, CAEP 1.0, RFC 8935, RFC 8936).

mod delivery;
mod doubt;
mod effects;
mod hostile;
mod names;
mod rules;
mod slow;
mod stage;
mod start;
mod transmitter;
mod vectors;
