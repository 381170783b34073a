//! Which key is next, which signs, which only verifies: decided here, without I/O.
//!
//! The next key is always published already, so activating it never surprises a verifier that
//! caches the JWKS. A retired key stays until the longest-lived token it may have signed is over.

use entity::signing_key;

use super::{KeyError, KeyState, SigningAlgorithm, context, generate, jws::Signer, sealed::Sealer};
use crate::entropy::Entropy;

/// The longest lifetime of an access token, plus what a verifier may add to it, in seconds.
pub const LONGEST_TOKEN: i64 = 3600 + 300;

/// What is to be done with the rows of one algorithm.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows to write, new or with a new state.
    pub put: Vec<signing_key::Model>,
    /// Keys to take away.
    pub remove: Vec<String>,
    /// How many new keys to publish as `next`.
    pub generate: usize,
}

/// Why a rotation has to wait.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// Some verifier may not have seen the next key.
    #[error("the next {algorithm} key is published for use in {seconds} seconds")]
    JustPublished {
        /// Which algorithm.
        algorithm: SigningAlgorithm,
        /// How long to wait.
        seconds: i64,
    },
}

/// Activates the next key of one algorithm. `published_for` is how long it must have been out.
///
/// # Errors
/// [`NotYet`] when the next key is younger than that.
pub fn rotate(
    algorithm: SigningAlgorithm,
    rows: &[signing_key::Model],
    now: i64,
    published_for: i64,
) -> Result<Plan, NotYet> {
    let Some(next) = find(algorithm, KeyState::Next, rows) else {
        // A new one is published first; the next call can use it.
        return Ok(Plan {
            generate: 1,
            ..Plan::default()
        });
    };
    let ready = next.published_at + published_for;
    if now < ready {
        return Err(NotYet::JustPublished {
            algorithm,
            seconds: ready - now,
        });
    }
    let mut plan = Plan {
        generate: 1,
        ..Plan::default()
    };
    if let Some(active) = find(algorithm, KeyState::Active, rows) {
        let mut retired = active.clone();
        retired.state = KeyState::Retired.as_str().into();
        retired.remove_at = Some(now + LONGEST_TOKEN);
        plan.put.push(retired);
    }
    let mut active = next.clone();
    active.state = KeyState::Active.as_str().into();
    active.activated_at = Some(now);
    plan.put.push(active);
    Ok(plan)
}

/// What time alone asks for: an active and a next key of each algorithm, rotation by age, and
/// retired keys that are over taken away.
#[must_use]
pub fn due(
    algorithm: SigningAlgorithm,
    rows: &[signing_key::Model],
    now: i64,
    rotate_after: i64,
    published_for: i64,
) -> Plan {
    let mut plan = Plan::default();
    let old = find(algorithm, KeyState::Active, rows)
        .is_none_or(|k| rotate_after > 0 && k.activated_at.unwrap_or(now) + rotate_after <= now);
    if old {
        plan = rotate(algorithm, rows, now, published_for).unwrap_or_default();
    } else if find(algorithm, KeyState::Next, rows).is_none() {
        plan.generate = 1;
    }
    plan.remove = rows
        .iter()
        .filter(|k| k.algorithm == algorithm.as_str() && k.remove_at.is_some_and(|at| at <= now))
        .map(|k| k.kid.clone())
        .collect();
    plan
}

/// A new row in state `state`, sealed.
///
/// # Errors
/// When the key cannot be made or sealed.
pub fn new_key(
    tenant: &str,
    algorithm: SigningAlgorithm,
    state: KeyState,
    now: i64,
    sealer: &Sealer,
    entropy: &Entropy,
) -> Result<signing_key::Model, KeyError> {
    let pkcs8 = generate::pkcs8(algorithm, entropy)?;
    let kid = Signer::new(algorithm, &pkcs8)?.kid().to_owned();
    let sealed = sealer.seal(&pkcs8, &context(tenant, &kid), entropy)?;
    Ok(signing_key::Model {
        tenant: tenant.into(),
        kid,
        algorithm: algorithm.as_str().into(),
        state: state.as_str().into(),
        sealed,
        published_at: now,
        activated_at: (state == KeyState::Active).then_some(now),
        remove_at: None,
    })
}

fn find(
    algorithm: SigningAlgorithm,
    state: KeyState,
    rows: &[signing_key::Model],
) -> Option<&signing_key::Model> {
    rows.iter()
        .find(|k| k.algorithm == algorithm.as_str() && k.state == state.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: SigningAlgorithm = SigningAlgorithm::EdDSA;

    fn key(kid: &str, state: KeyState, published_at: i64) -> signing_key::Model {
        signing_key::Model {
            tenant: "default".into(),
            kid: kid.into(),
            algorithm: ALGORITHM.as_str().into(),
            state: state.as_str().into(),
            sealed: vec![],
            published_at,
            activated_at: (state == KeyState::Active).then_some(published_at),
            remove_at: None,
        }
    }

    #[test]
    fn the_next_key_signs_only_after_it_was_published_long_enough() {
        let rows = [
            key("a", KeyState::Active, 0),
            key("b", KeyState::Next, 1000),
        ];
        let wait = rotate(ALGORITHM, &rows, 1200, 600).unwrap_err();
        assert_eq!(
            wait,
            NotYet::JustPublished {
                algorithm: ALGORITHM,
                seconds: 400
            }
        );
        let plan = rotate(ALGORITHM, &rows, 1600, 600).unwrap();
        let states: Vec<_> = plan.put.iter().map(|k| (&*k.kid, &*k.state)).collect();
        assert_eq!(states, [("a", "retired"), ("b", "active")]);
        assert_eq!(plan.put[0].remove_at, Some(1600 + LONGEST_TOKEN));
        assert_eq!(plan.generate, 1);
    }

    #[test]
    fn age_rotates_and_retired_keys_leave_when_their_tokens_are_over() {
        let mut old = key("a", KeyState::Retired, 0);
        old.remove_at = Some(5000);
        let rows = [
            old,
            key("b", KeyState::Active, 100),
            key("c", KeyState::Next, 100),
        ];
        assert_eq!(due(ALGORITHM, &rows, 4999, 10_000, 600), Plan::default());
        assert_eq!(due(ALGORITHM, &rows, 5000, 10_000, 600).remove, ["a"]);
        assert_eq!(due(ALGORITHM, &rows, 10_100, 10_000, 600).put.len(), 2);
        assert_eq!(due(ALGORITHM, &rows, 1 << 40, 0, 600).put.len(), 0);
    }

    #[test]
    fn every_algorithm_makes_a_key_that_opens_again() {
        let (sealer, entropy) = (Sealer::new(&[1; 32]).unwrap(), Entropy::seeded(3));
        for algorithm in SigningAlgorithm::ALL {
            let row =
                new_key("default", algorithm, KeyState::Active, 5, &sealer, &entropy).unwrap();
            let ring = super::super::KeyRing::open(std::slice::from_ref(&row), &sealer).unwrap();
            assert_eq!(ring.signer(algorithm).unwrap().kid(), row.kid);
            let jwks: serde_json::Value = serde_json::from_slice(ring.jwks()).unwrap();
            assert!(jwks["keys"][0].get("d").is_none());
            assert_eq!(jwks["keys"][0]["kid"], row.kid);
        }
    }
}
