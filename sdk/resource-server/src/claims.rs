//! The claims of an access token (RFC 9068 §2.2) and who acts through it
//! (RFC 8693 §4.1).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::json::Name;

/// The last second of the year 9999: later times are mistakes or attacks.
const LATEST: i64 = 253_402_300_799;

/// How long a chain of actors may be to be read at all.
pub const MAX_ACTORS: usize = 16;

/// What an access token says. Reading it checks the shape of every claim;
/// whether it is still valid, and here, is for the verifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccessClaims {
    /// The authorization server that issued it.
    pub iss: String,
    /// Whom it speaks for: a person, or the client itself.
    pub sub: String,
    /// The resources it is meant for.
    pub aud: Audience,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Before when it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The name of this one token.
    pub jti: String,
    /// The client it was issued to.
    pub client_id: String,
    /// What it allows: scope names with single spaces between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The stored grant this token hangs from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// Who is acting for `sub`, the current actor outermost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// Who may act for `sub` (RFC 8693 §4.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_act: Option<Value>,
    /// The key or certificate the token is bound to (RFC 7800 §3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Rich authorization details (RFC 9396 §9.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<Vec<Value>>,
    /// The tenant of the issuer; absent for its default tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Every other claim.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl AccessClaims {
    /// The scope names of the token.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope
            .as_deref()
            .unwrap_or_default()
            .split(' ')
            .filter(|scope| !scope.is_empty())
    }

    /// Whether the token carries exactly this scope (scopes are case-sensitive,
    /// RFC 6749 §3.3).
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|held| held == scope)
    }

    /// The actors from the current one back to the first; empty when nobody
    /// acts for the subject.
    pub fn actors(&self) -> impl Iterator<Item = &Actor> {
        std::iter::successors(self.act.as_ref(), |actor| actor.act.as_deref())
    }

    /// Who makes this call: the current actor, or the client when there is none.
    #[must_use]
    pub fn caller(&self) -> &str {
        self.act
            .as_ref()
            .map_or(&self.client_id, |actor| &actor.sub)
    }
}

/// The `aud` claim: one name or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(Vec<String>);

impl Audience {
    /// Whether this exact name is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|audience| audience == name)
    }

    /// Every name.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl From<&str> for Audience {
    fn from(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl FromIterator<String> for Audience {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [name] => serializer.serialize_str(name),
            names => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AudienceVisitor)
    }
}

struct AudienceVisitor;

impl<'de> Visitor<'de> for AudienceVisitor {
    type Value = Audience;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an audience or a list of audiences")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Audience, E> {
        if name.is_empty() {
            return Err(E::custom("an audience is empty"));
        }
        Ok(name.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Audience, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element::<String>()? {
            if name.is_empty() {
                return Err(A::Error::custom("an audience is empty"));
            }
            names.push(name);
        }
        if names.is_empty() {
            return Err(A::Error::custom("there is no audience"));
        }
        Ok(Audience(names))
    }
}

/// One actor of the `act` chain (RFC 8693 §4.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// The actor.
    pub sub: String,
    /// Whose name for the actor `sub` is, when it is not the token's issuer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Who acted before, and handed on to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Self>>,
    /// Whatever else is said about the actor.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What the sender of a bound token must prove to hold (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Thumbprint of the DPoP key (RFC 9449 §6.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Thumbprint of the client certificate (RFC 8705 §3.1).
    #[serde(default, rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
    /// Every other way to confirm.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Confirmation {
    /// Bound to the DPoP key with this thumbprint, and to nothing else.
    #[must_use]
    pub fn to_key(thumbprint: &str) -> Self {
        Self {
            jkt: Some(thumbprint.to_owned()),
            x5t_s256: None,
            extra: BTreeMap::new(),
        }
    }
}

/// A point in time as tokens write it (RFC 7519 §2, NumericDate): a JSON
/// number, whole or not, between 1970 and the year 9999. Usable in other
/// claim sets with `#[serde(deserialize_with = "numeric_date")]`.
///
/// # Errors
/// For strings, negative numbers, and numbers no clock will show.
pub fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(NumericDateVisitor)
}

struct NumericDateVisitor;

impl Visitor<'_> for NumericDateVisitor {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("seconds since 1970")
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<i64, E> {
        if (0..=LATEST).contains(&seconds) {
            Ok(seconds)
        } else {
            Err(E::custom("a time is out of range"))
        }
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<i64, E> {
        self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<i64, E> {
        if !seconds.is_finite() || seconds.is_sign_negative() {
            return Err(E::custom("a time is out of range"));
        }
        // Saturates past `i64`, which the range check then refuses.
        #[expect(clippy::cast_possible_truncation, reason = "fractions do not count")]
        self.visit_i64(seconds as i64)
    }
}

struct NumericDate(i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        numeric_date(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for AccessClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = AccessClaims;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the claims of an access token")
    }

    // By hand, because a derived reader with `flatten` would buffer every
    // claim, take `null` for absent, and let repeated names pass in `extra`.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<AccessClaims, A::Error> {
        let (mut iss, mut sub, mut aud, mut jti, mut client_id) = (None, None, None, None, None);
        let (mut exp, mut iat, mut nbf) = (None, None, None);
        let (mut scope, mut grant_id, mut tenant) = (None, None, None);
        let (mut act, mut may_act, mut cnf) = (None, None, None);
        let mut authorization_details = None;
        let mut extra = BTreeMap::new();

        while let Some(Name(name)) = members.next_key()? {
            match &*name {
                "iss" => once(&mut iss, &mut members, "iss")?,
                "sub" => once(&mut sub, &mut members, "sub")?,
                "aud" => once(&mut aud, &mut members, "aud")?,
                "exp" => once::<NumericDate, _>(&mut exp, &mut members, "exp")?,
                "iat" => once::<NumericDate, _>(&mut iat, &mut members, "iat")?,
                "nbf" => once::<NumericDate, _>(&mut nbf, &mut members, "nbf")?,
                "jti" => once(&mut jti, &mut members, "jti")?,
                "client_id" => once(&mut client_id, &mut members, "client_id")?,
                "scope" => once(&mut scope, &mut members, "scope")?,
                "grant_id" => once(&mut grant_id, &mut members, "grant_id")?,
                "act" => once(&mut act, &mut members, "act")?,
                "may_act" => once(&mut may_act, &mut members, "may_act")?,
                "cnf" => once(&mut cnf, &mut members, "cnf")?,
                "authorization_details" => once(
                    &mut authorization_details,
                    &mut members,
                    "authorization_details",
                )?,
                "tenant" => once(&mut tenant, &mut members, "tenant")?,
                _ => {
                    let value: Value = members.next_value()?;
                    if extra.insert(name.into_owned(), value).is_some() {
                        return Err(A::Error::custom("a claim is repeated"));
                    }
                }
            }
        }

        let claims = AccessClaims {
            iss: required(iss, "iss")?,
            sub: required(sub, "sub")?,
            aud: aud.ok_or_else(|| A::Error::missing_field("aud"))?,
            exp: exp.ok_or_else(|| A::Error::missing_field("exp"))?.0,
            iat: iat.ok_or_else(|| A::Error::missing_field("iat"))?.0,
            nbf: nbf.map(|NumericDate(seconds)| seconds),
            jti: required(jti, "jti")?,
            client_id: required(client_id, "client_id")?,
            scope,
            grant_id,
            act,
            may_act,
            cnf,
            authorization_details,
            tenant,
            extra,
        };
        if claims.actors().nth(MAX_ACTORS).is_some() {
            return Err(A::Error::custom("the chain of actors is too long"));
        }
        Ok(claims)
    }
}

/// Reads a claim into its place, unless it was there already.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    members: &mut A,
    name: &'static str,
) -> Result<(), A::Error> {
    if place.replace(members.next_value()?).is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    Ok(())
}

/// A claim that RFC 9068 §2.2 demands, and that says something.
fn required<E: serde::de::Error>(claim: Option<String>, name: &'static str) -> Result<String, E> {
    claim
        .filter(|text| !text.is_empty())
        .ok_or_else(|| E::missing_field(name))
}
