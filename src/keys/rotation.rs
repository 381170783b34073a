//! Which key is next, which signs, which only verifies: decided here, without I/O.
//!
//! The next key is always published already, so activating it never surprises a verifier that
//! caches the JWKS. A retired key stays until the longest-lived token it may have signed is over.

use entity::signing_key;

use super::{KeyError, KeyState, SigningAlgorithm, context, generate, jws::Signer, sealed::Sealer};
use crate::{config::Config, entropy::Entropy, oauth::claims::LONGEST_LIFETIME};

/// What a verifier may add to the lifetime of a token, in seconds.
const LEEWAY: i64 = 300;

/// The longest lifetime of an access token, plus what a verifier may add to it, in seconds.
pub const LONGEST_TOKEN: i64 = LONGEST_LIFETIME + LEEWAY;

/// How long keys stay, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// After so long another key signs; 0: an operator decides.
    pub rotate_after: i64,
    /// So long a key is published before it signs.
    pub published_for: i64,
    /// So long it stays published when it signs no more: as long as a token holds.
    pub retired_for: i64,
    /// So long it is known after that: as long as a session lasts.
    pub past_for: i64,
}

impl Times {
    /// Those of this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let id_token = config.authorization.id_token_lifetime + LEEWAY;
        Self {
            rotate_after: config.keys.rotate_after,
            published_for: config.keys.publish_before_use,
            retired_for: LONGEST_TOKEN.max(id_token),
            past_for: config.users.session_lifetime,
        }
    }
}

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

/// Activates the next key of one algorithm.
///
/// # Errors
/// [`NotYet`] when the next key has not been published for long enough.
pub fn rotate(
    algorithm: SigningAlgorithm,
    rows: &[signing_key::Model],
    now: i64,
    times: &Times,
) -> Result<Plan, NotYet> {
    let Some(next) = find(algorithm, KeyState::Next, rows) else {
        // A new one is published first; the next call can use it.
        return Ok(Plan {
            generate: 1,
            ..Plan::default()
        });
    };
    let ready = next.published_at + times.published_for;
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
        retired.remove_at = Some(now + times.retired_for);
        plan.put.push(retired);
    }
    let mut active = next.clone();
    active.state = KeyState::Active.as_str().into();
    active.activated_at = Some(now);
    plan.put.push(active);
    Ok(plan)
}

/// What time alone asks for: an active and a next key of each algorithm, rotation by age, and
/// retired keys that are over published no more, and forgotten later.
#[must_use]
pub fn due(
    algorithm: SigningAlgorithm,
    rows: &[signing_key::Model],
    now: i64,
    times: &Times,
) -> Plan {
    let mut plan = Plan::default();
    let rotates_at =
        |key: &signing_key::Model| key.activated_at.unwrap_or(now) + times.rotate_after;
    let old = find(algorithm, KeyState::Active, rows)
        .is_none_or(|key| times.rotate_after > 0 && rotates_at(key) <= now);
    if old {
        plan = rotate(algorithm, rows, now, times).unwrap_or_default();
    } else if find(algorithm, KeyState::Next, rows).is_none() {
        plan.generate = 1;
    }
    let over = |key: &&signing_key::Model| {
        key.algorithm == algorithm.as_str() && key.remove_at.is_some_and(|at| at <= now)
    };
    for key in rows.iter().filter(over) {
        if key.state == KeyState::Past.as_str() {
            plan.remove.push(key.kid.clone());
            continue;
        }
        let mut past = key.clone();
        past.state = KeyState::Past.as_str().into();
        past.remove_at = key.remove_at.map(|at| at + times.past_for);
        plan.put.push(past);
    }
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

    const TIMES: Times = Times {
        rotate_after: 10_000,
        published_for: 600,
        retired_for: LONGEST_TOKEN,
        past_for: 20_000,
    };

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
        let wait = rotate(ALGORITHM, &rows, 1200, &TIMES).unwrap_err();
        assert_eq!(
            wait,
            NotYet::JustPublished {
                algorithm: ALGORITHM,
                seconds: 400
            }
        );
        let plan = rotate(ALGORITHM, &rows, 1600, &TIMES).unwrap();
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
        assert_eq!(due(ALGORITHM, &rows, 4999, &TIMES), Plan::default());
        let plan = due(ALGORITHM, &rows, 5000, &TIMES);
        assert_eq!((plan.put[0].state.as_str(), plan.put.len()), ("past", 1));
        let states = |now| {
            let plan = due(ALGORITHM, &rows, now, &TIMES);
            let states = plan.put.into_iter().map(|key| key.state);
            states.collect::<Vec<_>>()
        };
        assert_eq!(states(10_100), ["retired", "active", "past"]);
        let never = Times {
            rotate_after: 0,
            ..TIMES
        };
        let past = plan.put;
        assert_eq!(due(ALGORITHM, &past, 24_999, &never).remove, [""; 0]);
        assert_eq!(due(ALGORITHM, &past, 25_000, &never).remove, ["a"]);
        assert_eq!(due(ALGORITHM, &rows[1..], 1 << 40, &never), Plan::default());
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
