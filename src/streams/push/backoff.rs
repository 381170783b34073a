//! When to try again.

use std::time::Duration;

use crate::entropy::Entropy;

/// Seconds before each further attempt; the last one is that of all that follow.
const DELAYS: [u64; 7] = [0, 1, 2, 5, 15, 60, 300];
/// Longest that a receiver may ask to be left alone, seconds.
const PATIENCE: u64 = 3600;

/// How long to wait after so many failures in a row, a fifth more or less, so that receivers which
/// went down together do not come back together; and as long as the receiver asked for.
pub(super) fn delay(failures: usize, retry_after: Option<u64>, entropy: &Entropy) -> Duration {
    let last = DELAYS.len() - 1;
    let seconds = DELAYS[failures.saturating_sub(1).min(last)];
    let jitter = u64::from(u16::from_le_bytes(entropy.bytes())) * 400 / u64::from(u16::MAX);
    let own = Duration::from_millis(seconds * (800 + jitter));
    let asked = Duration::from_secs(retry_after.unwrap_or_default().min(PATIENCE));
    own.max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_a_limit_and_honours_what_is_asked() {
        let entropy = Entropy::seeded(1);
        let seconds = |failures| delay(failures, None, &entropy).as_secs_f64();
        assert!(seconds(1) < f64::EPSILON);
        for (failures, around) in [(2, 1.0), (3, 2.0), (6, 60.0), (7, 300.0), (1000, 300.0)] {
            let delay = seconds(failures);
            assert!(
                (delay - around).abs() <= around * 0.2,
                "{failures}: {delay}"
            );
        }
        assert_eq!(delay(1, Some(30), &entropy), Duration::from_secs(30));
        assert_eq!(
            delay(1, Some(u64::MAX), &entropy),
            Duration::from_secs(3600)
        );
    }
}
