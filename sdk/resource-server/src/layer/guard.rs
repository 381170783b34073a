//! What a request must show, step by step.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use http_body::Body;
use http_body_util::Full;

use super::body::{self, carries_message, readable};
use super::credentials::{PresentedToken, presented_token};
use super::{WELL_KNOWN, joined};
use crate::challenge::{Entrance, Refusal, Scheme};
use crate::claims::AccessClaims;
use crate::dpop::{self, Proof};
use crate::events::Receiver;
use crate::proofs::Proofs;
use crate::rpc;
use crate::scopes::Policy;
use crate::verifier::{Verifier, VerifyError};

#[derive(Debug)]
pub(super) struct Guard {
    pub(super) verifier: Verifier,
    pub(super) policy: Policy,
    pub(super) metadata: Bytes,
    pub(super) metadata_path: String,
    pub(super) entrance: Entrance,
    pub(super) proofs: Proofs,
    pub(super) max_body: usize,
    pub(super) body_timeout: Duration,
}

/// A request that may pass.
pub(super) struct Admitted {
    /// As the server may see it.
    pub(super) request: Request<Full<Bytes>>,
    pub(super) claims: Arc<AccessClaims>,
    /// For its answer.
    pub(super) nonce: Option<String>,
}

impl Guard {
    pub(super) fn is_metadata<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        path == self.metadata_path || path == WELL_KNOWN
    }

    /// Whom a request is for that brings an event instead of a token.
    pub(super) fn receiver<B>(&self, request: &Request<B>) -> Option<&Arc<Receiver>> {
        let receiver = self.verifier.receiver()?;
        (receiver.push_path() == Some(request.uri().path())).then_some(receiver)
    }

    /// All that a request must show.
    pub(super) async fn admit<B>(&self, request: Request<B>) -> Result<Admitted, Refusal>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let (scheme, token) = presented_token(&parts)?;
        let proof = match scheme {
            Scheme::Bearer => None,
            Scheme::Dpop => Some(self.proofs.verify(&parts, token.secret())?),
        };
        let claims = self.presented(&token, proof.as_ref()).await?;

        let body = if carries_message(&parts.method) {
            readable(&parts.headers)?;
            let read = body::read(&parts.headers, body, self.max_body, self.body_timeout);
            Some(read.await?)
        } else {
            // Nothing that was not looked at is passed on.
            parts.headers.remove(TRANSFER_ENCODING);
            parts.headers.remove(CONTENT_LENGTH);
            None
        };
        // A body may be sent slowly: what counts is whether the token holds now.
        let claims = self.verifier.confirm(token.secret(), claims).await;
        let claims = claims.map_err(refused)?;
        if let Some(body) = &body {
            self.check_calls(&parts.headers, body, &claims)?;
        }

        parts.headers.remove(AUTHORIZATION);
        parts.headers.remove(dpop::HEADER);
        let claims = Arc::new(claims);
        if let Some(receiver) = self.verifier.receiver() {
            parts.extensions.insert(receiver.revoked(&claims));
        }
        parts.extensions.insert(token);
        parts.extensions.insert(Arc::clone(&claims));
        Ok(Admitted {
            request: Request::from_parts(parts, Full::new(body.unwrap_or_default())),
            claims,
            nonce: proof.and_then(|proof| self.proofs.next_nonce(&proof)),
        })
    }

    /// Checks the token, and uses up the proof that came with it.
    async fn presented(
        &self,
        token: &PresentedToken,
        proof: Option<&Proof>,
    ) -> Result<AccessClaims, Refusal> {
        if proof.is_none() && !self.entrance.takes_bearer {
            return Err(refused(VerifyError::NotBound));
        }
        let thumbprint = proof.map(Proof::thumbprint);
        let presented = self.verifier.presented(token.secret(), thumbprint).await;
        let claims = presented.map_err(refused)?;
        proof.map_or(Ok(()), |proof| self.proofs.take(proof))?;
        Ok(claims)
    }

    fn check_calls(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        claims: &AccessClaims,
    ) -> Result<(), Refusal> {
        let calls = rpc::calls(body, headers).map_err(Refusal::Rpc)?;
        match self.policy.missing(claims, &calls) {
            None => Ok(()),
            Some(needed) => {
                let needed = joined(&needed);
                tracing::debug!(client_id = %claims.client_id, %needed, "the token does not allow the call");
                Err(Refusal::InsufficientScope(needed))
            }
        }
    }
}

/// A token that may well be good is not called a bad one.
fn refused(error: VerifyError) -> Refusal {
    match error {
        VerifyError::Unavailable | VerifyError::Unanswered | VerifyError::Stale => {
            Refusal::Unavailable(error.to_string())
        }
        error => Refusal::InvalidToken(error),
    }
}
