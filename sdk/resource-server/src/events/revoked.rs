//! What an open answer or a running call waits for.

use std::fmt;
use std::sync::Arc;

use super::state::State;
use crate::claims::AccessClaims;

/// Tells when the token of a request is revoked. It is in the request's
/// extensions, where [`events`](crate::ProtectBuilder::events) are received:
///
/// ```
/// use writ_resource::Revoked;
///
/// async fn transfer(revoked: Revoked) -> Result<(), &'static str> {
///     tokio::select! {
///         done = slow_work() => Ok(done),
///         () = revoked.wait() => Err("the access was taken back"),
///     }
/// }
/// # async fn slow_work() {}
/// ```
#[derive(Clone)]
pub struct Revoked {
    state: Arc<State>,
    claims: Arc<AccessClaims>,
}

impl Revoked {
    pub(super) const fn new(state: Arc<State>, claims: Arc<AccessClaims>) -> Self {
        Self { state, claims }
    }

    /// Whether it is by now.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.state.ends(&self.claims)
    }

    /// Waits until the token is revoked; for ever when it is not.
    pub async fn wait(self) {
        let mut changes = self.state.changes();
        while !self.is_revoked() {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Revoked({})", self.claims.jti)
    }
}
