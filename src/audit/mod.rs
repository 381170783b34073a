//! What happened, remembered in order: one hash chain for each tenant and node.
//!
//! An event is a line of JSON: who, what, for which resource and scope, and how it ended. The
//! journal gives it its place in the chain, because only the writer knows the order.

mod chain;
pub mod delivery;
mod heads;
pub mod ocsf;
pub mod refusals;

use serde::Serialize;

pub use self::{
    chain::{Broken, Chain, Head},
    heads::{Chains, KEY_LABEL},
};
use crate::oauth::claims::{Actor, Audience, Confirmation};

/// The reason of the event that a tenant's trail begins with.
pub const FIRST_KEYS: &str = "first keys";

/// Bytes as people compare them: two lower-case digits each.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An access token was issued to a client, for itself or for a person who allowed it.
    TokenIssued,
    /// An access token was issued for another one.
    TokenExchanged,
    /// A client was refused a token.
    TokenRefused,
    /// An access token was revoked.
    TokenRevoked,
    /// Grants were ended, and with them every token that hangs from them.
    GrantsEnded,
    /// Somebody did not prove to be the client they named.
    ClientRefused,
    /// A call of the admin API was refused for which a token was presented.
    AdminRefused,
    /// A registration was refused, of a client or an MCP server, for which a token was presented.
    RegistrationRefused,
    /// Old events were taken away.
    AuditTruncated,
    /// More was refused in a minute than is written down one by one.
    RefusalsCounted,
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
    /// A stream of security events was created, changed or removed, or its status was set.
    StreamChanged,
    /// A call of the stream API was refused for which a token was presented.
    StreamRefused,
    /// An administrator told receivers something.
    EventEmitted,
    /// A person signed in.
    SignedIn,
    /// A person ended sessions.
    SignedOut,
    /// Somebody did not prove to be the person they named.
    SignInRefused,
    /// A person's account or credentials were made, changed or removed.
    UserChanged,
    /// A person has allowed a client something.
    ConsentGiven,
    /// A person has denied a client what it asked for.
    ConsentDenied,
    /// A person has taken back what they had allowed a client.
    ConsentRevoked,
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
            Self::ClientRefused => "client.refused",
            Self::AdminRefused => "admin.refused",
            Self::RegistrationRefused => "registration.refused",
            Self::AuditTruncated => "audit.truncated",
            Self::RefusalsCounted => "refusals.counted",
            Self::ClientChanged => "client.changed",
            Self::ClientRegistered => "client.registered",
            Self::ResourceChanged => "resource.changed",
            Self::ResourceRegistered => "resource.registered",
            Self::KeysRotated => "keys.rotated",
            Self::TenantChanged => "tenant.changed",
            Self::StreamChanged => "stream.changed",
            Self::StreamRefused => "stream.refused",
            Self::EventEmitted => "event.emitted",
            Self::ConsentGiven => "consent.given",
            Self::ConsentDenied => "consent.denied",
            Self::ConsentRevoked => "consent.revoked",
            Self::SignedIn => "user.signed_in",
            Self::SignedOut => "user.signed_out",
            Self::SignInRefused => "sign_in.refused",
            Self::UserChanged => "user.changed",
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
    /// The key the token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<&'a Confirmation>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// What was changed, by its id, or what was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<&'a str>,
    /// What was done to it, or why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<&'a str>,
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
