//! What a server remembers and demands of the proofs that callers send
//! (RFC 9449 §7, §9, §11.1).

use std::time::Duration;

use aws_lc_rs::rand;
use http::request::Parts;

use crate::challenge::Refusal;
use crate::clock::Clock;
use crate::dpop::{self, Expected, Htu, Nonces, Proof, Replays, Seen};
use crate::verifier::SetupError;

/// The settings.
#[derive(Clone, Debug)]
pub(crate) struct ProofSettings {
    /// Tokens that are not bound are refused.
    pub(crate) required: bool,
    pub(crate) require_nonce: bool,
    /// The same key on every instance of the server; a random one otherwise.
    pub(crate) nonce_key: Option<[u8; 32]>,
    pub(crate) lifetime: Duration,
    pub(crate) memory: usize,
}

impl Default for ProofSettings {
    fn default() -> Self {
        Self {
            required: false,
            require_nonce: false,
            nonce_key: None,
            lifetime: Duration::from_secs(60),
            memory: 100_000,
        }
    }
}

/// Seconds a nonce of the layer is good for, at least.
const NONCE_LIFETIME: i64 = 300;

/// Checks proofs for one server.
#[derive(Debug)]
pub(crate) struct Proofs {
    resource: String,
    /// Scheme and authority as clients know them: a proxy may have changed
    /// what the request says.
    origin: String,
    lifetime: i64,
    require_nonce: bool,
    nonces: Nonces,
    replays: Replays,
    clock: Clock,
}

impl Proofs {
    pub(crate) fn new(
        settings: &ProofSettings,
        resource: &url::Url,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let mut key = settings.nonce_key.unwrap_or_default();
        if settings.nonce_key.is_none() {
            rand::fill(&mut key).map_err(|_| SetupError::Random)?;
        }
        let lifetime = i64::try_from(settings.lifetime.as_secs()).unwrap_or(i64::MAX);
        Ok(Self {
            resource: resource.to_string(),
            origin: resource.origin().ascii_serialization(),
            lifetime,
            require_nonce: settings.require_nonce,
            nonces: Nonces::new(&key, NONCE_LIFETIME),
            replays: Replays::new(clock.now(), lifetime, settings.memory),
            clock,
        })
    }

    /// The proof of a request for this token. It is not used up yet.
    pub(crate) fn verify(&self, parts: &Parts, token: &str) -> Result<Proof, Refusal> {
        let proof = dpop::header(&parts.headers).map_err(Refusal::Proof)?;
        let proof = proof.ok_or(Refusal::NoProof)?;
        let url = Htu::parse(&format!("{}{}", self.origin, parts.uri.path()));
        let expected = Expected {
            method: parts.method.as_str(),
            url: &url.ok_or(Refusal::Proof(dpop::ProofError::Url))?,
            token: Some(token),
            now: self.clock.now(),
            lifetime: self.lifetime,
        };
        let proof = dpop::verify(proof, &expected).map_err(Refusal::Proof)?;
        let fresh = match proof.nonce() {
            Some(nonce) => self.nonces.accepts(&self.resource, nonce, expected.now),
            None => !self.require_nonce,
        };
        if fresh {
            Ok(proof)
        } else {
            Err(Refusal::UseNonce(self.nonce()))
        }
    }

    /// Uses a proof up: the last thing to do, so that nobody fills the memory
    /// without a token.
    pub(crate) fn take(&self, proof: &Proof) -> Result<(), Refusal> {
        self.replays
            .take(proof, self.clock.now())
            .map_err(|why| match why {
                Seen::Full => Refusal::Unavailable(why.to_string()),
                why => Refusal::Seen(why),
            })
    }

    /// The nonce to hand out with an answer to this proof.
    pub(crate) fn next_nonce(&self, proof: &Proof) -> Option<String> {
        (self.require_nonce || proof.nonce().is_some()).then(|| self.nonce())
    }

    fn nonce(&self) -> String {
        self.nonces.current(&self.resource, self.clock.now())
    }
}
