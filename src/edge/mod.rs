//! Who is at the other end, and how often they may ask.
//!
//! | limit | counted for | default |
//! |---|---|---|
//! | `client_rate` | a client that has proved who it is | off: an agent may be as fast as the server |
//! | `address_rate` | an address, whatever it asks | off: many agents share one, and a proxy counts better |
//! | `failure_rate` | an address whose clients fail to authenticate | 100/s after 10,000 |
//! | `registration_rate` | an address that registers clients | 10/s after 1,000 |
//! | `document_rate` | an address that names metadata documents which are not here | 5/s after 100 |
//! | `arrival_rate` | an address whose people sign up, or come back from providers | 5/s after 100 |
//!
//! The last four are what strangers can do at no cost of their own. Secrets are random, so nobody
//! guesses one at any rate: the limit on failures saves work, and leaves room for a whole office
//! with a wrong secret, or a test suite. The limit on registrations keeps one address from pushing
//! everybody else's clients out of a full table in less than a quarter of an hour. The limit on
//! documents keeps one address from having this server knock at others' doors, and so does that on
//! arrivals, which also bounds the accounts that one address makes.

mod address;
mod guesses;
mod rate;

use std::net::IpAddr;

use self::rate::Rate;
pub use self::{
    address::client_address,
    guesses::{Guess, Guesses, Secret},
};
use crate::{
    clock::Clock,
    config,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
};

/// The limits on rates. What is off costs nothing and never refuses.
#[derive(Debug)]
pub struct Limits {
    clock: Clock,
    client: Option<Rate>,
    address: Option<Rate>,
    failures: Option<Rate>,
    registrations: Option<Rate>,
    documents: Option<Rate>,
    arrivals: Option<Rate>,
}

impl Limits {
    /// As configured.
    #[must_use]
    pub fn new(config: &config::Limits, clock: Clock) -> Self {
        Self {
            clock,
            client: Rate::new(config.client_rate, config.client_burst),
            address: Rate::new(config.address_rate, config.address_burst),
            failures: Rate::new(config.failure_rate, config.failure_burst),
            registrations: Rate::new(config.registration_rate, config.registration_burst),
            documents: Rate::new(config.document_rate, config.document_burst),
            arrivals: Rate::new(config.arrival_rate, config.arrival_burst),
        }
    }

    /// Counts a request of any kind.
    ///
    /// # Errors
    /// 429 when the address asks too often.
    pub fn request(&self, address: Option<IpAddr>) -> Result<()> {
        self.count(self.address.as_ref(), address.map(network), ADDRESS)
    }

    /// Counts a request of a client. One that proves nothing is counted apart for each address,
    /// so that nobody uses up what another is due.
    ///
    /// # Errors
    /// 429 when the client asks too often.
    pub fn client(&self, tenant: &str, client_id: &str, unproved: Option<IpAddr>) -> Result<()> {
        let key = (tenant, client_id, unproved.map(network));
        self.count(self.client.as_ref(), Some(key), CLIENT)
    }

    /// Whether clients of this address may still try to authenticate.
    ///
    /// # Errors
    /// 429 after too many failures; what is presented is not looked at then.
    pub fn authentication(&self, address: Option<IpAddr>) -> Result<()> {
        match (&self.failures, address) {
            (Some(rate), Some(address)) if rate.is_spent(network(address), self.clock.millis()) => {
                Err(refusal(FAILURES))
            }
            _ => Ok(()),
        }
    }

    /// Counts a failed authentication.
    pub fn failed(&self, address: Option<IpAddr>) {
        // Whoever fails too often is told so by the next attempt.
        let _ = self.count(self.failures.as_ref(), address.map(network), FAILURES);
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// 429 when the address registers too often.
    pub fn registration(&self, address: Option<IpAddr>) -> Result<()> {
        let (rate, key) = (self.registrations.as_ref(), address.map(network));
        self.count(rate, key, REGISTRATIONS)
    }

    /// Counts a fetch of a metadata document.
    ///
    /// # Errors
    /// 429 when the address names too many that are not here.
    pub fn document(&self, address: Option<IpAddr>) -> Result<()> {
        let (rate, key) = (self.documents.as_ref(), address.map(network));
        self.count(rate, key, DOCUMENTS)
    }

    /// Counts somebody who makes an account, or comes back from another provider.
    ///
    /// # Errors
    /// 429 when too many come from the address.
    pub fn arrival(&self, address: Option<IpAddr>) -> Result<()> {
        let (rate, key) = (self.arrivals.as_ref(), address.map(network));
        self.count(rate, key, ARRIVALS)
    }

    fn count(
        &self,
        rate: Option<&Rate>,
        key: Option<impl std::hash::Hash + Copy>,
        words: &'static str,
    ) -> Result<()> {
        match (rate, key) {
            (Some(rate), Some(key)) if !rate.admits(key, self.clock.millis()) => {
                Err(refusal(words))
            }
            _ => Ok(()),
        }
    }
}

const ADDRESS: &str = "Too many requests from this address: slow down.";
const CLIENT: &str =
    "Too many requests from this client: slow down, and use a token until it expires.";
const FAILURES: &str =
    "Too many failed client authentications from this address: check the client's credentials.";
const REGISTRATIONS: &str =
    "Too many registrations from this address: register once and keep the client_id.";
const DOCUMENTS: &str =
    "Too many metadata documents were asked for from this address: keep to one client_id.";
const ARRIVALS: &str =
    "Too many people make an account or sign in from this address: try again in a moment.";

/// RFC 6585 §4: 429 with `Retry-After`, which is one second because no rate is below one.
fn refusal(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::TooMany, words)
}

/// What counts as one address: of IPv6 the network that a provider gives to one customer
/// (RFC 6177 §2), who would have 2^64 addresses otherwise.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn limits(change: impl FnOnce(&mut config::Limits)) -> Limits {
        let mut config = config::Limits::default();
        change(&mut config);
        Limits::new(&config, Clock::manual(1_800_000_000))
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let limits = limits(|c| (c.address_rate, c.address_burst) = (1, 2));
        assert!(limits.request(address("2001:db8::1")).is_ok());
        assert!(limits.request(address("2001:db8::2")).is_ok());
        assert!(limits.request(address("2001:db8::3")).is_err());
        assert!(limits.request(address("2001:db8:0:1::1")).is_ok());
        assert!(limits.request(address("::ffff:192.0.2.1")).is_ok());
        assert!(limits.request(address("192.0.2.1")).is_ok());
        assert!(limits.request(address("192.0.2.1")).is_err());
        assert!(limits.request(None).is_ok());
        limits.clock.advance(1);
        assert!(limits.request(address("192.0.2.1")).is_ok());
    }

    #[test]
    fn a_client_that_proves_nothing_uses_up_only_its_own() {
        let limits = limits(|c| (c.client_rate, c.client_burst) = (1, 1));
        assert!(
            limits
                .client("default", "app", address("192.0.2.1"))
                .is_ok()
        );
        assert!(
            limits
                .client("default", "app", address("192.0.2.1"))
                .is_err()
        );
        assert!(
            limits
                .client("default", "app", address("192.0.2.2"))
                .is_ok()
        );
        assert!(limits.client("default", "agent", None).is_ok());
        assert!(limits.client("acme", "agent", None).is_ok());
        assert!(limits.client("default", "agent", None).is_err());
    }

    #[test]
    fn only_failures_count_as_failures() {
        let limits = limits(|c| (c.failure_rate, c.failure_burst) = (1, 2));
        let from = address("192.0.2.1");
        for _ in 0..10 {
            assert!(limits.authentication(from).is_ok());
        }
        limits.failed(from);
        assert!(limits.authentication(from).is_ok());
        limits.failed(from);
        assert!(limits.authentication(from).is_err());
        assert!(limits.authentication(address("192.0.2.2")).is_ok());
        limits.clock.advance(1);
        assert!(limits.authentication(from).is_ok());
    }

    #[test]
    fn the_defaults_let_a_test_suite_through_and_stop_a_flood() {
        let limits = limits(|_| {});
        let from = address("127.0.0.1");
        for _ in 0..9_999 {
            limits.failed(from);
            limits.registration(from).ok();
        }
        assert!(limits.authentication(from).is_ok());
        assert!(limits.registration(from).is_err());
        for _ in 0..100_000 {
            limits.failed(from);
            assert!(limits.request(from).is_ok());
            assert!(limits.client("default", "bench", None).is_ok());
        }
        assert!(limits.authentication(from).is_err());
    }
}
