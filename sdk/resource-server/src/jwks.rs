//! The issuer's keys: discovered, kept, and fetched again when a token names
//! one that is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Mutex;
use url::Url;

use crate::clock::Clock;
use crate::discovery::{self, Endpoint, FetchError};
use crate::jws::KeySet;

/// How long keys are fresh when the response does not say.
const DEFAULT_MAX_AGE: i64 = 300;

/// The bounds on what the response says: not so short that every token would
/// cause a fetch, not so long that a withdrawn key stays for days.
const MAX_AGE_BOUNDS: (i64, i64) = (60, 24 * 3600);

/// How long past freshness keys still count while the issuer cannot be reached.
const MAX_STALE: i64 = 24 * 3600;

/// How often a server that has no keys at all yet asks for them.
const FIRST_FETCH_FLOOR: i64 = 1;

/// Where the keys come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Given by the author; never fetched.
    Fixed,
    /// At this address.
    At(Url),
    /// At the address the issuer's metadata names (RFC 8414 §3, OpenID Connect
    /// Discovery 1.0 §4).
    Discovered {
        /// The issuer as configured, compared octet by octet.
        issuer: String,
        /// The same, parsed.
        url: Url,
    },
}

/// The keys as they were fetched last. Readers take a snapshot without a lock;
/// a fetch replaces it whole.
#[derive(Debug)]
pub(crate) struct Jwks {
    source: Source,
    clock: Clock,
    http: reqwest::Client,
    floor: i64,
    snapshot: ArcSwap<Snapshot>,
    /// Held by the one fetch under way.
    fetching: Mutex<Option<Url>>,
    /// How many fetches have ended.
    fetches: AtomicU64,
    /// When the last fetch began, whatever became of it.
    last_fetch: AtomicI64,
    /// Whether the last fetch failed.
    cut_off: AtomicBool,
    renewing: AtomicBool,
}

/// One state of the key set.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) keys: KeySet,
    freshness: Freshness,
}

#[derive(Debug, PartialEq)]
enum Freshness {
    /// No key was ever fetched.
    Never,
    /// Fresh until this second.
    Until(i64),
    /// Fixed keys.
    Always,
}

impl Jwks {
    pub(crate) fn new(
        source: Source,
        fixed: KeySet,
        clock: Clock,
        floor: Duration,
        http: reqwest::Client,
    ) -> Arc<Self> {
        let freshness = match source {
            Source::Fixed => Freshness::Always,
            Source::At(_) | Source::Discovered { .. } => Freshness::Never,
        };
        Arc::new(Self {
            source,
            clock,
            http,
            floor: i64::try_from(floor.as_secs()).unwrap_or(i64::MAX),
            snapshot: ArcSwap::from_pointee(Snapshot {
                keys: fixed,
                freshness,
            }),
            fetching: Mutex::new(None),
            fetches: AtomicU64::new(0),
            last_fetch: AtomicI64::new(i64::MIN),
            cut_off: AtomicBool::new(false),
            renewing: AtomicBool::new(false),
        })
    }

    /// The keys as they are; starts a renewal in the background when they have
    /// aged. `None` when there are none to rely on.
    pub(crate) fn current(self: &Arc<Self>) -> Option<Guard<Arc<Snapshot>>> {
        let snapshot = self.snapshot.load();
        let now = self.clock.now();
        match snapshot.freshness {
            Freshness::Never => None,
            Freshness::Always => Some(snapshot),
            Freshness::Until(end) => {
                if now >= end {
                    self.renew_in_background(now);
                }
                (now < end.saturating_add(MAX_STALE)).then_some(snapshot)
            }
        }
    }

    /// Whether the issuer could not be asked when that was last tried.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Fetches the keys, unless that was done within the floor. Callers that
    /// come while a fetch is under way share it.
    pub(crate) async fn refetch(self: &Arc<Self>) {
        if !self.may_fetch(self.clock.now()) && self.fetching.try_lock().is_ok() {
            return;
        }
        let seen = self.fetches.load(Ordering::Acquire);
        let keys = Arc::clone(self);
        // On a task of its own: a caller that hangs up must not abort the
        // fetch others wait for, and use up the floor with it.
        let fetch = tokio::spawn(async move { keys.fetch_once(seen).await });
        if let Err(error) = fetch.await {
            tracing::error!(%error, "the fetch of the issuer's keys did not finish");
        }
    }

    /// `seen` is how many fetches had ended when the caller looked at the keys.
    async fn fetch_once(&self, seen: u64) {
        let mut jwks_uri = self.fetching.lock().await;
        let now = self.clock.now();
        if self.fetches.load(Ordering::Acquire) != seen || !self.may_fetch(now) {
            return;
        }
        self.last_fetch.store(now, Ordering::Relaxed);
        let fetched = self.fetch(&mut jwks_uri).await;
        self.cut_off.store(fetched.is_err(), Ordering::Release);
        match fetched {
            Ok((keys, max_age)) => {
                tracing::debug!(keys = keys.keys().len(), "fetched the issuer's keys");
                self.snapshot.store(Arc::new(Snapshot {
                    keys,
                    freshness: Freshness::Until(now.saturating_add(max_age)),
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "could not fetch the issuer's keys; what was known before stays");
            }
        }
        self.fetches.fetch_add(1, Ordering::Release);
    }

    fn may_fetch(&self, now: i64) -> bool {
        if matches!(self.source, Source::Fixed) {
            return false;
        }
        let floor = match self.snapshot.load().freshness {
            Freshness::Never => self.floor.min(FIRST_FETCH_FLOOR),
            Freshness::Until(_) | Freshness::Always => self.floor,
        };
        // The distance, not the difference: a clock that was set back must not
        // forbid fetching until it has caught up.
        now.abs_diff(self.last_fetch.load(Ordering::Relaxed)) >= floor.unsigned_abs()
    }

    fn renew_in_background(self: &Arc<Self>, now: i64) {
        if !self.may_fetch(now) || self.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let renewal = Renewal(Arc::clone(self));
        tokio::spawn(async move { renewal.0.refetch().await });
    }

    /// `known_uri` is what discovery found. It is only put back when it worked:
    /// if the address moved, the next fetch looks it up again.
    async fn fetch(&self, known_uri: &mut Option<Url>) -> Result<(KeySet, i64), FetchError> {
        let uri = match (&self.source, known_uri.take()) {
            (Source::Fixed, _) => return Err(FetchError::Fixed),
            (Source::At(uri), _) => uri.clone(),
            (Source::Discovered { .. }, Some(uri)) => uri,
            (Source::Discovered { issuer, url }, None) => {
                discovery::endpoint(&self.http, issuer, url, Endpoint::Keys).await?
            }
        };
        let (body, headers) = discovery::get(&self.http, &uri).await?;
        let max_age = max_age(&headers);
        let keys = KeySet::from_jwks(&body).map_err(|error| FetchError::Keys(error.to_string()))?;
        *known_uri = Some(uri);
        Ok((keys, max_age))
    }
}

/// A renewal in the background; over when this is dropped, also when its task
/// never came to its end.
struct Renewal(Arc<Jwks>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.renewing.store(false, Ordering::Release);
    }
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), within bounds.
fn max_age(headers: &http::HeaderMap) -> i64 {
    headers
        .get_all(http::header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|directive| {
            let (name, value) = directive.trim().split_once('=')?;
            name.eq_ignore_ascii_case("max-age")
                .then(|| value.trim_matches('"').parse::<i64>().ok())?
        })
        .unwrap_or(DEFAULT_MAX_AGE)
        .clamp(MAX_AGE_BOUNDS.0, MAX_AGE_BOUNDS.1)
}
