//! Where tokens begin.

mod dpop;
