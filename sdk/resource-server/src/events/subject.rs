//! Which tokens an event is about (RFC 9493, SSF 1.0 §3).
//!
//! | member | written as | the claim it is compared with |
//! |---|---|---|
//! | simple `iss_sub`, or `user` | `iss_sub` | `sub` |
//! | `application` | `iss_sub` | `client_id`, and every actor of `act` |
//! | `session` | `opaque` | `grant_id` |
//! | simple `jwt_id`, or `session` | `jwt_id` | `jti` |
//! | `tenant` | `opaque` | none: an issuer is one tenant |
//!
//! All members that are there have to hold. One that is in no row is left out
//! of the comparison: too much is revoked then, never too little.

use serde_json::{Map, Value};

use crate::claims::AccessClaims;

/// The longest identifier that is remembered, bytes; more is meant by the
/// subject then.
const MAX_NAME: usize = 8 * 1024;

/// Selects tokens of the issuer; without any member, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    session: Option<Session>,
    user: Option<Box<str>>,
    application: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Session {
    /// A `jti`.
    Token(Box<str>),
    /// A `grant_id`.
    Grant(Box<str>),
}

/// Where a subject is found again from the claims of a token: the narrowest
/// of its members. `S` is borrowed when looking and owned when kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<S> {
    Token(S),
    Grant(S),
    User(S),
    Application(S),
    Everyone,
}

impl papaya::Equivalent<Key<Box<str>>> for Key<&str> {
    fn equivalent(&self, kept: &Key<Box<str>>) -> bool {
        match (self, kept) {
            (Key::Token(one), Key::Token(other))
            | (Key::Grant(one), Key::Grant(other))
            | (Key::User(one), Key::User(other))
            | (Key::Application(one), Key::Application(other)) => *one == &**other,
            (Key::Everyone, Key::Everyone) => true,
            _ => false,
        }
    }
}

impl Subject {
    /// Whether the token with these claims is meant.
    #[must_use]
    pub fn selects(&self, claims: &AccessClaims) -> bool {
        let session = match &self.session {
            None => true,
            Some(Session::Token(jti)) => *claims.jti == **jti,
            Some(Session::Grant(id)) => claims.grant_id.as_deref() == Some(id),
        };
        session
            && self.user.as_deref().is_none_or(|user| claims.sub == user)
            && self
                .application
                .as_deref()
                .is_none_or(|client| takes_part(client, claims))
    }

    /// The one token that is meant, by its `jti`.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match &self.session {
            Some(Session::Token(jti)) => Some(jti),
            _ => None,
        }
    }

    /// The grant that is meant.
    #[must_use]
    pub fn grant(&self) -> Option<&str> {
        match &self.session {
            Some(Session::Grant(id)) => Some(id),
            _ => None,
        }
    }

    /// The `sub` that is meant.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The client that is meant, whether it was issued the token or acts in it.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// Whether one token or grant is meant: what is over does not come back.
    pub(super) const fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// Whether a user is all that it names.
    pub(super) const fn is_user_alone(&self) -> bool {
        self.user.is_some() && self.application.is_none() && self.session.is_none()
    }

    /// The same user's subject, whatever else is said.
    pub(super) fn of_user_alone(self) -> Option<Self> {
        self.user.map(|user| Self {
            user: Some(user),
            ..Self::default()
        })
    }

    pub(super) fn key(&self) -> Key<Box<str>> {
        match (&self.session, &self.user, &self.application) {
            (Some(Session::Token(jti)), _, _) => Key::Token(jti.clone()),
            (Some(Session::Grant(id)), _, _) => Key::Grant(id.clone()),
            (None, Some(user), _) => Key::User(user.clone()),
            (None, None, Some(client)) => Key::Application(client.clone()),
            (None, None, None) => Key::Everyone,
        }
    }
}

/// Every key under which a subject may be that selects this token.
pub(super) fn keys(claims: &AccessClaims) -> impl Iterator<Item = Key<&str>> {
    let own = [
        Some(Key::Token(&*claims.jti)),
        claims.grant_id.as_deref().map(Key::Grant),
        Some(Key::User(&*claims.sub)),
        Some(Key::Application(&*claims.client_id)),
        Some(Key::Everyone),
    ];
    let actors = claims.actors().map(|actor| Key::Application(&*actor.sub));
    own.into_iter().flatten().chain(actors)
}

fn takes_part(client: &str, claims: &AccessClaims) -> bool {
    claims.client_id == client
        || claims.actors().any(|actor| {
            // Another issuer's name for an actor is not this client's.
            actor.sub == client && actor.iss.as_ref().is_none_or(|iss| *iss == claims.iss)
        })
}

/// What a `sub_id` comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// These tokens.
    Tokens(Subject),
    /// These tokens or fewer: something was said that cannot be compared.
    Fewer(Subject),
    /// Tokens of some other issuer.
    Others,
    /// Nothing in it can be compared with a token.
    Unknown,
    /// This member had to be understood (SSF 1.0 §7.1,
    /// `critical_subject_members`) and is not.
    Critical,
}

/// Reads a `sub_id`.
///
/// # Errors
/// Words for what is wrong with it.
pub(super) fn read(
    sub_id: &Value,
    issuer: &str,
    critical: &[String],
) -> Result<Meant, &'static str> {
    let members = sub_id.as_object().ok_or("sub_id is not an object")?;
    let simple = match members.get("format").and_then(Value::as_str) {
        Some("complex") => return complex(members, issuer, critical),
        Some("aliases") => alias(members, issuer)?,
        _ => identifier(sub_id)?,
    };
    Ok(match simple {
        name if name.issuer().is_some_and(|named| named != issuer) => Meant::Others,
        Identifier::IssSub { sub, .. } => Meant::Tokens(Subject {
            user: Some(sub.into()),
            ..Subject::default()
        }),
        Identifier::JwtId { jti, .. } => Meant::Tokens(Subject {
            session: Some(Session::Token(jti.into())),
            ..Subject::default()
        }),
        Identifier::Opaque { .. } | Identifier::Other => Meant::Unknown,
    })
}

/// All members describe one principal (SSF 1.0 §3.2).
fn complex(
    members: &Map<String, Value>,
    issuer: &str,
    critical: &[String],
) -> Result<Meant, &'static str> {
    let mut subject = Subject::default();
    let (mut compared, mut left_out, mut others) = (false, false, false);
    for (name, value) in members.iter().filter(|(name, _)| *name != "format") {
        let identifier = identifier(value)?;
        if matches!(&**name, "user" | "application" | "session") {
            others |= identifier.issuer().is_some_and(|named| named != issuer);
        }
        match (&**name, identifier) {
            ("user", Identifier::IssSub { sub, .. }) => subject.user = Some(sub.into()),
            ("application", Identifier::IssSub { sub, .. }) => {
                subject.application = Some(sub.into());
            }
            ("session", Identifier::Opaque { id }) => {
                subject.session = Some(Session::Grant(id.into()));
            }
            ("session", Identifier::JwtId { jti, .. }) => {
                subject.session = Some(Session::Token(jti.into()));
            }
            ("tenant", Identifier::Opaque { .. }) => {}
            (name, _) if critical.iter().any(|member| member == name) => {
                return Ok(Meant::Critical);
            }
            (name, _) => {
                tracing::warn!(
                    name,
                    "a member of a subject cannot be compared with tokens: more of them are meant"
                );
                left_out = true;
                continue;
            }
        }
        compared = true;
    }
    match (others, compared, left_out) {
        (_, false, false) => Err("a complex subject has no members"),
        (true, _, _) => Ok(Meant::Others),
        (false, true, false) => Ok(Meant::Tokens(subject)),
        (false, true, true) => Ok(Meant::Fewer(subject)),
        (false, false, true) => Ok(Meant::Unknown),
    }
}

/// A simple identifier, as far as it can be compared.
#[derive(Clone, Copy)]
enum Identifier<'a> {
    IssSub { iss: &'a str, sub: &'a str },
    JwtId { iss: &'a str, jti: &'a str },
    Opaque { id: &'a str },
    Other,
}

impl<'a> Identifier<'a> {
    /// Who gave the name, where the format says.
    const fn issuer(self) -> Option<&'a str> {
        match self {
            Self::IssSub { iss, .. } | Self::JwtId { iss, .. } => Some(iss),
            Self::Opaque { .. } | Self::Other => None,
        }
    }
}

fn identifier(value: &Value) -> Result<Identifier<'_>, &'static str> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let format = text("format").ok_or("a subject identifier has no format")?;
    let needed = |name| {
        text(name)
            .filter(|text| !text.is_empty())
            .ok_or("a subject identifier lacks a member of its format")
    };
    if value.as_object().is_some_and(|members| {
        let texts = members.values().filter_map(Value::as_str);
        texts.map(str::len).sum::<usize>() > MAX_NAME
    }) {
        return Ok(Identifier::Other);
    }
    Ok(match format {
        "iss_sub" => Identifier::IssSub {
            iss: needed("iss")?,
            sub: needed("sub")?,
        },
        "jwt_id" => Identifier::JwtId {
            iss: needed("iss")?,
            jti: needed("jti")?,
        },
        "opaque" => Identifier::Opaque { id: needed("id")? },
        "aliases" | "complex" => return Err("a subject identifier is inside another one"),
        _ => Identifier::Other,
    })
}

/// Of several names for one subject, the one that tells most here
/// (RFC 9493 §3.2.8).
fn alias<'a>(
    members: &'a Map<String, Value>,
    issuer: &str,
) -> Result<Identifier<'a>, &'static str> {
    let names = members.get("identifiers").and_then(Value::as_array);
    let names = names
        .filter(|names| !names.is_empty())
        .ok_or("aliases without identifiers")?;
    let names: Vec<_> = names.iter().map(identifier).collect::<Result<_, _>>()?;
    let known = |ours: bool| {
        names
            .iter()
            .find(|name| name.issuer().is_some_and(|named| !ours || named == issuer))
    };
    Ok(known(true)
        .or_else(|| known(false))
        .copied()
        .unwrap_or(Identifier::Other))
}
