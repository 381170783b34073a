//! The tower layer: what a request must show before the MCP server sees it.
//!
//! | check | POST and other methods with a body | GET, HEAD, DELETE, OPTIONS |
//! |---|---|---|
//! | metadata paths, without a token | 405 | the document; 405 to DELETE |
//! | the path of pushed events, with the transmitter's credential | 202, 400, 503 | 405 |
//! | no token in the query | 400 | 400 |
//! | one `Authorization` header, scheme `Bearer` or `DPoP` | 401, 400 | 401, 400 |
//! | under `DPoP`, a proof for this request and token | 401 | 401 |
//! | the token verifies, and is bound to the proof's key or to none | 401 | 401 |
//! | the token was not revoked, as far as was told | 401, 503 | 401, 503 |
//! | the proof was not used before | 401 | 401 |
//! | no content coding, no form, UTF-8 | 415, 400 | – |
//! | the body is within the limit, and in time | 413, 408 | never passed on |
//! | the token still holds, and the issuer says so where it is asked | 401, 503 | 401, 503 |
//! | one unambiguous JSON-RPC message or batch | 400 | – |
//! | the token allows every call in it | 403 | – |
//!
//! To demand one thing more, add a step to `Guard::admit`.

mod body;
mod builder;
mod credentials;
mod guard;

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{Either, Full};
use tower::{Layer, Service};

pub use body::{ProtectedBody, WhileValid};
pub use builder::ProtectBuilder;
pub use credentials::PresentedToken;

use crate::challenge;
use crate::events::Health;
use crate::verifier::Verifier;
use guard::{Admitted, Guard};

/// Where every resource's metadata is found (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Wraps a service so that it only sees requests with a token that allows them.
#[derive(Clone, Debug)]
pub struct ProtectLayer {
    guard: Arc<Guard>,
}

impl ProtectLayer {
    /// The RFC 9728 document, for a server that publishes it elsewhere too.
    #[must_use]
    pub fn metadata(&self) -> &Bytes {
        &self.guard.metadata
    }

    /// Where the layer answers with that document: the form with the
    /// resource's path first, then the root form.
    #[must_use]
    pub fn metadata_paths(&self) -> [&str; 2] {
        [&self.guard.metadata_path, WELL_KNOWN]
    }

    /// What checks the tokens, for instance to load the keys at start.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.guard.verifier
    }

    /// How the revocations are arriving, where [`ProtectBuilder::events`] asks
    /// for them.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.guard.verifier.health()
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = Protect<S>;

    fn layer(&self, inner: S) -> Protect<S> {
        Protect {
            inner,
            guard: Arc::clone(&self.guard),
        }
    }
}

/// A service behind a [`ProtectLayer`].
#[derive(Clone, Debug)]
pub struct Protect<S> {
    inner: S,
    guard: Arc<Guard>,
}

impl Protect<()> {
    /// Begins to protect the MCP server whose URL this is, as clients know it
    /// and as the authorization server has registered it: tokens must name
    /// exactly this in `aud`.
    pub fn resource(resource: impl Into<String>) -> ProtectBuilder {
        ProtectBuilder::new(resource)
    }
}

impl<S, B, R> Service<Request<B>> for Protect<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    R: Body,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ProtectedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled ready is the one that must be called.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            if guard.is_metadata(&request) {
                let answer = challenge::metadata(request.method(), &guard.metadata);
                return Ok(answer.map(Either::Left));
            }
            if let Some(receiver) = guard.receiver(&request) {
                let answer = receiver.pushed(request).await;
                return Ok(answer.map(Either::Left));
            }
            let scheme = credentials::presented_scheme(request.headers());
            // A call that takes longer than its token lives is still answered.
            let listens = request.method() == Method::GET;
            match guard.admit(request).await {
                Ok(Admitted {
                    request,
                    claims,
                    nonce,
                }) => {
                    let answer = inner.call(request).await?;
                    let ended = || guard.verifier.ended(claims, listens);
                    let answer = answer.map(|body| Either::Right(WhileValid::new(body, ended)));
                    Ok(challenge::with_nonce(answer, nonce.as_deref()))
                }
                Err(refusal) => {
                    let answer = refusal.answer(&guard.entrance, scheme);
                    Ok(answer.map(Either::Left))
                }
            }
        })
    }
}

fn joined(scopes: &BTreeSet<String>) -> String {
    scopes
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}
