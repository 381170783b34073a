//! The request that is being answered: its id, its trace, where it came from, whose it is.
//!
//! The router makes a [`Request`] for each request and holds it around the answer; whatever runs
//! inside asks [`with`] or [`current`]. Outside a request, in maintenance for example, there is
//! none.

mod trace;

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::extract::MatchedPath;
use ipnet::IpNet;
use tokio::time::Instant;

pub use trace::Trace;

use crate::{
    edge,
    entropy::Entropy,
    registry::{Client, Tenant},
};

tokio::task_local! {
    static CURRENT: Arc<Request>;
}

/// Text of a known length, without an allocation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// As a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of hexadecimal digits here, or checked to be.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Two digits for each byte; bytes beyond `N` digits are left out.
    fn hexadecimal(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'0'; N];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }
}

/// An id that no other request of any server has had: four random bytes of this start, and a
/// count. It names a request in logs and the audit trail; nothing is decided by it.
pub type RequestId = Text<20>;

/// Names requests.
#[derive(Debug)]
pub struct Names {
    start: [u8; 4],
    count: AtomicU64,
}

impl Names {
    /// Names for one start of a server.
    #[must_use]
    pub fn new(entropy: &Entropy) -> Self {
        Self {
            start: entropy.bytes(),
            count: AtomicU64::new(1),
        }
    }

    /// The next one. What a caller sends as `X-Request-Id` is not taken over: two callers may
    /// send the same, and `traceparent` is there to follow a request through several servers.
    fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&self.start);
        bytes[4..].copy_from_slice(&count[2..]);
        Text::hexadecimal(&bytes)
    }
}

/// The other end of the connection a request came on; an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The address of the client: the one place that says which it is. `None` without a connection.
#[must_use]
pub fn client_address<B>(request: &http::Request<B>, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.0.ip();
    Some(edge::client_address(peer, request.headers(), trusted))
}

/// A row of the URL table, as it is written there: `/register/{client_id}`.
#[derive(Clone, Debug, Default)]
pub struct Route(Option<MatchedPath>);

impl Route {
    /// Its text; `none` when no row fits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // What nested tables do with what fits none of their rows is told apart by this.
        let row = self.0.as_ref().map(MatchedPath::as_str);
        row.filter(|row| !row.contains("{*")).unwrap_or("none")
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// What is known of a request besides what it asks for.
#[derive(Debug)]
pub struct Request {
    id: RequestId,
    trace: Trace,
    address: Option<IpAddr>,
    tenant: Option<Arc<Tenant>>,
    began: Instant,
    recorded: bool,
    route: OnceLock<Route>,
    client: OnceLock<Arc<Client>>,
    grant_type: OnceLock<&'static str>,
    commit: OnceLock<(Instant, Instant)>,
}

impl Request {
    /// Of a request that has just come, perhaps through proxies of ours.
    #[must_use]
    pub fn new<B>(
        names: &Names,
        entropy: &Entropy,
        request: &http::Request<B>,
        trusted_proxies: &[IpNet],
    ) -> Self {
        Self {
            id: names.next(),
            trace: Trace::of(request.headers(), entropy),
            address: client_address(request, trusted_proxies),
            tenant: None,
            began: Instant::now(),
            recorded: false,
            route: OnceLock::new(),
            client: OnceLock::new(),
            grant_type: OnceLock::new(),
            commit: OnceLock::new(),
        }
    }

    /// Says whose issuer is asked.
    #[must_use]
    pub fn at(mut self, tenant: Option<Arc<Tenant>>) -> Self {
        self.tenant = tenant;
        self
    }

    /// Says that its trace is recorded.
    #[must_use]
    pub const fn recorded(mut self, recorded: bool) -> Self {
        self.recorded = recorded;
        self
    }

    /// Runs `work` as a part of this request.
    pub fn enter<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// Its id, 20 hexadecimal digits, answered as `X-Request-Id`.
    #[must_use]
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// The trace it is a part of.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Where it came from.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whose issuer is asked, once a path has told.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref().map(Tenant::name)
    }

    /// The same with all that is known of it.
    #[must_use]
    pub const fn tenant_itself(&self) -> Option<&Arc<Tenant>> {
        self.tenant.as_ref()
    }

    /// When it came.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Whether its trace is recorded.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// The route that answers.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route.get().cloned().unwrap_or_default()
    }

    /// The grant type of a token request, when it is one of ours.
    #[must_use]
    pub fn grant_type(&self) -> Option<&'static str> {
        self.grant_type.get().copied()
    }

    /// When its first commit was asked for and made; only of a request that is recorded.
    #[must_use]
    pub fn commit(&self) -> Option<(Instant, Instant)> {
        self.commit.get().copied()
    }

    /// The client, once it is known who it is.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.client.get().map(|client| client.id())
    }
}

/// The request that is being answered.
#[must_use]
pub fn current() -> Option<Arc<Request>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Asks the request that is being answered, if there is one.
pub fn with<T>(ask: impl FnOnce(&Request) -> T) -> Option<T> {
    CURRENT.try_with(|request| ask(request)).ok()
}

/// Notes which route answers.
pub fn answered_by(route: &MatchedPath) {
    with(|request| request.route.set(Route(Some(route.clone()))).is_ok());
}

/// Notes which grant type is asked for, by its name in our list.
pub fn asked_for(grant_type: &'static str) {
    with(|request| request.grant_type.set(grant_type).is_ok());
}

/// Runs a commit, and notes when, for a request that is recorded.
pub async fn committing<T>(commit: impl Future<Output = T>) -> T {
    if with(|request| request.recorded) != Some(true) {
        return commit.await;
    }
    let began = Instant::now();
    let outcome = commit.await;
    with(|request| request.commit.set((began, Instant::now())).is_ok());
    outcome
}

/// Where the request that is being answered came from.
#[must_use]
pub fn address() -> Option<IpAddr> {
    with(Request::address).flatten()
}

/// Notes which client asks: it has proved who it is, or is one that cannot.
pub fn asked_by(client: &Arc<Client>) {
    with(|request| request.client.set(client.clone()).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_have_one_name() {
        let names = Names::new(&Entropy::Os);
        let (one, two) = (names.next(), names.next());
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 20);
        assert!(one.as_str().ends_with("000000000001"));
        assert_eq!(one.as_str()[..8], two.as_str()[..8]);
        assert_ne!(
            one.as_str()[..8],
            Names::new(&Entropy::Os).next().as_str()[..8]
        );
    }

    #[test]
    fn an_address_is_the_connections() {
        let mut request = http::Request::new(());
        assert_eq!(client_address(&request, &[]), None);
        let peer: SocketAddr = "[::ffff:192.0.2.7]:5000".parse().unwrap();
        request.extensions_mut().insert(Peer(peer));
        // An IPv4 peer is the same one on a socket for both.
        assert_eq!(client_address(&request, &[]), Some([192, 0, 2, 7].into()));
    }
}
