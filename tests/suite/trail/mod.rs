//! The audit trail, read, judged and handed on.

mod verify;
