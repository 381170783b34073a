//! A rate for any number of keys, in memory that does not grow.
//!
//! The generic cell rate algorithm keeps one number for each key: the time at which everything it
//! has asked for so far would be due if it had kept to its rate. Keys live in a table of fixed size
//! and push each other out of it: a flood of addresses only makes the limiter forget some, and
//! whoever is forgotten has its whole burst again. Nobody is refused for what another did, except
//! for one in 256 of those who share a place.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// Places in the table; 256 KiB.
const PLACES: usize = 1 << 15;
/// A place holds eight bits of the key's hash above a time.
const TIME: u32 = 56;
const TIMES: u64 = (1 << TIME) - 1;
const SECOND: u64 = 1_000_000_000;

/// How often something may happen for one key.
#[derive(Debug)]
pub(super) struct Rate {
    places: Box<[AtomicU64]>,
    /// Secret, so that nobody chooses whom to push out.
    hashes: RandomState,
    /// Nanoseconds that one takes at the rate.
    interval: u64,
    /// Nanoseconds of credit.
    burst: u64,
}

impl Rate {
    /// `rate` times a second, after `burst` at once; nothing for a rate of 0.
    pub(super) fn new(rate: u32, burst: u32) -> Option<Self> {
        let interval = SECOND.checked_div(rate.into())?;
        Some(Self::each(interval, burst))
    }

    /// One in this many seconds, after `burst` at once.
    pub(super) fn slow(seconds: u32, burst: u32) -> Self {
        Self::each(SECOND * u64::from(seconds.max(1)), burst)
    }

    fn each(interval: u64, burst: u32) -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            hashes: RandomState::new(),
            interval,
            burst: interval * u64::from(burst.max(1)),
        }
    }

    /// Seconds after which it may be one more, at most.
    pub(super) const fn seconds(&self) -> u64 {
        self.interval.div_ceil(SECOND)
    }

    /// Takes back one that was counted.
    pub(super) fn give_back(&self, key: impl Hash, now: i64) {
        let (place, tag, now) = self.find(key, now);
        let less = |held: u64| {
            let due = (held & TIMES).saturating_sub(self.interval).max(now);
            (held & !TIMES == tag).then_some(tag | due)
        };
        let all = Ordering::Relaxed;
        // Whoever has been pushed out has nothing to be given back.
        let _ = place.fetch_update(all, all, less);
    }

    /// Counts one more, unless it would be too many at `now` (Unix milliseconds).
    pub(super) fn admits(&self, key: impl Hash, now: i64) -> bool {
        let (place, tag, now) = self.find(key, now);
        let count = |held| Some(tag | self.after_one_more(held, tag, now)? & TIMES);
        let (all, mine) = (Ordering::Relaxed, place);
        mine.fetch_update(all, all, count).is_ok()
    }

    /// Whether one more would be too many.
    pub(super) fn is_spent(&self, key: impl Hash, now: i64) -> bool {
        let (place, tag, now) = self.find(key, now);
        let held = place.load(Ordering::Relaxed);
        self.after_one_more(held, tag, now).is_none()
    }

    fn find(&self, key: impl Hash, now: i64) -> (&AtomicU64, u64, u64) {
        let hash = self.hashes.hash_one(key);
        let place = &self.places[hash as usize % PLACES];
        let now = now.cast_unsigned().wrapping_mul(1_000_000) & TIMES;
        (place, hash & !TIMES, now)
    }

    /// When everything would be due, with one more.
    fn after_one_more(&self, held: u64, tag: u64, now: u64) -> Option<u64> {
        let due = if held & !TIMES == tag {
            held & TIMES
        } else {
            0
        };
        // Later than any burst reaches: the clock was set back, or has come round.
        let known = (now..=now + self.burst).contains(&due);
        let next = if known { due } else { now } + self.interval;
        (next - now <= self.burst).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::new(10, 5).unwrap();
        let admitted = |now| (0..100).filter(|_| rate.admits("key", now)).count();
        assert_eq!(admitted(NOW), 5);
        assert!(rate.is_spent("key", NOW));
        assert_eq!(admitted(NOW + 99), 0);
        assert_eq!(admitted(NOW + 100), 1);
        assert_eq!(admitted(NOW + 400), 3);
        assert_eq!(admitted(NOW + 3_600_000), 5);
        assert!(!rate.is_spent("other", NOW));
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        assert!(Rate::new(0, 5).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let rate = Rate::new(1, 3).unwrap();
        while rate.admits("key", NOW) {}
        assert!(rate.admits("key", NOW - 3_600_000));
    }

    #[test]
    fn others_are_not_refused_for_a_flood() {
        let rate = Rate::new(1, 2).unwrap();
        for key in 0..200_000_u32 {
            rate.admits(key, NOW);
        }
        // Whoever comes now shares a place with a few of them at most.
        let refused = (1_000_000..1_010_000_u32).filter(|key| !rate.admits(key, NOW));
        assert!(refused.count() < 200);
    }

    proptest! {
        /// In any stretch of time a key has no more than its burst and what the rate adds.
        #[test]
        fn no_stretch_has_more_than_burst_and_rate(
            rate in 1u32..2000,
            burst in 1u32..50,
            steps in prop::collection::vec(0i64..50, 1..300),
        ) {
            let limit = Rate::new(rate, burst).unwrap();
            let (mut now, mut admitted) = (NOW, Vec::new());
            for step in steps {
                now += step;
                if limit.admits("key", now) {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let most = f64::from(burst) + f64::from(rate) * (to - from) as f64 / 1000.0;
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6 * f64::from(rate));
                }
            }
        }

        /// Whoever keeps to the rate is never refused.
        #[test]
        fn who_keeps_to_the_rate_is_admitted(rate in 1u32..=1000, burst in 1u32..5) {
            let limit = Rate::new(rate, burst).unwrap();
            let pause = 1000_i64.div_euclid(rate.into()) + 1;
            for turn in 0..200 {
                prop_assert!(limit.admits("key", NOW + turn * pause));
            }
        }
    }
}
