//! How often somebody may try to guess a person's password or second factor.
//!
//! | who tries | at once | then one in |
//! |---|---|---|
//! | an address, for one account | `guesses` | `guess_interval` |
//! | an address, for all accounts | ten times as many | a tenth of that |
//! | everybody, for one account | ten times as many | a tenth of that |
//! | a browser that the person has signed in with, for that account | `guesses` | `guess_interval` |
//!
//! The last is counted by itself and no other counts for it: whatever strangers try, a person gets
//! in with a browser of their own. An account is counted by the name that is typed, whether there
//! is one of that name or not.

use std::{hash::Hash, net::IpAddr};

use super::{network, rate::Rate};
use crate::{
    clock::Clock,
    config,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
};

/// How much more an address, and an account, have than an address for one account.
const MANY: u32 = 10;

/// An attempt to sign in.
#[derive(Clone, Copy, Debug)]
pub struct Guess<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The name that is typed, as names are compared.
    pub account: &'a str,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The browser, when the person has signed in with it before.
    pub device: Option<&'a str>,
}

/// Counts attempts.
#[derive(Debug)]
pub struct Guesses {
    clock: Clock,
    interval: u32,
    /// By account and address, or account and browser.
    pairs: Rate,
    addresses: Rate,
    accounts: Rate,
}

impl Guesses {
    /// As configured.
    #[must_use]
    pub fn new(config: &config::Users, clock: Clock) -> Self {
        let (interval, burst) = (config.guess_interval, config.guesses);
        Self {
            clock,
            interval,
            pairs: Rate::slow(interval, burst),
            addresses: Rate::slow(interval.div_ceil(MANY), burst * MANY),
            accounts: Rate::slow(interval.div_ceil(MANY), burst * MANY),
        }
    }

    /// Counts an attempt before it is looked at, so that many at once are no more than one after
    /// the other.
    ///
    /// # Errors
    /// 429 when there have been too many; what is presented is not looked at then.
    pub fn count(&self, guess: &Guess<'_>) -> Result<()> {
        let now = self.clock.millis();
        // Looked at first: whoever is refused for one of them is not charged for the others.
        let spent = guess.counters(self, |rate, key| rate.is_spent(key, now));
        let refused = spent || guess.counters(self, |rate, key| !rate.admits(key, now));
        if !refused {
            return Ok(());
        }
        let seconds = u64::from(self.interval);
        let words = "There have been too many attempts to sign in: wait a minute and try again.";
        Err(OAuthError::new(ErrorCode::TooMany, words).retry_after(seconds))
    }

    /// An attempt was right, and is not counted.
    pub fn was_right(&self, guess: &Guess<'_>) {
        let now = self.clock.millis();
        guess.counters(self, |rate, key| {
            rate.give_back(key, now);
            false
        });
    }
}

/// Whom something is counted for.
#[derive(Clone, Copy, Hash)]
enum Key<'a> {
    Pair(&'a str, &'a str, Option<IpAddr>),
    Device(&'a str, &'a str, &'a str),
    Address(Option<IpAddr>),
    Account(&'a str, &'a str),
}

impl<'a> Guess<'a> {
    /// Visits every counter of this attempt until `visit` says so; whether it did.
    fn counters(&self, of: &Guesses, mut visit: impl FnMut(&Rate, Key<'a>) -> bool) -> bool {
        let (tenant, account) = (self.tenant, self.account);
        if let Some(device) = self.device {
            return visit(&of.pairs, Key::Device(tenant, account, device));
        }
        let address = self.address.map(network);
        visit(&of.pairs, Key::Pair(tenant, account, address))
            || visit(&of.addresses, Key::Address(address))
            || visit(&of.accounts, Key::Account(tenant, account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses() -> (Guesses, Clock) {
        let clock = Clock::manual(1_800_000_000);
        (
            Guesses::new(&config::Users::default(), clock.clone()),
            clock,
        )
    }

    fn guess(account: &'static str, address: [u8; 4]) -> Guess<'static> {
        Guess {
            tenant: "default",
            account,
            address: Some(address.into()),
            device: None,
        }
    }

    #[test]
    fn an_address_that_guesses_is_slowed_down() {
        let (guesses, clock) = guesses();
        let tried = |guess: &Guess<'_>| (0..50).filter(|_| guesses.count(guess).is_ok()).count();
        let mallory = guess("alice", [192, 0, 2, 1]);
        assert_eq!(tried(&mallory), 10);
        // Alice, from elsewhere.
        assert!(guesses.count(&guess("alice", [192, 0, 2, 2])).is_ok());
        clock.advance(30);
        assert_eq!(tried(&mallory), 1);
    }

    #[test]
    fn many_addresses_get_not_much_further_and_keep_nobody_out() {
        let (guesses, _) = guesses();
        let mut admitted = 0;
        for host in 0..200 {
            let from = guess("alice", [198, 51, 100, host]);
            admitted += (0..10).filter(|_| guesses.count(&from).is_ok()).count();
        }
        assert_eq!(admitted, 100);
        let own = Guess {
            device: Some("hers"),
            ..guess("alice", [198, 51, 100, 1])
        };
        assert!(guesses.count(&own).is_ok());
        assert!(guesses.count(&guess("bob", [192, 0, 2, 9])).is_ok());
    }

    #[test]
    fn who_is_right_is_not_counted() {
        let (guesses, _) = guesses();
        let office = guess("alice", [192, 0, 2, 1]);
        for _ in 0..1000 {
            guesses.count(&office).unwrap();
            guesses.was_right(&office);
        }
        let stolen = Guess {
            device: Some("stolen"),
            ..office
        };
        let tried = (0..50).filter(|_| guesses.count(&stolen).is_ok()).count();
        assert_eq!(tried, 10);
    }
}
