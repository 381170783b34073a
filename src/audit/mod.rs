//! What happened, remembered in order: one hash chain for each tenant and node.
//!
//! An event is a line of JSON: who, what, for which resource and scope, and how it ended. The
//! journal gives it its place in the chain, because only the writer knows the order.

use aws_lc_rs::digest::{Context, SHA256};
use entity::audit_event;
use serde::Serialize;

use crate::oauth::claims::{Actor, Audience};

/// The kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An access token was issued to a client for itself.
    TokenIssued,
    /// An access token was issued for another one.
    TokenExchanged,
    /// An authenticated client was refused a token.
    TokenRefused,
    /// An access token was revoked.
    TokenRevoked,
    /// Grants were ended, and with them every token that hangs from them.
    GrantsEnded,
    /// A client was declared, changed or removed.
    ClientChanged,
    /// A client registered, changed or removed itself.
    ClientRegistered,
    /// A resource was declared, changed or removed.
    ResourceChanged,
    /// An MCP server registered itself.
    ResourceRegistered,
    /// Signing keys were made, activated or retired.
    KeysRotated,
    /// A tenant was created, changed or removed.
    TenantChanged,
}

impl Kind {
    /// The word in the trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenIssued => "token.issued",
            Self::TokenExchanged => "token.exchanged",
            Self::TokenRefused => "token.refused",
            Self::TokenRevoked => "token.revoked",
            Self::GrantsEnded => "grants.ended",
            Self::ClientChanged => "client.changed",
            Self::ClientRegistered => "client.registered",
            Self::ResourceChanged => "resource.changed",
            Self::ResourceRegistered => "resource.registered",
            Self::KeysRotated => "keys.rotated",
            Self::TenantChanged => "tenant.changed",
        }
    }
}

/// One event. Members without a value are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Event<'a> {
    /// The client that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'a str>,
    /// Whom the token speaks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<&'a str>,
    /// Who acts for the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<&'a Actor>,
    /// Resources concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<&'a Audience>,
    /// What was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'a str>,
    /// The grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<&'a str>,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<&'a str>,
    /// What was changed, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<&'a str>,
    /// What was done to it, or why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The request it happened in, as its answer names it in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// The W3C trace of that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
}

/// An event on its way to the journal.
#[derive(Clone, Debug)]
pub struct Record {
    /// The tenant it happened in.
    pub tenant: String,
    /// Unix milliseconds.
    pub at: i64,
    /// What kind.
    pub kind: Kind,
    /// The event as JSON.
    pub event: String,
}

impl Record {
    /// Writes the event down.
    #[must_use]
    pub fn new(tenant: &str, at: i64, kind: Kind, event: &Event<'_>) -> Self {
        // Strings, lists and numbers: there is nothing that JSON cannot hold.
        let event = serde_json::to_string(event).unwrap_or_default();
        Self {
            tenant: tenant.to_owned(),
            at,
            kind,
            event,
        }
    }
}

/// Where a chain stands; before its first row at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Position of the last row.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Head {
    /// The row that follows, and the head moved onto it.
    pub fn append(&mut self, record: Record, node: &str) -> audit_event::Model {
        self.seq += 1;
        self.hash = hash(
            &self.hash,
            self.seq,
            record.at,
            record.kind.as_str(),
            &record.event,
        );
        audit_event::Model {
            tenant: record.tenant,
            node: node.to_owned(),
            seq: self.seq,
            at: record.at,
            kind: record.kind.as_str().to_owned(),
            event: record.event,
            hash: self.hash.to_vec(),
        }
    }

    /// Whether `row` is what follows; the head moves onto it when it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn follow(&mut self, row: &audit_event::Model) -> Result<(), Broken> {
        if row.seq != self.seq + 1 {
            return Err(Broken::Missing {
                expected: self.seq + 1,
                found: row.seq,
            });
        }
        let hash = hash(&self.hash, row.seq, row.at, &row.kind, &row.event);
        if row.hash != hash {
            return Err(Broken::Changed { seq: row.seq });
        }
        *self = Self { seq: row.seq, hash };
        Ok(())
    }
}

/// Why a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Rows are gone, or out of order.
    #[error("row {expected} is missing: {found} follows")]
    Missing {
        /// The next position.
        expected: i64,
        /// What stands there.
        found: i64,
    },
    /// The row is not what was written.
    #[error("row {seq} was changed, or the one before it")]
    Changed {
        /// Its position.
        seq: i64,
    },
}

/// SHA-256 over the previous hash and the row; every part's length is fixed or written.
fn hash(previous: &[u8; 32], seq: i64, at: i64, kind: &str, event: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(&seq.to_be_bytes());
    context.update(&at.to_be_bytes());
    context.update(&(kind.len() as u64).to_be_bytes());
    context.update(kind.as_bytes());
    context.update(event.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<audit_event::Model> {
        let mut head = Head::default();
        (0..3)
            .map(|i| {
                let event = Event {
                    client_id: Some("agent"),
                    ..Event::default()
                };
                head.append(Record::new("default", i, Kind::TokenIssued, &event), "1")
            })
            .collect()
    }

    fn follow(rows: &[audit_event::Model]) -> Result<(), Broken> {
        let mut head = Head::default();
        rows.iter().try_for_each(|row| head.follow(row))
    }

    #[test]
    fn a_chain_that_was_not_touched_holds() {
        assert_eq!(follow(&chain()), Ok(()));
    }

    #[test]
    fn a_changed_removed_or_reordered_row_is_found() {
        let mut changed = chain();
        changed[1].event = changed[1].event.replace("agent", "other");
        assert_eq!(follow(&changed), Err(Broken::Changed { seq: 2 }));
        let mut removed = chain();
        removed.remove(1);
        assert_eq!(
            follow(&removed),
            Err(Broken::Missing {
                expected: 2,
                found: 3
            })
        );
        let mut reordered = chain();
        reordered.swap(0, 1);
        assert!(follow(&reordered).is_err());
    }
}
