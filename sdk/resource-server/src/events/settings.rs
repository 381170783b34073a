//! What an author says about events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::subject::Subject;
use crate::claims::AccessClaims;

/// That revocations shall arrive by themselves, how, and as whom.
///
/// The client is the one the authorization server knows this resource as: the
/// same credentials as for [`Introspect`](crate::Introspect).
///
/// ```
/// use writ_resource::{Events, Protect};
///
/// # fn main() -> Result<(), writ_resource::SetupError> {
/// # let secret = "from-the-environment";
/// let protect = Protect::resource("https://mcp.example/mcp")
///     .issuer("https://auth.example")
///     .tools(["transfer"])
///     .events(Events::with_credentials("rs-bank", secret).push("/.writ/events"))
///     .build()?;
/// # let _ = protect;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Events {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) delivery: Delivery,
    pub(super) instance: Option<String>,
    pub(super) when_stale: WhenStale,
    pub(super) max_age: Duration,
    pub(super) token_lifetime: Duration,
    pub(super) capacity: usize,
    pub(super) more_types: Vec<String>,
    pub(super) hooks: Hooks,
}

/// How SETs get here.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    /// One answer that goes on and on (server-sent events).
    Feed,
    /// RFC 8936.
    Poll,
    /// RFC 8935, to this path or URL.
    Push(String),
}

/// What happens while nobody knows whether a token was revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenStale {
    /// The authorization server is asked about every token (RFC 7662), as the
    /// same client.
    #[default]
    Introspect,
    /// Every request is answered with 503, so that clients keep their tokens.
    Refuse,
}

impl Events {
    /// Receives events as this client, through the feed.
    pub fn with_credentials(
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            delivery: Delivery::Feed,
            instance: None,
            when_stale: WhenStale::default(),
            max_age: Duration::from_secs(70),
            token_lifetime: Duration::from_secs(3600),
            capacity: 100_000,
            more_types: Vec::new(),
            hooks: Hooks::default(),
        }
    }

    /// Through one answer that stays open (server-sent events): the fastest
    /// way for a server without a public address. This is the default.
    pub fn feed(mut self) -> Self {
        self.delivery = Delivery::Feed;
        self
    }

    /// By asking again and again (RFC 8936): for transmitters without a feed,
    /// and networks where no answer stays open.
    pub fn poll(mut self) -> Self {
        self.delivery = Delivery::Poll;
        self
    }

    /// By requests of the transmitter to this server (RFC 8935). A path, such
    /// as `/.writ/events`, is one at the origin of the resource's URL; give
    /// the whole URL when the transmitter reaches this server under another.
    /// The layer answers there itself, to requests that carry a secret it has
    /// made at its start.
    pub fn push(mut self, path_or_url: impl Into<String>) -> Self {
        self.delivery = Delivery::Push(path_or_url.into());
        self
    }

    /// A name for this receiver's stream that stays the same over restarts.
    /// No two receivers may have one name: a stream that is shared gives each
    /// only a part of what is revoked.
    ///
    /// By default the name is the host's and some random digits, and the
    /// stream is deleted by [`Verifier::close`](crate::Verifier::close) and
    /// when the last clone of the verifier is dropped; of a process that
    /// crashed the transmitter deletes it after a time.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = Some(name.into());
        self
    }

    /// What happens while nobody knows whether a token was revoked; asking by
    /// default.
    pub const fn when_stale(mut self, when_stale: WhenStale) -> Self {
        self.when_stale = when_stale;
        self
    }

    /// How old the last proof that events arrive may be before
    /// [`Events::when_stale`] applies; 70 seconds by default, 15 at least. A
    /// verification event is asked for ten seconds before it would be too old.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The longest time between `iat` and `exp` of this resource's tokens; an
    /// hour by default, six days at most. So long a revocation is remembered. A
    /// token that lives longer is always asked about, or refused.
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How many revocations are remembered at a time; 100,000 by default (some
    /// 300 bytes each). When there is no room for one, nothing is forgotten:
    /// [`Events::when_stale`] applies until it would have been.
    pub const fn memory(mut self, revocations: usize) -> Self {
        self.capacity = revocations;
        self
    }

    /// More event types to ask the transmitter for, for [`Events::on_event`].
    pub fn event_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.more_types.extend(types.into_iter().map(Into::into));
        self
    }

    /// What to do about an event that ends no token by itself: a changed
    /// credential, a device that no longer complies, a risk. Must return at
    /// once; it may be called twice for one event.
    pub fn on_event(
        mut self,
        decide: impl Fn(&Event<'_>) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        self.hooks.event = Some(Arc::new(decide));
        self
    }

    /// Is told of each revocation after requests are refused for it, to close
    /// what the layer does not know of. Must return at once; it may be called
    /// twice for one event.
    pub fn on_revoked(mut self, tell: impl Fn(&Revocation) + Send + Sync + 'static) -> Self {
        self.hooks.revoked = Some(Arc::new(tell));
        self
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Events")
            .field("client_id", &self.client_id)
            .field("delivery", &self.delivery)
            .field("when_stale", &self.when_stale)
            .finish_non_exhaustive()
    }
}

/// Whom to call.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    event: Option<Arc<Decide>>,
    revoked: Option<Arc<Tell>>,
}

type Decide = dyn Fn(&Event<'_>) -> Reaction + Send + Sync;
type Tell = dyn Fn(&Revocation) + Send + Sync;

impl Hooks {
    pub(super) fn decide(&self, event: &Event<'_>) -> Reaction {
        let Some(decide) = &self.event else {
            return Reaction::Nothing;
        };
        guarded(|| decide(event)).unwrap_or(Reaction::Nothing)
    }

    pub(super) fn tell(&self, revocation: &Revocation) {
        if let Some(tell) = &self.revoked {
            guarded(|| tell(revocation));
        }
    }
}

/// The author's code: its panic must not cost the events after this one.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    if called.is_err() {
        tracing::error!("a hook for events panicked");
    }
    called.ok()
}

/// An event that ends no token by itself.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its type, a URI.
    pub event_type: &'a str,
    /// Whom it is about (RFC 9493).
    pub sub_id: &'a Value,
    /// What it says.
    pub payload: &'a Map<String, Value>,
    /// When it happened, in seconds since 1970.
    pub at: i64,
    /// The name of the SET; the same when it arrives again.
    pub jti: &'a str,
    /// What all events of one cause have in common.
    pub txn: Option<&'a str>,
}

/// What an author wants done about an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing here.
    Nothing,
    /// Every token of its subject that was issued until then is refused.
    EndTokens,
}

/// Tokens that are refused from now on.
#[derive(Clone, Debug)]
pub struct Revocation {
    pub(super) subject: Subject,
    pub(super) cut_off: Option<i64>,
    pub(super) event_type: String,
    pub(super) jti: String,
    pub(super) txn: Option<String>,
}

impl Revocation {
    /// Whether the token with these claims is one of them.
    #[must_use]
    pub fn ends(&self, claims: &AccessClaims) -> bool {
        self.cut_off.is_none_or(|last| claims.iat <= last) && self.subject.selects(claims)
    }

    /// Whose tokens they are.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Only tokens with an `iat` until then, seconds since 1970; all of them
    /// when there is none.
    #[must_use]
    pub const fn cut_off(&self) -> Option<i64> {
        self.cut_off
    }

    /// The type of the event that said so.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The name of the SET.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// What all events of one cause have in common.
    #[must_use]
    pub fn txn(&self) -> Option<&str> {
        self.txn.as_deref()
    }
}
