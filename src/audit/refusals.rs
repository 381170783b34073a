//! Refusals of those who have proved nothing, and how many of them are written down.
//!
//! Each is an event, but strangers must not be able to fill the disk: a tenant has a budget for
//! each minute. What goes beyond it is counted, and one event says how many there were.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// Longest text of a stranger's that is kept, characters.
const LONGEST: usize = 128;

/// Every tenant's budget.
#[derive(Debug)]
pub struct Refusals {
    per_minute: u32,
    tenants: Mutex<HashMap<String, Minute>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    /// Unix minutes.
    at: i64,
    written: u32,
    counted: u64,
}

/// Refusals that were only counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The tenant they happened in.
    pub tenant: String,
    /// When their minute began, Unix milliseconds.
    pub since: i64,
    /// How many.
    pub count: u64,
}

impl Refusals {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            tenants: Mutex::default(),
        }
    }

    /// Whether a refusal of now, Unix milliseconds, is written down, and what is to be said of an
    /// earlier minute.
    #[must_use]
    pub fn spend(&self, tenant: &str, now: i64) -> (bool, Option<Summary>) {
        let mut tenants = self.tenants();
        let minute = tenants.entry(tenant.to_owned()).or_default();
        let at = now.div_euclid(MINUTE);
        let summary = if minute.at == at {
            None
        } else {
            let ended = std::mem::replace(
                minute,
                Minute {
                    at,
                    ..Minute::default()
                },
            );
            ended.summary(tenant)
        };
        let written = minute.written < self.per_minute;
        if written {
            minute.written += 1;
        } else {
            minute.counted += 1;
        }
        (written, summary)
    }

    /// What is to be said of minutes that have ended by now, and of those under way too when
    /// `now` is `None`.
    #[must_use]
    pub fn ended(&self, now: Option<i64>) -> Vec<Summary> {
        let now = now.map(|now| now.div_euclid(MINUTE));
        let mut tenants = self.tenants();
        let ended = tenants
            .iter_mut()
            .filter(|(_, minute)| now != Some(minute.at));
        ended
            .filter_map(|(tenant, minute)| {
                let summary = minute.summary(tenant);
                minute.counted = 0;
                summary
            })
            .collect()
    }

    /// Counts what could not be said after all.
    pub fn give_back(&self, summary: &Summary) {
        let mut tenants = self.tenants();
        tenants.entry(summary.tenant.clone()).or_default().counted += summary.count;
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<String, Minute>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn summary(&self, tenant: &str) -> Option<Summary> {
        (self.counted > 0).then(|| Summary {
            tenant: tenant.to_owned(),
            since: self.at.saturating_mul(MINUTE),
            count: self.counted,
        })
    }
}

/// What a stranger has sent, short and in printable ASCII.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().take(LONGEST).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_budget_is_counted_and_said_once() {
        let refusals = Refusals::new(2);
        let spend = |now| refusals.spend("default", now);
        assert_eq!(spend(0), (true, None));
        assert_eq!(spend(1), (true, None));
        assert_eq!(spend(2), (false, None));
        assert_eq!(spend(59_999), (false, None));
        // Another tenant has its own.
        assert_eq!(refusals.spend("acme", 2), (true, None));
        let summary = Summary {
            tenant: "default".into(),
            since: 0,
            count: 2,
        };
        assert_eq!(refusals.ended(Some(59_999)), []);
        assert_eq!(spend(60_000), (true, Some(summary.clone())));
        assert_eq!(refusals.ended(Some(120_000)), []);
        refusals.give_back(&summary);
        assert_eq!(refusals.ended(Some(120_000))[0].count, 2);
        assert_eq!(refusals.ended(None), []);
    }

    #[test]
    fn a_clock_that_goes_back_loses_no_count() {
        let refusals = Refusals::new(0);
        assert_eq!(refusals.spend("default", 60_000), (false, None));
        let (written, summary) = refusals.spend("default", 0);
        assert_eq!((written, summary.unwrap().count), (false, 1));
    }

    #[test]
    fn what_strangers_send_is_short_and_printable() {
        assert_eq!(printable("a\u{1b}[2J\n\u{e9}"), "a?[2J??");
        assert_eq!(printable(&"x".repeat(1000)).len(), LONGEST);
    }
}
