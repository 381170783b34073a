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
//!
//! A code is much easier to guess than a password, a million to three, and whoever gets to guess
//! one has the password already. So everybody together has twice `guesses` of them for one account
//! at once, and then one in ten times `guess_interval`; an address has one in `guess_interval` for
//! all accounts when its burst is spent.

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
/// Codes that may be wrong for one account at once, at most (NIST SP 800-63B §5.2.2), and seconds
/// after which it may be one more, at most.
const MOST_CODES: (u32, u32) = (100, 3600);

/// What is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A password.
    Password,
    /// The code of a second factor.
    Code,
}

/// An attempt to sign in.
#[derive(Clone, Copy, Debug)]
pub struct Guess<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// What it is about.
    pub secret: Secret,
    /// The name that is typed, as names are compared; for a code the id of the account, so that
    /// whoever guesses passwords uses up nothing of this.
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
    /// By account and address, or account and browser.
    pairs: [Rate; 2],
    addresses: [Rate; 2],
    accounts: [Rate; 2],
}

impl Guesses {
    /// As configured.
    #[must_use]
    pub fn new(config: &config::Users, clock: Clock) -> Self {
        let (interval, burst) = (config.guess_interval, config.guesses);
        Self {
            clock,
            pairs: [(); 2].map(|()| Rate::slow(interval, burst)),
            addresses: [
                Rate::slow(interval.div_ceil(MANY), burst * MANY),
                Rate::slow(interval, burst * MANY),
            ],
            accounts: [
                Rate::slow(interval.div_ceil(MANY), burst * MANY),
                Rate::slow(
                    (interval * MANY).min(MOST_CODES.1),
                    (burst * 2).min(MOST_CODES.0),
                ),
            ],
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
        let spent = guess.first(self, |rate, key| rate.is_spent(key, now));
        let refused = spent.or_else(|| guess.first(self, |rate, key| !rate.admits(key, now)));
        let Some(rate) = refused else {
            return Ok(());
        };
        let words =
            "There have been too many attempts to sign in: wait a few minutes and try again.";
        Err(OAuthError::new(ErrorCode::TooMany, words).retry_after(rate.seconds()))
    }

    /// An attempt was right, and is not counted.
    pub fn was_right(&self, guess: &Guess<'_>) {
        let now = self.clock.millis();
        for (rate, key) in guess.counters(self) {
            rate.give_back(key, now);
        }
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
    /// What this attempt is counted by.
    fn counters<'g>(&self, of: &'g Guesses) -> Vec<(&'g Rate, Key<'a>)> {
        let (tenant, account, kind) = (self.tenant, self.account, self.secret as usize);
        if let Some(device) = self.device {
            return vec![(&of.pairs[kind], Key::Device(tenant, account, device))];
        }
        let address = self.address.map(network);
        vec![
            (&of.pairs[kind], Key::Pair(tenant, account, address)),
            (&of.addresses[kind], Key::Address(address)),
            (&of.accounts[kind], Key::Account(tenant, account)),
        ]
    }

    /// The first rate of them of which that holds; those behind it are not asked.
    fn first<'g>(
        &self,
        of: &'g Guesses,
        holds: impl Fn(&Rate, Key<'a>) -> bool,
    ) -> Option<&'g Rate> {
        let mut counters = self.counters(of).into_iter();
        counters.find_map(|(rate, key)| holds(rate, key).then_some(rate))
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
            secret: Secret::Password,
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
    fn codes_are_fewer_than_passwords() {
        let (guesses, clock) = guesses();
        let tried = || {
            let from = |host| Guess {
                secret: Secret::Code,
                ..guess("alice", [198, 51, 100, host])
            };
            let all = (0..200).flat_map(|host| [from(host); 5]);
            all.filter(|guess| guesses.count(guess).is_ok()).count()
        };
        assert_eq!(tried(), 20);
        let mut day = 0;
        for _ in 0..288 {
            clock.advance(300);
            day += tried();
        }
        assert_eq!(day, 288);
        let own = Guess {
            secret: Secret::Code,
            device: Some("hers"),
            ..guess("alice", [198, 51, 100, 1])
        };
        assert!(guesses.count(&own).is_ok());
        // Passwords are counted apart.
        assert!(guesses.count(&guess("alice", [198, 51, 100, 1])).is_ok());
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
