//! The settings of the layer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::guard::Guard;
use super::{ProtectLayer, WELL_KNOWN, joined};
use crate::challenge::Entrance;
use crate::clock::Clock;
use crate::dpop::ALGORITHMS;
use crate::events::Events;
use crate::introspection::Introspect;
use crate::jws::{Algorithm, KeySet};
use crate::proofs::{ProofSettings, Proofs};
use crate::scopes::{Policy, checked_scope, tool_scope};
use crate::verifier::{SetupError, Verifier, VerifierBuilder, trusted_url};

/// The settings of a [`ProtectLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ProtectBuilder {
    verifier: VerifierBuilder,
    tools: BTreeMap<String, Option<String>>,
    methods: BTreeMap<String, String>,
    scopes: BTreeSet<String>,
    includes: BTreeMap<String, BTreeSet<String>>,
    challenge_scopes: Option<BTreeSet<String>>,
    name: Option<String>,
    documentation: Option<String>,
    proofs: ProofSettings,
    max_body: usize,
    body_timeout: Duration,
}

impl ProtectBuilder {
    pub(super) fn new(resource: impl Into<String>) -> Self {
        Self {
            verifier: Verifier::for_resource(resource),
            tools: BTreeMap::new(),
            methods: BTreeMap::new(),
            scopes: BTreeSet::new(),
            includes: BTreeMap::new(),
            challenge_scopes: None,
            name: None,
            documentation: None,
            proofs: ProofSettings::default(),
            max_body: 4 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
        }
    }

    /// The authorization server, octet for octet as it calls itself. Needed.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.verifier = self.verifier.issuer(issuer);
        self
    }

    /// The tools the server has, so that their scopes can be announced. Each
    /// needs [`tool_scope`] of its name, and so does every tool not named here.
    pub fn tools<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        for name in names {
            self.tools.entry(name.into()).or_default();
        }
        self
    }

    /// A tool that needs this scope instead of [`tool_scope`] of its name.
    pub fn tool_scope(mut self, name: impl Into<String>, scope: impl Into<String>) -> Self {
        self.tools.insert(name.into(), Some(scope.into()));
        self
    }

    /// A method that needs this scope; the others need only a valid token.
    pub fn method(mut self, method: impl Into<String>, scope: impl Into<String>) -> Self {
        self.methods.insert(method.into(), scope.into());
        self
    }

    /// A scope that stands for others. An authorization server that expands
    /// its hierarchy into the token makes this unnecessary.
    pub fn scope_includes<N: Into<String>>(
        mut self,
        scope: impl Into<String>,
        included: impl IntoIterator<Item = N>,
    ) -> Self {
        self.includes
            .entry(scope.into())
            .or_default()
            .extend(included.into_iter().map(Into::into));
        self
    }

    /// More scopes to announce, for what handlers check themselves.
    pub fn scopes<N: Into<String>>(mut self, scopes: impl IntoIterator<Item = N>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// What a client that comes without a token is told to ask for. Every
    /// announced scope by default; naming fewer, or none, lets clients begin
    /// small and ask for more when a call is refused.
    pub fn challenge_scopes<N: Into<String>>(
        mut self,
        scopes: impl IntoIterator<Item = N>,
    ) -> Self {
        self.challenge_scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// A name for people (`resource_name`).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A page for developers (`resource_documentation`).
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation = Some(url.into());
        self
    }

    /// Takes only tokens that are bound to a key (RFC 9449). Bound tokens are
    /// always taken, and never without their proof.
    pub const fn require_dpop(mut self) -> Self {
        self.proofs.required = true;
        self
    }

    /// Takes only proofs with a nonce of this server (RFC 9449 §9): none made
    /// in advance or before a restart is of use then.
    pub const fn require_dpop_nonce(mut self) -> Self {
        self.proofs.require_nonce = true;
        self
    }

    /// What nonces are made with: the same on all instances of one server, so
    /// that they know each other's. By default every instance has its own.
    pub const fn dpop_nonce_key(mut self, key: [u8; 32]) -> Self {
        self.proofs.nonce_key = Some(key);
        self
    }

    /// How long a proof is accepted after it was made; 60 seconds by default.
    pub const fn proof_lifetime(mut self, lifetime: Duration) -> Self {
        self.proofs.lifetime = lifetime;
        self
    }

    /// How many proofs are remembered, so that none is used twice; 100,000 by
    /// default. When there are more within [`Self::proof_lifetime`], callers
    /// are told to come back later (503): nothing is forgotten before its time.
    pub const fn proof_memory(mut self, proofs: usize) -> Self {
        self.proofs.memory = proofs;
        self
    }

    /// The longest body that is read; 4 MiB by default.
    pub const fn max_body(mut self, octets: usize) -> Self {
        self.max_body = octets;
        self
    }

    /// How long a body may take to arrive; 30 seconds by default.
    pub const fn body_timeout(mut self, time: Duration) -> Self {
        self.body_timeout = time;
        self
    }

    /// See [`VerifierBuilder::jwks_uri`].
    pub fn jwks_uri(mut self, uri: impl Into<String>) -> Self {
        self.verifier = self.verifier.jwks_uri(uri);
        self
    }

    /// See [`VerifierBuilder::keys`].
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.verifier = self.verifier.keys(keys);
        self
    }

    /// See [`VerifierBuilder::algorithms`].
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.verifier = self.verifier.algorithms(algorithms);
        self
    }

    /// See [`VerifierBuilder::leeway`].
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.verifier = self.verifier.leeway(leeway);
        self
    }

    /// See [`VerifierBuilder::clock`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.verifier = self.verifier.clock(clock);
        self
    }

    /// See [`VerifierBuilder::refetch_floor`].
    pub fn refetch_floor(mut self, floor: Duration) -> Self {
        self.verifier = self.verifier.refetch_floor(floor);
        self
    }

    /// See [`VerifierBuilder::fetch_timeout`].
    pub fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.verifier = self.verifier.fetch_timeout(timeout);
        self
    }

    /// See [`VerifierBuilder::introspect`].
    pub fn introspect(mut self, introspect: Introspect) -> Self {
        self.verifier = self.verifier.introspect(introspect);
        self
    }

    /// See [`VerifierBuilder::events`]. Pushed events arrive at a path of the
    /// layer's own, which no token is needed for.
    pub fn events(mut self, events: Events) -> Self {
        self.verifier = self.verifier.events(events);
        self
    }

    /// Makes the layer. Fetches nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] names the setting that is wrong.
    pub fn build(self) -> Result<ProtectLayer, SetupError> {
        let mut url = trusted_url("resource", &self.verifier.resource)?;
        if url.query().is_some() {
            return Err(SetupError::Url {
                name: "resource",
                value: self.verifier.resource,
                problem: "a query has no place in it (RFC 9728 §1.2)",
            });
        }
        if let Some(page) = &self.documentation {
            trusted_url("documentation", page)?;
        }
        // RFC 9728 §3.1: inserted between host and path, without a final slash.
        let proofs = Proofs::new(&self.proofs, &url, self.verifier.clock.clone())?;
        let metadata_path = format!("{WELL_KNOWN}{}", url.path().trim_end_matches('/'));
        url.set_path(&metadata_path);

        let mut announced = self.scopes;
        announced.extend(self.methods.values().cloned());
        for (name, scope) in &self.tools {
            announced.insert(scope.clone().unwrap_or_else(|| tool_scope(name)));
        }
        for (wide, narrow) in &self.includes {
            announced.insert(wide.clone());
            announced.extend(narrow.iter().cloned());
        }
        let challenged = self.challenge_scopes.unwrap_or_else(|| announced.clone());
        for scope in announced.iter().chain(&challenged) {
            checked_scope(scope)?;
        }

        let mut metadata = json!({
            "resource": self.verifier.resource,
            "authorization_servers": [self.verifier.issuer],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ALGORITHMS,
        });
        if self.proofs.required {
            metadata["dpop_bound_access_tokens_required"] = true.into();
        }
        if !announced.is_empty() {
            metadata["scopes_supported"] = json!(announced);
        }
        if let Some(name) = self.name {
            metadata["resource_name"] = name.into();
        }
        if let Some(page) = self.documentation {
            metadata["resource_documentation"] = page.into();
        }

        let tools = self
            .tools
            .into_iter()
            .filter_map(|(name, scope)| Some((name, scope?)))
            .collect();
        Ok(ProtectLayer {
            guard: Arc::new(Guard {
                verifier: self.verifier.build()?,
                policy: Policy::new(tools, self.methods, &self.includes),
                metadata: metadata.to_string().into(),
                metadata_path: url.path().to_owned(),
                entrance: Entrance {
                    metadata_url: url.into(),
                    scope: joined(&challenged),
                    takes_bearer: !self.proofs.required,
                },
                proofs,
                max_body: self.max_body,
                body_timeout: self.body_timeout,
            }),
        })
    }
}
