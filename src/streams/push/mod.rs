//! Posting SETs to receivers (RFC 8935).
//!
//! Every stream has a courier of its own, so a slow receiver holds up nobody else; within a stream
//! everything goes in order. A SET is done with when its receiver has taken it; until then it is a
//! row of the log, and the stream's place is before it.

mod backoff;
mod courier;
mod farewell;
mod post;
mod progress;
mod shares;
mod verdict;

pub(super) use self::{farewell::farewell, progress::write_down, shares::share_out};
