//! One thing to tell, before it has its place among the others.

use entity::signal;
use serde_json::{Map, Value, json};

use super::{Cause, EventKind};
use crate::{entropy::Entropy, keys::rotation::LONGEST_TOKEN};

/// Seconds after which nobody needs to hear of tokens that have ended: they have all expired.
pub const SHORT: i64 = LONGEST_TOKEN + 60;
/// Seconds that everything else waits for a receiver that is away.
pub const LASTING: i64 = 7 * 86_400;

/// Whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every receiver of the tenant.
    All,
    /// Those that serve one of these resources, by reference.
    Resources(Vec<String>),
    /// One stream.
    Stream(String),
}

impl Audience {
    /// As it is stored. References hold no spaces and are never `*`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Resources(references) => references.join(" "),
            Self::Stream(id) => id.clone(),
        }
    }

    /// From how it is stored.
    #[must_use]
    pub fn parse(level: Level, text: &str) -> Self {
        match (level, text) {
            (Level::Stream, id) => Self::Stream(id.to_owned()),
            (_, "*") => Self::All,
            (_, references) => {
                let references = references.split(' ').filter(|r| !r.is_empty());
                Self::Resources(references.map(str::to_owned).collect())
            }
        }
    }
}

/// What it is about, which decides who may hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Tokens, grants, clients, a tenant: for resource servers, which know what to make of it.
    Access,
    /// A person or whoever else tokens speak for: for any receiver.
    Subject,
    /// A stream itself.
    Stream,
}

impl Level {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Subject => "subject",
            Self::Stream => "stream",
        }
    }

    /// From how it is stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Access, Self::Subject, Self::Stream]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Whom.
    pub audience: Audience,
    /// What it is about.
    pub level: Level,
    /// The event type.
    pub kind: &'static EventKind,
    /// `sub_id`.
    pub subject: Value,
    /// The event's own members.
    pub members: Map<String, Value>,
    /// How long it waits, seconds.
    pub lifetime: i64,
}

impl Draft {
    /// The end of what a subject names.
    #[must_use]
    pub fn revoked(level: Level, subject: Value, audience: Audience) -> Self {
        Self {
            audience,
            level,
            kind: EventKind::SESSION_REVOKED,
            subject,
            members: Map::new(),
            lifetime: if level == Level::Subject {
                LASTING
            } else {
                SHORT
            },
        }
    }

    /// The row of a tenant, for a cause, at a time in milliseconds; its place comes later.
    #[must_use]
    pub fn row(self, tenant: &str, cause: &Cause, entropy: &Entropy, at: i64) -> signal::Model {
        let mut event = self.members;
        if self.kind.says_why() {
            // Integers only, and always a reason: the CAEP interoperability profile asks for both.
            let moment = event.entry("event_timestamp");
            moment.or_insert(json!(at.div_euclid(1000)));
            let by = event.entry("initiating_entity");
            by.or_insert(json!(cause.by.as_str()));
            let why = event.entry("reason_admin");
            why.or_insert(json!({ "en": cause.reason }));
        }
        signal::Model {
            seq: 0,
            tenant: tenant.to_owned(),
            id: entropy.id(),
            audience: self.audience.to_text(),
            level: self.level.as_str().to_owned(),
            kind: self.kind.uri.to_owned(),
            subject: self.subject.to_string(),
            event: Value::Object(event).to_string(),
            txn: cause.txn.clone(),
            at,
            expires_at: at.div_euclid(1000) + self.lifetime,
        }
    }
}

/// Has what was drafted happen at the moment of its commit, in milliseconds.
///
/// Until then tokens were issued that it must reach. Where other nodes issue them, what ends all
/// tokens until a moment reaches `ahead` seconds further: for so long they may not have heard.
pub fn happens(row: &mut signal::Model, at: i64, ahead: i64) -> Result<(), serde_json::Error> {
    let (drafted, now) = (row.at.div_euclid(1000), at.div_euclid(1000));
    row.at = at;
    row.expires_at += now - drafted;
    let ahead = if ahead > 0 && is_cut_off(row)? {
        ahead
    } else {
        0
    };
    if now + ahead == drafted {
        return Ok(());
    }
    let mut event: Map<String, Value> = serde_json::from_str(&row.event)?;
    // Any other time is somebody's word.
    if let Some(moment) = event.get_mut("event_timestamp").filter(|m| **m == drafted) {
        *moment = json!(now + ahead);
        row.event = Value::Object(event).to_string();
    }
    Ok(())
}

/// Whether it is about what was issued until its time; with a session it is about that one, once
/// and for all.
fn is_cut_off(row: &signal::Model) -> Result<bool, serde_json::Error> {
    let ends = [
        EventKind::SESSION_REVOKED.uri,
        EventKind::TOKEN_CLAIMS_CHANGE.uri,
    ];
    if !ends.contains(&row.kind.as_str()) {
        return Ok(false);
    }
    let subject: Map<String, Value> = serde_json::from_str(&row.subject)?;
    Ok(!subject.contains_key("session"))
}
