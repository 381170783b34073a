//! A stream: what one receiver is told, and how.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
};

use entity::stream as row;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, Notify, oneshot};

use super::{RegistryError, Signal};
use crate::{
    keys::SigningAlgorithm,
    signals::{Audience, EventKind, KINDS, Level, subject},
};

/// Seconds for which events go on after a receiver has asked not to hear of a subject: whoever
/// asked may not have been the receiver (SSF 1.0 §9.3).
const GRACE: i64 = 86_400;

/// Which names for people and tokens a receiver understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubjectStyle {
    /// Tokens, grants and clients too: a resource server of ours.
    Oauth,
    /// People only.
    #[default]
    Plain,
}

/// How SETs reach a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Delivery {
    /// They are posted to it (RFC 8935).
    Push {
        /// Where.
        endpoint_url: String,
    },
    /// It fetches them (RFC 8936), or keeps a feed open.
    Poll,
}

/// A subject that a receiver does not want to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// Which.
    pub subject: Value,
    /// Since when, Unix seconds.
    pub since: i64,
}

/// A stream's stored document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDocument {
    /// `aud`: never changes.
    pub aud: Vec<String>,
    /// References of the resources it is about.
    pub resources: Vec<String>,
    /// Which names the receiver understands.
    pub subjects: SubjectStyle,
    /// What its SETs are signed with.
    pub algorithm: SigningAlgorithm,
    /// How they are delivered.
    pub delivery: Delivery,
    /// What the receiver has asked for, as it said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_requested: Option<Vec<String>>,
    /// The receiver's words for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it was declared with the resource it is about, whatever its receiver has made of
    /// it since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
    /// Whom it does not want to hear of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<Excluded>,
}

impl StreamDocument {
    /// The event types that are sent: those asked for that are known.
    pub fn delivered(&self) -> impl Iterator<Item = &'static EventKind> {
        let requested = self.events_requested.as_deref().unwrap_or_default();
        KINDS
            .iter()
            .filter(|kind| !kind.is_of_the_framework())
            .filter(|kind| requested.iter().any(|uri| uri == kind.uri))
    }
}

/// SSF 1.0 §8.1.2
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// SETs are delivered.
    Enabled,
    /// They are held.
    Paused,
    /// They are thrown away.
    Disabled,
}

impl Status {
    /// The word on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Enabled, Self::Paused, Self::Disabled]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// What of a stream is not stored: it is the same for all versions of it on this node.
#[derive(Debug, Default)]
pub struct Live {
    /// Rung when there may be something for it, or it has changed.
    pub bell: Notify,
    /// The last place that was handed out to polls.
    pub offered: AtomicI64,
    /// When that was, Unix milliseconds.
    pub offered_at: AtomicI64,
    /// How many polls have begun to wait: only the last one goes on.
    pub waiting: AtomicU64,
    /// The feeds that are open, oldest first: one whose other half is let go of here ends.
    pub feeds: std::sync::Mutex<VecDeque<oneshot::Sender<()>>>,
    /// When it was last remembered that its receiver had asked for something, Unix seconds.
    pub active_at: AtomicI64,
    /// When its receiver last asked to be verified, Unix milliseconds.
    pub verified_at: AtomicI64,
    /// Rung when its receiver has shown that it is there.
    pub alive: Notify,
    /// Held while something is posted to it. Whoever stops a stream rings and then waits for this:
    /// afterwards nothing more arrives.
    pub sending: Mutex<()>,
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    row: row::Model,
    document: StreamDocument,
    status: Status,
    delivered: Vec<&'static EventKind>,
    live: Arc<Live>,
}

impl Stream {
    /// Reads a stored stream, which goes on with what this node knows of it.
    ///
    /// # Errors
    /// When the document cannot be read.
    pub fn from_row(row: &row::Model, live: Arc<Live>) -> Result<Self, RegistryError> {
        let broken =
            |why: String| RegistryError::Row("stream", row.id.clone(), row.tenant.clone(), why);
        let document: StreamDocument =
            serde_json::from_str(&row.document).map_err(|error| broken(error.to_string()))?;
        let status = Status::parse(&row.status)
            .ok_or_else(|| broken(format!("status '{}' is not known", row.status)))?;
        Ok(Self {
            delivered: document.delivered().collect(),
            row: row.clone(),
            document,
            status,
            live,
        })
    }

    /// `stream_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.row.id
    }

    /// The receiver.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.row.client_id
    }

    /// The stored row.
    #[must_use]
    pub fn row(&self) -> &row::Model {
        &self.row
    }

    /// What was agreed.
    #[must_use]
    pub fn document(&self) -> &StreamDocument {
        &self.document
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// What this node knows of it beside.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Where its SETs are posted; nothing for one that is polled.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        match &self.document.delivery {
            Delivery::Push { endpoint_url } => Some(endpoint_url),
            Delivery::Poll => None,
        }
    }

    /// Whether SETs are delivered at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.status == Status::Enabled
    }

    /// Whether its receiver is to hear this, at this Unix second.
    #[must_use]
    pub fn concerns(&self, signal: &Signal, now: i64) -> bool {
        if signal.row.expires_at < now {
            return false;
        }
        if let Audience::Stream(id) = &signal.audience {
            return *id == self.row.id;
        }
        if !self.delivered.iter().any(|k| k.uri == signal.kind.uri) {
            return false;
        }
        let ours = match &signal.audience {
            Audience::Resources(references) => {
                let mut ours = self.document.resources.iter();
                ours.any(|reference| references.contains(reference))
            }
            Audience::All | Audience::Stream(_) => true,
        };
        let heard = match self.document.subjects {
            SubjectStyle::Oauth => ours,
            SubjectStyle::Plain => {
                signal.level == Level::Subject && subject::is_plain(&signal.subject)
            }
        };
        heard && !self.excludes(signal, now)
    }

    fn excludes(&self, signal: &Signal, now: i64) -> bool {
        // A resource server that does not hear of an end would go on letting in.
        let vital = self.document.subjects == SubjectStyle::Oauth
            && signal.kind.uri == EventKind::SESSION_REVOKED.uri;
        let mut excluded = self.document.excluded.iter();
        !vital
            && excluded.any(|one| {
                one.since + GRACE <= now && subject::overlap(&one.subject, &signal.subject)
            })
    }
}
