//! One SET (RFC 8417): made when it is sent, so that a key which has been rotated since is no
//! trouble. Its `jti` stays the same however often that is.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    clients::digest_of,
    keys::KeyError,
    registry::{Signal, Stream, Tenant},
};

/// `typ` of a SET (RFC 8417 §2.3).
const TYP: &str = "secevent+jwt";

/// Letters of the digest in a name: 16 bytes, base64url.
const DIGEST: usize = 22;

/// The claims. There is no `exp` and no `sub`: SSF 1.0 §4.1 forbids both.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a [String],
    iat: i64,
    jti: &'a str,
    txn: &'a str,
    sub_id: &'a RawValue,
    events: Events<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    toe: Option<i64>,
}

/// Exactly one event.
struct Events<'a> {
    uri: &'a str,
    members: &'a RawValue,
}

impl Serialize for Events<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.uri, self.members)])
    }
}

/// The name of the SET that tells a stream of a signal: its place, so that an acknowledgement
/// finds it, and a digest that no other stream has.
#[must_use]
pub fn jti(signal: &Signal, stream: &str) -> String {
    let digest = digest_of(format!("{} {stream}", signal.row.id));
    let digest = URL_SAFE_NO_PAD.encode(&digest[..16]);
    // In the order of places as texts too: a poll's answer is an object.
    format!("{:012x}.{digest}", signal.seq())
}

/// The place that the name of a SET says; nothing for what cannot be one.
#[must_use]
pub fn place(jti: &str) -> Option<i64> {
    let (seq, _) = jti
        .split_once('.')
        .filter(|(_, digest)| digest.len() == DIGEST)?;
    i64::from_str_radix(seq, 16).ok().filter(|seq| *seq > 0)
}

/// The signed SET that tells a stream of a signal, with its name; `now` in Unix seconds.
///
/// # Errors
/// When there is no key to sign with.
pub fn mint(
    tenant: &Tenant,
    stream: &Stream,
    signal: &Signal,
    now: i64,
) -> Result<(String, String), KeyError> {
    let jti = jti(signal, stream.id());
    let raw = |text: &str| RawValue::from_string(text.to_owned()).map_err(|_| KeyError::Encoding);
    let (subject, members) = (raw(&signal.row.subject)?, raw(&signal.row.event)?);
    // CAEP events say in themselves when they happened.
    let toe = (!signal.kind.says_why()).then_some(signal.row.at.div_euclid(1000));
    let claims = Claims {
        iss: tenant.issuer(),
        aud: &stream.document().aud,
        iat: now,
        jti: &jti,
        txn: &signal.row.txn,
        sub_id: &subject,
        events: Events {
            uri: signal.kind.uri,
            members: &members,
        },
        toe: toe.filter(|_| !signal.kind.is_of_the_framework()),
    };
    let claims = serde_json::to_vec(&claims).map_err(|_| KeyError::Encoding)?;
    let keys = tenant.keys();
    let signer = keys.signer(stream.document().algorithm)?;
    let set = signer.sign(TYP, &claims)?;
    Ok((jti, set))
}
