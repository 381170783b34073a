//! A room: the audit trail, read, judged and handed on.
//!
//! | file | what |
//! |---|---|
//! | [`verify`] | whether every chain is what was written, in pages |
//! | [`select`] | the events that are wanted, in the order of time |
//! | [`truncate`] | its beginning taken away, once it has been judged and delivered |
//! | [`checkpoint`] | what it was at a moment, signed |
//! | [`sinks`] | every event handed on: to a file, a URL, a syslog receiver |

pub mod checkpoint;
pub mod select;
pub mod sinks;
pub mod truncate;
pub mod verify;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{OAuthError, Result};

/// A place to go on from, in text that only this server reads.
fn to_cursor(place: &impl Serialize) -> String {
    // Names and numbers: there is nothing that JSON cannot hold.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

/// Reads what [`to_cursor`] wrote.
///
/// # Errors
/// `invalid_request` for anything else.
fn from_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    place.ok_or_else(|| {
        OAuthError::invalid_request("cursor is not one that an earlier answer has given.")
    })
}
