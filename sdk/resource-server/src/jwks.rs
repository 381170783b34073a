//! The issuer's keys: discovered, kept, and fetched again when a token names
//! one that is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Host, Url};

use crate::clock::Clock;
use crate::json;
use crate::jws::KeySet;

/// The largest metadata document or JWK Set that is read.
const MAX_DOCUMENT_BYTES: usize = 512 * 1024;

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
            (Source::Discovered { issuer, url }, None) => self.discover(issuer, url).await?,
        };
        let (body, max_age) = self.get(&uri).await?;
        let keys = KeySet::from_jwks(&body).map_err(|error| FetchError::Keys(error.to_string()))?;
        *known_uri = Some(uri);
        Ok((keys, max_age))
    }

    /// The `jwks_uri` of the first metadata document that is the issuer's own.
    async fn discover(&self, issuer: &str, url: &Url) -> Result<Url, FetchError> {
        let mut failure = FetchError::Fixed;
        for document in metadata_urls(url) {
            match self.jwks_uri_in(&document, issuer, url).await {
                Ok(uri) => return Ok(uri),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn jwks_uri_in(
        &self,
        document: &Url,
        issuer: &str,
        url: &Url,
    ) -> Result<Url, FetchError> {
        let (body, _) = self.get(document).await?;
        let metadata: Metadata = json::from_slice(&body)
            .map_err(|_| FetchError::Metadata(document.clone(), "not metadata"))?;
        // RFC 8414 §3.3: identical, or the document belongs to someone else.
        if metadata.issuer != issuer {
            return Err(FetchError::Metadata(document.clone(), "another issuer"));
        }
        let uri = Url::parse(&metadata.jwks_uri)
            .map_err(|_| FetchError::Metadata(document.clone(), "jwks_uri is not a URL"))?;
        if may_name(url, &uri) {
            Ok(uri)
        } else {
            Err(FetchError::Metadata(
                document.clone(),
                "jwks_uri is not https",
            ))
        }
    }

    async fn get(&self, url: &Url) -> Result<(Vec<u8>, i64), FetchError> {
        let failed = |error: reqwest::Error| FetchError::Http(url.clone(), error.without_url());
        let request = self
            .http
            .get(url.clone())
            .header("accept", "application/json");
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(url.clone(), response.status()));
        }
        let max_age = max_age(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(FetchError::TooLarge(url.clone()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, max_age))
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

/// The members of the issuer's metadata this crate reads.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("GET {0}: {1}")]
    Http(Url, reqwest::Error),
    #[error("GET {0} answered {1}")]
    Status(Url, reqwest::StatusCode),
    #[error("GET {0} answered more than {MAX_DOCUMENT_BYTES} octets")]
    TooLarge(Url),
    #[error("{0} is not usable: {1}")]
    Metadata(Url, &'static str),
    #[error("{0}")]
    Keys(String),
    #[error("the keys are fixed")]
    Fixed,
}

/// Whether an issuer's metadata may send us there: to https, and on this
/// machine only when the issuer is here too.
fn may_name(issuer: &Url, uri: &Url) -> bool {
    match (is_loopback(uri), is_loopback(issuer)) {
        (true, here) => here,
        (false, _) => uri.scheme() == "https",
    }
}

/// The client every fetch goes through: no redirects, bounded in time.
pub(crate) fn http_client(
    timeout: Duration,
    peer: &Url,
) -> Result<reqwest::Client, reqwest::Error> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout);
    if is_loopback(peer) {
        // No proxy can reach this machine's own loopback address.
        client.no_proxy().build()
    } else {
        client.build()
    }
}

/// Where an issuer's metadata may be, in the order MCP asks clients to try.
fn metadata_urls(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut forms = vec![
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        forms.push(format!("{path}/.well-known/openid-configuration"));
    }
    forms
        .into_iter()
        .map(|form| {
            let mut url = issuer.clone();
            url.set_path(&form);
            url
        })
        .collect()
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

/// Whether the host is this machine's loopback interface.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// http, which only loopback may use.
pub(crate) fn is_plain_loopback(url: &Url) -> bool {
    url.scheme() == "http" && is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_a_public_issuer_does_not_lead_to_this_machine() {
        let may =
            |issuer: &str, uri: &str| may_name(&issuer.parse().unwrap(), &uri.parse().unwrap());
        assert!(may("https://auth.example", "https://auth.example/jwks"));
        assert!(may("https://auth.example", "https://keys.example/jwks"));
        assert!(!may("https://auth.example", "http://auth.example/jwks"));
        for here in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST"] {
            for scheme in ["http", "https"] {
                let uri = format!("{scheme}://{here}:8080/jwks");
                assert!(!may("https://auth.example", &uri), "{uri}");
                assert!(may("http://127.0.0.1:4455", &uri), "{uri}");
            }
        }
        assert!(!may("http://127.0.0.1:4455", "http://auth.example/jwks"));
        assert!(!may("http://127.0.0.1:4455", "file:///etc/passwd"));
    }
}
