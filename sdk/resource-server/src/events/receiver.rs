//! The receiver as the rest of the crate knows it.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;
use url::Url;

use super::health::{Flag, Health};
use super::name::Name;
use super::push::Push;
use super::revoked::Revoked;
use super::settings::{Delivery, Events, WhenStale};
use super::state::{Certainty, Parts, State};
use super::subscription::{ECHO, MAX_REPLAY, Subscription, Way};
use super::transmitter::Transmitter;
use super::types;
use crate::claims::AccessClaims;
use crate::clock::Clock;
use crate::introspection::{Introspect, Introspector, basic};
use crate::verifier::{SetupError, VerifyError};

/// The longest that tokens may live, seconds: what a transmitter tells of the
/// past, and some time for clocks that differ.
const MAX_LIFETIME: i64 = MAX_REPLAY - 24 * 3600;

/// The least age of the last proof, seconds.
const MIN_AGE: i64 = 15;

/// Whose events are received, and for what.
pub(crate) struct Context<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) issuer_url: &'a Url,
    pub(crate) resource: &'a str,
    pub(crate) resource_url: &'a Url,
    pub(crate) clock: &'a Clock,
    /// Seconds that tokens are accepted past their end.
    pub(crate) leeway: i64,
    /// The least time between two fetches of keys.
    pub(crate) keys_floor: Duration,
    pub(crate) http: &'a reqwest::Client,
    /// The answers to forget when something is revoked.
    pub(crate) answers: Option<Arc<Introspector>>,
}

/// Receives events for as long as it lives.
pub(crate) struct Receiver {
    state: Arc<State>,
    /// Who is asked when nothing is known.
    pub(crate) fallback: Option<Introspector>,
    push: Option<Arc<Push>>,
    following: Mutex<Following>,
}

/// The task is begun where there is a runtime for it.
enum Following {
    Not(Box<Subscription>),
    Since(Task),
    Never,
}

/// Ends in its own time after this is dropped.
struct Task {
    ended: JoinHandle<()>,
    held: oneshot::Sender<Infallible>,
}

impl Receiver {
    /// `introspector` makes the one that is asked while nothing is known.
    pub(crate) fn new(
        settings: Events,
        context: Context<'_>,
        introspector: impl FnOnce(Introspect) -> Result<Introspector, SetupError>,
    ) -> Result<Self, SetupError> {
        let age = seconds(settings.max_age);
        let lifetime = seconds(settings.token_lifetime);
        if age < MIN_AGE {
            return Err(SetupError::Events("max_age: 15 seconds or more"));
        }
        if !(1..=MAX_LIFETIME).contains(&lifetime) {
            return Err(SetupError::Events("token_lifetime: 1 second to 6 days"));
        }
        let push = match &settings.delivery {
            Delivery::Feed | Delivery::Poll => None,
            Delivery::Push(url) => Some(Arc::new(Push::new(url, context.resource_url)?)),
        };
        if push
            .as_ref()
            .is_some_and(|push| push.url.path() == context.resource_url.path())
        {
            return Err(SetupError::Events("push: the resource itself is there"));
        }
        let way = match (&push, &settings.delivery) {
            (Some(push), _) => Way::Push(Arc::clone(push)),
            (None, Delivery::Poll) => Way::Poll,
            (None, _) => Way::Feed,
        };
        let state = Arc::new(State::new(Parts {
            issuer: context.issuer.to_owned(),
            resource: context.resource.to_owned(),
            clock: context.clock.clone(),
            name: Name::new(settings.instance.as_deref())?,
            lifetime,
            max_age: age,
            leeway: context.leeway,
            keys_floor: context.keys_floor,
            capacity: settings.capacity,
            hooks: settings.hooks,
            answers: context.answers,
        }));
        let mut events: Vec<String> = types::REQUESTED.map(str::to_owned).into();
        events.extend(settings.more_types);
        let subscription = Subscription {
            state: Arc::clone(&state),
            transmitter: Transmitter {
                http: context.http.clone(),
                issuer: context.issuer.to_owned(),
                issuer_url: context.issuer_url.clone(),
                clock: context.clock.clone(),
                authorization: basic(&settings.client_id, &settings.client_secret),
                token_endpoint: OnceCell::new(),
                token: tokio::sync::Mutex::default(),
            },
            way,
            events,
            interval: age - ECHO,
        };
        let fallback = match settings.when_stale {
            WhenStale::Refuse => None,
            WhenStale::Introspect => Some(introspector(Introspect::per_call(
                settings.client_id,
                settings.client_secret,
            ))?),
        };
        Ok(Self {
            state,
            fallback,
            push,
            following: Mutex::new(Following::Not(Box::new(subscription))),
        })
    }

    /// Begins to receive, unless that was done or there is no runtime yet.
    pub(crate) fn start(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut following = self.following();
        match std::mem::replace(&mut *following, Following::Never) {
            Following::Not(subscription) => {
                let (held, closing) = oneshot::channel();
                *following = Following::Since(Task {
                    ended: runtime.spawn(subscription.run(closing)),
                    held,
                });
            }
            begun => *following = begun,
        }
    }

    /// Receives no more, and waits until the stream of a drawn name is deleted.
    pub(crate) async fn close(&self) {
        let following = {
            let mut following = self.following();
            std::mem::replace(&mut *following, Following::Never)
        };
        self.state.attention.set(Flag::Stopped);
        if let Following::Since(Task { ended, held }) = following {
            drop(held);
            // Fails only when it panicked: then there is nothing to wait for.
            let _ = ended.await;
        }
    }

    fn following(&self) -> MutexGuard<'_, Following> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a token that was revoked, leaves it the scope it still has, and
    /// tells whether no more needs to be asked.
    pub(crate) fn judge(&self, claims: &mut AccessClaims) -> Result<Certainty, VerifyError> {
        let certainty = self.state.judge(claims)?;
        if certainty == Certainty::Unknown && self.state.attention.look().has(Flag::Starting) {
            self.start();
        }
        Ok(certainty)
    }

    /// What the author of a handler may wait for.
    pub(crate) fn revoked(&self, claims: &Arc<AccessClaims>) -> Revoked {
        Revoked::new(Arc::clone(&self.state), Arc::clone(claims))
    }

    /// Where SETs are pushed to.
    pub(crate) fn push_path(&self) -> Option<&str> {
        self.push.as_ref().map(|push| push.url.path())
    }

    /// The answer to a request there.
    pub(crate) async fn pushed<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        match &self.push {
            Some(push) => push.answer(&self.state, request).await,
            None => Response::new(Full::default()),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.state.health()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Receiver")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
