//! May it be? Facts in, decision out: nothing here waits, reads a clock or writes.
//!
//! Grant types only ask; [`decide`] makes a [`Permit`]; `tokens::issue` spends it. A permit
//! cannot be made anywhere else, so no grant type can skip a rule.
//!
//! | file | rule |
//! |---|---|
//! | [`targets`] | which resources a token is for |
//! | [`scopes`] | requested ∩ client ∩ resource, or ∩ the token that is exchanged |
//! | [`sensitivity`] | which scopes are never given unnamed |
//! | [`delegation`] | who may act for whom, how deep |
//! | [`person`] | what a person is asked for, and what tokens of it |
//! | [`binding`] | which key a token is bound to, and when it has to be |

pub mod binding;
pub mod delegation;
pub mod person;
pub mod scopes;
pub mod sensitivity;
pub mod targets;

use std::{collections::BTreeSet, sync::Arc};

pub use self::person::Authorized;
use crate::{
    error::Result,
    keys::SigningAlgorithm,
    oauth::{
        claims::{AccessClaims, Actor},
        scope::Scope,
    },
    registry::{Client, Resource, Resources},
};

/// What is asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// The authenticated client.
    pub client: Arc<Client>,
    /// The resources it names by their URIs (`resource`, RFC 8707 §2).
    pub targets: Vec<&'a str>,
    /// The resources it names by URI or id (`audience`, RFC 8693 §2.1).
    pub audiences: Vec<&'a str>,
    /// The scope it asks for.
    pub scope: Option<Scope>,
    /// In whose name.
    pub on_behalf: OnBehalf,
    /// Thumbprint of the key that the client has proved to hold (RFC 9449 §5).
    pub proved_key: Option<&'a str>,
}

/// In whose name a token is asked for.
#[derive(Debug)]
pub enum OnBehalf {
    /// The client's own (RFC 6749 §4.4).
    Itself,
    /// Whomever a token speaks for (RFC 8693).
    Subject {
        /// The verified subject token.
        subject: Box<AccessClaims>,
        /// The verified actor token.
        actor: Option<Box<AccessClaims>>,
    },
    /// A person's, who has allowed it (RFC 6749 §4.1).
    Person(Box<Authorized>),
}

/// What a decision needs to know beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The tenant's resources.
    pub resources: &'a Resources,
    /// The client that the subject token was issued to, while it exists.
    pub subject_client: Option<&'a Client>,
    /// Longest `act` chain.
    pub max_depth: usize,
}

/// The stored grant that a token will hang from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The client's own at these resources.
    Own,
    /// The one the subject token hangs from: the same client narrows its token.
    Same(String),
    /// One of the client's for the subject, since it carries its token to another resource.
    Carried(String),
    /// One for every grant of another client that is handed on.
    Derived(String),
}

/// A decision that a token may be issued, with everything it will say.
#[derive(Debug)]
pub struct Permit {
    client: Arc<Client>,
    subject: String,
    resources: Vec<Arc<Resource>>,
    scope: String,
    act: Option<Actor>,
    not_after: Option<i64>,
    grant: Grant,
    bound_to: Option<String>,
    authenticated: Option<Authentication>,
}

/// How a person has authenticated (RFC 9068 §2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// When, Unix seconds.
    pub time: i64,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// The class that it meets.
    pub acr: Option<String>,
}

impl Permit {
    /// The client the token is for.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whom it speaks for.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The resources it is for: at least one.
    #[must_use]
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// What it allows, expanded and sorted.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Who acts for the subject.
    #[must_use]
    pub fn act(&self) -> Option<&Actor> {
        self.act.as_ref()
    }

    /// The one client that may act for this one, where there is exactly one.
    #[must_use]
    pub fn may_act(&self) -> Option<&str> {
        match self.client.rights().delegates.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The latest time it may expire: the end of what it was derived from.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.not_after
    }

    /// The grant it will hang from.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Thumbprint of the key it is bound to (RFC 9449 §6.1).
    #[must_use]
    pub fn bound_to(&self) -> Option<&str> {
        self.bound_to.as_deref()
    }

    /// How the person has authenticated in whose name it is asked for.
    #[must_use]
    pub const fn authenticated(&self) -> Option<&Authentication> {
        self.authenticated.as_ref()
    }

    /// Seconds it lives: the shortest of its resources.
    #[must_use]
    pub fn lifetime(&self) -> i64 {
        self.resources
            .iter()
            .map(|r| r.document().access_token_lifetime)
            .min()
            .unwrap_or(60)
    }

    /// What it is signed with: what its resources chose, or what all verifiers accept when they
    /// chose differently.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        let mut chosen = self
            .resources
            .iter()
            .map(|r| r.document().signing_algorithm);
        let first = chosen.next().unwrap_or_default();
        if chosen.all(|other| other == first) {
            first
        } else {
            SigningAlgorithm::default()
        }
    }
}

/// Decides.
///
/// # Errors
/// `invalid_target`, `invalid_scope`, `invalid_grant` or `invalid_request`, each with the rule
/// that says no.
pub fn decide(request: Request<'_>, facts: &Facts<'_>) -> Result<Permit> {
    let Request {
        client,
        targets,
        audiences,
        scope,
        on_behalf,
        proved_key,
    } = request;
    let (resources, granted, subject, act, not_after, grant) = match &on_behalf {
        OnBehalf::Itself => {
            let resources = targets::own(&client, &targets, scope.as_ref(), facts.resources)?;
            let granted = scopes::own(&client, &resources, scope.as_ref())?;
            let subject = client.id().to_owned();
            (resources, granted, subject, None, None, Grant::Own)
        }
        OnBehalf::Subject { subject, actor } => {
            let act = delegation::check(
                &client,
                subject,
                actor.as_deref(),
                facts.subject_client,
                facts.resources,
                facts.max_depth,
            )?;
            let resources =
                targets::exchanged(&client, &targets, &audiences, subject, facts.resources)?;
            let granted = scopes::exchanged(&client, &resources, subject, scope.as_ref())?;
            let end = actor
                .as_ref()
                .map_or(subject.exp, |actor| actor.exp.min(subject.exp));
            let grant = grant(&client, subject, &resources);
            (
                resources,
                granted,
                subject.sub.clone(),
                act,
                Some(end),
                grant,
            )
        }
        OnBehalf::Person(authorized) => {
            let resources = person::resources(authorized, &targets, facts.resources)?;
            let granted = person::scopes(authorized, &resources, scope.as_ref())?;
            let grant = Grant::Same(authorized.grant_id.clone());
            let subject = authorized.subject.clone();
            (resources, granted, subject, None, None, grant)
        }
    };
    let bound_to = binding::check(&client, &resources, &on_behalf, proved_key)?;
    let authenticated = match on_behalf {
        OnBehalf::Person(authorized) => Some(Authentication {
            time: authorized.auth_time,
            amr: authorized.amr,
            acr: authorized.acr,
        }),
        _ => None,
    };
    Ok(Permit {
        client,
        subject,
        resources,
        scope: print(&granted),
        act,
        not_after,
        grant,
        bound_to,
        authenticated,
    })
}

fn grant(client: &Client, subject: &AccessClaims, resources: &[Arc<Resource>]) -> Grant {
    let from = subject.grant_id.clone().unwrap_or_default();
    if subject.client_id != client.id() {
        Grant::Derived(from)
    } else if resources.iter().all(|r| subject.aud.contains(r.uri())) {
        Grant::Same(from)
    } else {
        Grant::Carried(from)
    }
}

fn print(scopes: &BTreeSet<String>) -> String {
    let mut text = String::with_capacity(scopes.iter().map(|s| s.len() + 1).sum());
    for scope in scopes {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope);
    }
    text
}
