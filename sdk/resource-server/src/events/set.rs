//! Security event tokens (RFC 8417, SSF 1.0 §4): which are believed.
//!
//! | step | the code of a SET that fails it (RFC 8935 §2.4) |
//! |---|---|
//! | at most 64 KiB, a compact JWS, of this type, with an accepted algorithm | `invalid_request` |
//! | signed by a key of the transmitter | `invalid_key` |
//! | `iss` | `invalid_issuer` |
//! | `aud` | `invalid_audience` |
//! | `iat`, no `exp` and no `sub`, one event, its payload | `invalid_request` |
//! | the `state` of a verification event | `invalid_state` |

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::types;
use crate::claims::{Audience, numeric_date};
use crate::jwks::Jwks;
use crate::jws::{JwsError, Unverified};
use crate::verifier::{VerifyError, signed_claims};

/// The longest SET that is read, bytes.
pub(super) const MAX_SET: usize = 64 * 1024;

/// The longest `jti`, bytes: it is remembered and sent back.
const MAX_JTI: usize = 1024;

/// Seconds a SET may be dated ahead.
pub(super) const AHEAD: i64 = 60;

/// What a payload must say in text (CAEP 1.0 §3, RISC 1.0 §2, SSF 1.0 §8.1.5).
const REQUIRED: [(&str, &[&str]); 6] = [
    (
        types::CREDENTIAL_CHANGE,
        &["credential_type", "change_type"],
    ),
    (
        types::ASSURANCE_LEVEL_CHANGE,
        &["namespace", "current_level"],
    ),
    (
        types::DEVICE_COMPLIANCE_CHANGE,
        &["previous_status", "current_status"],
    ),
    (types::RISK_LEVEL_CHANGE, &["principal", "current_level"]),
    (types::CREDENTIAL_COMPROMISE, &["credential_type"]),
    (types::STREAM_UPDATED, &["status"]),
];

/// Why a SET was not taken. The words are for the transmitter's developer and
/// never quote the SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SetError {
    #[error("the SET is longer than 64 KiB")]
    TooLong,
    #[error("the SET cannot be read: {0}")]
    Jws(JwsError),
    #[error("typ must be secevent+jwt")]
    Type,
    #[error("the signature does not verify with the key that the SET names")]
    Signature,
    #[error("the jwks_uri of the transmitter has no such key")]
    UnknownKey,
    #[error("iss is not the issuer of this stream")]
    Issuer,
    #[error("aud does not name the resource of this stream")]
    Audience,
    #[error("iat is more than a minute ahead")]
    Ahead,
    #[error("{0}")]
    Claims(&'static str),
    #[error("state is not one that was asked for")]
    State,
    /// Nobody's fault: the same SET may be good later.
    #[error("the SET cannot be checked at the moment")]
    Unavailable,
}

impl SetError {
    /// The registered code (RFC 8935 §2.4, SSF 1.0 §8.1.4).
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Signature | Self::UnknownKey => "invalid_key",
            Self::Issuer => "invalid_issuer",
            Self::Audience => "invalid_audience",
            Self::State => "invalid_state",
            Self::TooLong
            | Self::Jws(_)
            | Self::Type
            | Self::Ahead
            | Self::Claims(_)
            | Self::Unavailable => "invalid_request",
        }
    }
}

/// A SET whose signature and claims hold.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) jti: String,
    pub(super) txn: Option<String>,
    pub(super) iat: i64,
    /// When it happened.
    pub(super) at: i64,
    pub(super) sub_id: Value,
    pub(super) event_type: String,
    pub(super) payload: Map<String, Value>,
}

/// Whose SETs these are, and when they are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) resource: &'a str,
    pub(super) now: i64,
}

/// Checks all that a SET says about itself.
///
/// # Errors
/// [`SetError`], the first thing that is wrong.
pub(super) async fn verify(
    compact: &str,
    jwks: &Arc<Jwks>,
    expected: Expected<'_>,
) -> Result<Set, SetError> {
    let token = Unverified::parse_within(compact, MAX_SET).map_err(|error| match error {
        JwsError::TooLong => SetError::TooLong,
        error => SetError::Jws(error),
    })?;
    // One JWKS signs access tokens too: only this tells them apart (RFC 8725 §3.11).
    if !token.is_typ("secevent+jwt") {
        return Err(SetError::Type);
    }
    let claims: Map<String, Value> =
        signed_claims(jwks, token)
            .await
            .map_err(|error| match error {
                VerifyError::Jws(JwsError::Signature | JwsError::KeyMismatch) => {
                    SetError::Signature
                }
                VerifyError::Jws(error) => SetError::Jws(error),
                VerifyError::UnknownKey => SetError::UnknownKey,
                _ => SetError::Unavailable,
            })?;
    read(claims, expected)
}

fn read(mut claims: Map<String, Value>, expected: Expected<'_>) -> Result<Set, SetError> {
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(SetError::Issuer);
    }
    let for_us = claims
        .get("aud")
        .and_then(|aud| Audience::deserialize(aud).ok())
        .is_some_and(|aud| aud.contains(expected.resource));
    if !for_us {
        return Err(SetError::Audience);
    }
    let iat = date(&claims, "iat")?.ok_or(SetError::Claims("there is no iat"))?;
    if iat > expected.now.saturating_add(AHEAD) {
        return Err(SetError::Ahead);
    }
    // RFC 8417 §2.2 and SSF 1.0 §4.2.3: nobody shall take it for another token.
    if claims.contains_key("exp") || claims.contains_key("sub") {
        return Err(SetError::Claims("exp and sub have no place in a SET"));
    }
    let jti = text(&claims, "jti")?
        .filter(|jti| !jti.is_empty() && jti.len() <= MAX_JTI)
        .ok_or(SetError::Claims("jti must hold 1 to 1024 bytes"))?;
    // Only for people: a revocation is not lost for it.
    let txn = claims.get("txn").and_then(Value::as_str);
    let txn = txn.map(str::to_owned);
    let sub_id = claims.remove("sub_id");
    let sub_id = sub_id
        .filter(Value::is_object)
        .ok_or(SetError::Claims("sub_id must be an object"))?;
    let (event_type, payload) = event(claims.remove("events"))?;
    let at = match date(&payload, "event_timestamp")? {
        Some(stamp) => stamp,
        None => date(&claims, "toe")?.unwrap_or(iat),
    };
    // What is not issued yet is not ended: a time ahead is a mistake.
    let latest = expected.now.max(iat).saturating_add(AHEAD);
    Ok(Set {
        jti,
        txn,
        iat,
        at: at.min(latest),
        sub_id,
        event_type,
        payload,
    })
}

/// The one event (SSF 1.0 §4.2.1).
fn event(events: Option<Value>) -> Result<(String, Map<String, Value>), SetError> {
    let Some(Value::Object(events)) = events else {
        return Err(SetError::Claims("events must be an object"));
    };
    let mut events = events.into_iter();
    let (Some((event_type, payload)), None) = (events.next(), events.next()) else {
        return Err(SetError::Claims("events must hold one event"));
    };
    let Value::Object(payload) = payload else {
        return Err(SetError::Claims("an event must be an object"));
    };
    let fits = REQUIRED
        .iter()
        .filter(|(named, _)| *named == event_type)
        .flat_map(|(_, members)| *members)
        .all(|member| payload.get(*member).is_some_and(Value::is_string));
    if fits {
        Ok((event_type, payload))
    } else {
        Err(SetError::Claims("the event lacks a member of its type"))
    }
}

/// A text that may be left out.
pub(super) fn text(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, SetError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(SetError::Claims("jti, state and scope are text")),
    }
}

/// A time that may be left out.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, SetError> {
    claims
        .get(name)
        .filter(|time| !time.is_null())
        .map(numeric_date)
        .transpose()
        .map_err(|_| SetError::Claims("times are seconds since 1970"))
}
