//! What is granted of what is asked (RFC 6749 §3.3). Never more than the client has, and in an
//! exchange never more than the token that is handed in.

use std::{collections::BTreeSet, sync::Arc};

use super::sensitivity::{entitled, named};
use crate::{
    error::{OAuthError, Result},
    oauth::{claims::AccessClaims, scope::Scope},
    registry::{Client, Resource},
};

/// The scope of a token in the client's own name.
///
/// Unknown scopes are dropped while something is left: clients ask for all they have heard of.
/// Without a request the resource's defaults are granted, as far as the client has them; a client
/// that has none of the defaults gets what it was given, sensitive scopes left out.
///
/// # Errors
/// `invalid_scope` when nothing is left.
pub fn own(
    client: &Client,
    resources: &[Arc<Resource>],
    requested: Option<&Scope>,
) -> Result<BTreeSet<String>> {
    let requested = requested.filter(|s| !s.is_empty());
    let rights: Vec<_> = resources.iter().map(|r| entitled(client, r)).collect();
    let mut granted = BTreeSet::new();
    for (resource, entitled) in resources.iter().zip(&rights) {
        let chosen = match requested {
            Some(scope) => resource.expand(scope.iter().filter(|name| entitled.contains(name))),
            None => default(client, resource, entitled),
        };
        let chosen = chosen
            .into_iter()
            .filter(|name| holds_everywhere(name, resources, &rights));
        granted.extend(chosen.map(str::to_owned));
    }
    if granted.is_empty() {
        return Err(OAuthError::invalid_scope(match requested {
            Some(_) => "None of the requested scopes is one that this client has at this resource.",
            None => "Name the scopes you need: this resource has no default scope for this client.",
        }));
    }
    Ok(granted)
}

/// Whether a scope may be in one token for all these resources. Every one of them that knows the
/// name will honour it, so it has to be a right at every one of them (RFC 8707 §2.2).
fn holds_everywhere(name: &str, resources: &[Arc<Resource>], rights: &[BTreeSet<&str>]) -> bool {
    resources
        .iter()
        .zip(rights)
        .all(|(resource, rights)| !resource.catalogue().contains_key(name) || rights.contains(name))
}

fn default<'a>(
    client: &'a Client,
    resource: &'a Resource,
    entitled: &BTreeSet<&'a str>,
) -> BTreeSet<&'a str> {
    // What a client registered with is its own default (RFC 7591 §2 `scope`).
    let registered = client.rights().scope.as_deref().unwrap_or_default();
    let registered = registered.split(' ').filter(|name| entitled.contains(name));
    let chosen = resource.expand(registered);
    if !chosen.is_empty() {
        return chosen;
    }
    let declared = resource
        .document()
        .default_scopes
        .iter()
        .map(String::as_str);
    let chosen = resource.expand(declared.filter(|name| entitled.contains(name)));
    if !chosen.is_empty() {
        return chosen;
    }
    let plain = |name: &&str| {
        resource
            .catalogue()
            .get(*name)
            .is_some_and(|f| !f.sensitive)
    };
    entitled.iter().copied().filter(plain).collect()
}

/// The scope of a token that another one is exchanged for: RFC 8693 §2.1, and only ever smaller.
///
/// At the subject token's own resource that is a part of its scope. At another one it is what has
/// the same name there, and what the administrator's translation makes of it.
///
/// # Errors
/// `invalid_scope` when more is asked than that, or nothing is left.
pub fn exchanged(
    client: &Client,
    resources: &[Arc<Resource>],
    subject: &AccessClaims,
    requested: Option<&Scope>,
) -> Result<BTreeSet<String>> {
    let rights: Vec<_> = resources
        .iter()
        .map(|resource| reachable(client, resource, subject))
        .collect();
    let allowed: BTreeSet<String> = rights
        .iter()
        .flatten()
        .filter(|name| holds_everywhere(name, resources, &rights))
        .map(|name| (*name).to_owned())
        .collect();
    let granted = match requested.filter(|s| !s.is_empty()) {
        None => allowed,
        Some(scope) => {
            let beyond: Vec<&str> = scope
                .sorted()
                .into_iter()
                .filter(|name| !allowed.contains(*name))
                .collect();
            if !beyond.is_empty() {
                let beyond: String = beyond.join(" ").chars().take(200).collect();
                return Err(OAuthError::invalid_scope(format!(
                    "Token exchange only narrows: '{beyond}' is more than the subject token and \
                     this client's rights give."
                )));
            }
            resources
                .iter()
                .flat_map(|resource| resource.expand(scope.iter()))
                .filter(|name| allowed.contains(*name))
                .map(str::to_owned)
                .collect()
        }
    };
    if granted.is_empty() {
        return Err(OAuthError::invalid_scope(
            "Nothing of the subject token's scope is of use at this resource for this client.",
        ));
    }
    Ok(granted)
}

fn reachable<'a>(
    client: &'a Client,
    resource: &'a Resource,
    subject: &'a AccessClaims,
) -> BTreeSet<&'a str> {
    // Literally: what a scope includes was written out when the subject token was issued, and
    // the same word may include more at another resource.
    let held: BTreeSet<&str> = subject
        .scopes()
        .filter(|name| resource.catalogue().contains_key(*name))
        .collect();
    let same_audience = subject.aud.contains(resource.uri());
    let own_token = subject.client_id == client.id();
    let serves = client.rights().serves(resource.reference());
    if same_audience && (own_token || serves) {
        return held;
    }
    let entry = client.rights().exchange(resource.reference());
    let mut bound = entry
        .map(|entry| named(entry, resource))
        .unwrap_or_default();
    if same_audience {
        bound.extend(entitled(client, resource));
    }
    let mut reachable: BTreeSet<&str> = held.intersection(&bound).copied().collect();
    // At its own resource a scope is what it is; only other words need a translation.
    if !same_audience {
        let translations = entry.iter().flat_map(|entry| &entry.translate);
        for (_, to) in translations.filter(|(from, _)| subject.has_scope(from)) {
            reachable.extend(resource.expand(to.iter().map(String::as_str)));
        }
    }
    reachable
}
