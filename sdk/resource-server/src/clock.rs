//! Where the time comes from: asked for, so that tests can move it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Seconds since 1970.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The clock of the machine.
    #[default]
    System,
    /// A clock that moves when it is told to.
    Manual(ManualClock),
}

impl Clock {
    /// The time now, in seconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        match self {
            Self::System => system_now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Waits until this many seconds have passed.
    pub(crate) async fn sleep(&self, seconds: i64) {
        match self {
            Self::System => {
                tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
            }
            Self::Manual(clock) => clock.reaches(clock.now().saturating_add(seconds)).await,
        }
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self::Manual(clock)
    }
}

/// A clock for tests; every clone shows the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<i64>>);

impl ManualClock {
    /// A clock that stands at `seconds` since 1970.
    #[must_use]
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(watch::Sender::new(seconds)))
    }

    /// The time it shows.
    #[must_use]
    pub fn now(&self) -> i64 {
        *self.0.borrow()
    }

    /// Moves it, backwards when `seconds` is negative.
    pub fn advance(&self, seconds: i64) {
        self.0.send_modify(|now| *now += seconds);
    }

    async fn reaches(&self, seconds: i64) {
        let mut shown = self.0.subscribe();
        // Fails only when the clock is gone, and this is one of its owners.
        let _ = shown.wait_for(|now| *now >= seconds).await;
    }
}

fn system_now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where this crate reads the machine's clock"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |passed| {
            i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
        })
}
