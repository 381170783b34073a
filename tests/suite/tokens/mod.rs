//! Where tokens begin.

mod dpop;
mod subject;
