//! Event types, and the members each may have.

use serde_json::{Map, Value};

/// What a member may be.
#[derive(Clone, Copy, Debug)]
pub enum Member {
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// Whole Unix seconds.
    Time,
    /// An object with at least one member.
    Object,
    /// Texts by BCP 47 language tag, at least one.
    Words,
}

impl Member {
    fn fits(self, value: &Value) -> bool {
        let text = |value: &Value| {
            value
                .as_str()
                .is_some_and(|t| !t.is_empty() && t.len() <= 1000)
        };
        match self {
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Text => text(value),
            Self::Texts => value.as_array().is_some_and(|all| all.iter().all(text)),
            Self::Time => value.as_i64().is_some_and(|time| time > 0),
            Self::Object => value.as_object().is_some_and(|object| !object.is_empty()),
            Self::Words => value
                .as_object()
                .is_some_and(|words| !words.is_empty() && words.values().all(text)),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Text => "a text of at most 1000 bytes".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Time => "whole Unix seconds".to_owned(),
            Self::Object => "an object with at least one member".to_owned(),
            Self::Words => {
                "an object of language tags and texts, for example {'en': '...'}".to_owned()
            }
        }
    }
}

/// One event type.
#[derive(Debug)]
pub struct EventKind {
    /// Its URI.
    pub uri: &'static str,
    required: &'static [(&'static str, Member)],
    optional: &'static [(&'static str, Member)],
}

macro_rules! caep {
    ($name:literal) => {
        concat!(
            "https://schemas.openid.net/secevent/caep/event-type/",
            $name
        )
    };
}

macro_rules! risc {
    ($name:literal) => {
        concat!(
            "https://schemas.openid.net/secevent/risc/event-type/",
            $name
        )
    };
}

macro_rules! ssf {
    ($name:literal) => {
        concat!("https://schemas.openid.net/secevent/ssf/event-type/", $name)
    };
}

/// Members that every CAEP event may have (CAEP §2).
const COMMON: &[(&str, Member)] = &[
    ("event_timestamp", Member::Time),
    (
        "initiating_entity",
        Member::Word(&["admin", "user", "policy", "system"]),
    ),
    ("reason_admin", Member::Words),
    ("reason_user", Member::Words),
];

const CREDENTIALS: Member = Member::Word(&[
    "password",
    "pin",
    "x509",
    "fido2-platform",
    "fido2-roaming",
    "fido-u2f",
    "verifiable-credential",
    "phone-voice",
    "phone-sms",
    "app",
]);
const COMPLIANCE: Member = Member::Word(&["compliant", "not-compliant"]);
const RISK: Member = Member::Word(&["LOW", "MEDIUM", "HIGH"]);

/// Every event type that is sent.
pub const KINDS: &[EventKind] = &[
    EventKind {
        uri: caep!("session-revoked"),
        required: &[],
        optional: &[],
    },
    EventKind {
        uri: caep!("token-claims-change"),
        required: &[("claims", Member::Object)],
        optional: &[],
    },
    EventKind {
        uri: caep!("credential-change"),
        required: &[
            ("credential_type", CREDENTIALS),
            (
                "change_type",
                Member::Word(&["create", "revoke", "update", "delete"]),
            ),
        ],
        optional: &[
            ("friendly_name", Member::Text),
            ("x509_issuer", Member::Text),
            ("x509_serial", Member::Text),
            ("fido2_aaguid", Member::Text),
        ],
    },
    EventKind {
        uri: caep!("assurance-level-change"),
        required: &[("namespace", Member::Text), ("current_level", Member::Text)],
        optional: &[
            ("previous_level", Member::Text),
            ("change_direction", Member::Word(&["increase", "decrease"])),
        ],
    },
    EventKind {
        uri: caep!("device-compliance-change"),
        required: &[
            ("previous_status", COMPLIANCE),
            ("current_status", COMPLIANCE),
        ],
        optional: &[],
    },
    EventKind {
        uri: caep!("risk-level-change"),
        required: &[
            (
                "principal",
                Member::Word(&["USER", "DEVICE", "SESSION", "TENANT", "ORG_UNIT", "GROUP"]),
            ),
            ("current_level", RISK),
        ],
        optional: &[("previous_level", RISK), ("risk_reason", Member::Text)],
    },
    EventKind {
        uri: risc!("account-disabled"),
        required: &[],
        optional: &[("reason", Member::Word(&["hijacking", "bulk-account"]))],
    },
    EventKind {
        uri: risc!("account-enabled"),
        required: &[],
        optional: &[],
    },
    EventKind {
        uri: risc!("account-purged"),
        required: &[],
        optional: &[],
    },
    EventKind {
        uri: risc!("credential-compromise"),
        required: &[("credential_type", CREDENTIALS)],
        optional: &[
            ("event_timestamp", Member::Time),
            ("reason_admin", Member::Words),
            ("reason_user", Member::Words),
        ],
    },
    EventKind {
        uri: risc!("account-credential-change-required"),
        required: &[],
        optional: &[],
    },
    EventKind {
        uri: ssf!("verification"),
        required: &[],
        optional: &[("state", Member::Text)],
    },
    EventKind {
        uri: ssf!("stream-updated"),
        required: &[("status", Member::Word(&["enabled", "paused", "disabled"]))],
        optional: &[("reason", Member::Text)],
    },
];

impl EventKind {
    /// Sessions, that is grants and tokens, are over (CAEP §3.1).
    pub const SESSION_REVOKED: &Self = &KINDS[0];
    /// What a token allows has become less (CAEP §3.2).
    pub const TOKEN_CLAIMS_CHANGE: &Self = &KINDS[1];
    /// A stream works (SSF §8.1.4).
    pub const VERIFICATION: &Self = &KINDS[11];
    /// The status of a stream has changed (SSF §8.1.5).
    pub const STREAM_UPDATED: &Self = &KINDS[12];

    /// The one with this URI, or this last part of it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        KINDS
            .iter()
            .find(|kind| kind.uri == name || kind.name() == name)
    }

    /// The last part of its URI.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.uri.rsplit_once('/').map_or(self.uri, |(_, name)| name)
    }

    /// Whether it concerns streams themselves: nobody asks for it, everybody gets it.
    #[must_use]
    pub fn is_of_the_framework(&self) -> bool {
        self.uri.starts_with(ssf!(""))
    }

    /// Whether it is one of CAEP's, which all may say when, by whom and why.
    #[must_use]
    pub fn says_why(&self) -> bool {
        self.uri.starts_with(caep!(""))
    }

    /// Whether these are members that it may have, and has to.
    ///
    /// # Errors
    /// A sentence for whoever wrote them.
    pub fn check(&self, members: &Map<String, Value>) -> Result<(), String> {
        for (name, _) in self.required {
            if !members.contains_key(*name) {
                return Err(format!("{} needs the member '{name}'", self.name()));
            }
        }
        let common: &[_] = if self.says_why() { COMMON } else { &[] };
        for (name, value) in members {
            let known = self.required.iter().chain(self.optional).chain(common);
            let Some((_, member)) = known.into_iter().find(|(known, _)| known == name) else {
                return Err(format!("{} has no member '{name}'", self.name()));
            };
            if !member.fits(value) {
                return Err(format!("{name}: {}", member.describe()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn constants_are_what_they_say() {
        for (kind, name) in [
            (EventKind::SESSION_REVOKED, "session-revoked"),
            (EventKind::TOKEN_CLAIMS_CHANGE, "token-claims-change"),
            (EventKind::VERIFICATION, "verification"),
            (EventKind::STREAM_UPDATED, "stream-updated"),
        ] {
            assert_eq!(kind.name(), name);
        }
    }

    #[test]
    fn members_are_those_of_the_type() {
        let check = |name, members: Value| {
            let kind = EventKind::by_name(name).unwrap();
            kind.check(members.as_object().unwrap())
        };
        assert_eq!(check("session-revoked", json!({})), Ok(()));
        assert!(check("session-revoked", json!({"scope": "x"})).is_err());
        assert!(check("session-revoked", json!({"event_timestamp": 1.5})).is_err());
        assert!(check("session-revoked", json!({"reason_admin": {}})).is_err());
        assert!(check("session-revoked", json!({"reason_admin": {"en": "x"}})).is_ok());
        assert!(check("credential-change", json!({"credential_type": "password"})).is_err());
        assert!(check("account-disabled", json!({"reason": "boredom"})).is_err());
        assert!(check("account-disabled", json!({"initiating_entity": "admin"})).is_err());
    }
}
