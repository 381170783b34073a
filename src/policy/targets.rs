//! Which resources a token is for (RFC 8707 §2, RFC 8693 §2.1). Never "everything".

use std::{collections::BTreeSet, sync::Arc};

use super::sensitivity::entitled;
use crate::{
    error::{OAuthError, Result},
    oauth::{claims::AccessClaims, scope::Scope},
    registry::{Client, EventsScope, Resource, Resources},
};

/// The resources of a token in the client's own name.
///
/// # Errors
/// `invalid_target`: unknown, not for this client, too many, or none named and none obvious.
pub fn own(
    client: &Client,
    requested: &[&str],
    scope: Option<&Scope>,
    resources: &Resources,
) -> Result<Vec<Arc<Resource>>> {
    if !requested.is_empty() {
        let found = distinct(requested.iter().map(|uri| (*uri, resources.by_uri(uri))))?;
        if let Some(not_ours) = found.iter().find(|r| entitled(client, r).is_empty()) {
            return Err(refused(not_ours.uri()));
        }
        return several(client, found);
    }
    // Receivers name no resource (CAEP interoperability profile §2.7.3): the scope says it, and
    // nobody means the stream API without one.
    let events = scope.is_some_and(|scope| scope.iter().all(is_of_events));
    let candidates: Vec<Arc<Resource>> = resources
        .all()
        .into_iter()
        .filter(|r| r.is_events() == events && !entitled(client, r).is_empty())
        .cloned()
        .collect();
    // No resource named: the only one, or the only one that knows what is asked for.
    if let [only] = candidates.as_slice() {
        return Ok(vec![only.clone()]);
    }
    if let Some(scope) = scope.filter(|s| !s.is_empty()) {
        let fitting: Vec<_> = candidates.iter().filter(|r| r.knows(scope)).collect();
        if let [only] = fitting.as_slice() {
            return Ok(vec![Arc::clone(only)]);
        }
    }
    Err(OAuthError::invalid_target(if candidates.is_empty() {
        "This client has no access to any resource."
    } else {
        "This client has access to several resources: name one with the resource parameter \
         (RFC 8707)."
    }))
}

/// The resources that a client asks a person for; none when it only wants to know who they are.
///
/// Without a name it is the only one that knows what is asked for, the only one there is, or the
/// operator's default: clients that know nothing of RFC 8707 name none.
///
/// # Errors
/// `invalid_target`: unknown, or one too many.
pub fn of_person(
    client: &Client,
    requested: &[&str],
    asks_who: bool,
    of_resources: &BTreeSet<&str>,
    resources: &Resources,
    default: &str,
) -> Result<Vec<Arc<Resource>>> {
    if !requested.is_empty() {
        let mut found = distinct(requested.iter().map(|uri| (*uri, resources.by_uri(uri))))?;
        // Whoever is told of the person may name the place where that is done.
        found.retain(|resource| !resource.is_userinfo());
        if let Some(ours) = found.iter().find(|resource| resource.is_builtin()) {
            return Err(refused(ours.uri()));
        }
        return several(client, found);
    }
    if of_resources.is_empty() && asks_who {
        return Ok(Vec::new());
    }
    let all = resources.all().into_iter().filter(|r| !r.is_builtin());
    let mut candidates: Vec<Arc<Resource>> = all.cloned().collect();
    let knows = |r: &Resource, scope: &&str| r.catalogue().contains_key(*scope);
    let all = |r: &Arc<Resource>| of_resources.iter().all(|scope| knows(r, scope));
    let some = |r: &Arc<Resource>| of_resources.iter().any(|scope| knows(r, scope));
    let default = |r: &Arc<Resource>| resources.by_name(default).is_some_and(|d| d.id() == r.id());
    // The narrower choice counts where it leaves any.
    if candidates.iter().any(all) {
        candidates.retain(all);
    } else if candidates.len() > 1 && candidates.iter().any(some) {
        candidates.retain(some);
    }
    if candidates.len() > 1 {
        candidates.retain(default);
    }
    if candidates.is_empty() && !of_resources.is_empty() {
        return Err(OAuthError::invalid_target(
            "Several resources may be meant, or none: name one with the resource parameter \
             (RFC 8707).",
        ));
    }
    Ok(candidates)
}

fn is_of_events(scope: &str) -> bool {
    EventsScope::ALL.iter().any(|known| known.as_str() == scope)
}

/// The resources of a token that another one is exchanged for.
///
/// # Errors
/// `invalid_target`: unknown, or not one that this client may reach.
pub fn exchanged(
    client: &Client,
    requested: &[&str],
    audiences: &[&str],
    subject: &AccessClaims,
    resources: &Resources,
) -> Result<Vec<Arc<Resource>>> {
    let own: Vec<&str> = subject.aud.iter().collect();
    let named = requested.len() + audiences.len();
    let wanted = if named == 0 {
        own.as_slice()
    } else {
        requested
    };
    let by_uri = wanted.iter().map(|uri| (*uri, resources.by_uri(uri)));
    let by_name = audiences
        .iter()
        .map(|name| (*name, resources.by_name(name)));
    let found = distinct(by_uri.chain(by_name))?;
    for resource in &found {
        let narrows = subject.aud.contains(resource.uri()) && may_narrow(client, subject, resource);
        if !narrows && client.rights().exchange(resource.reference()).is_none() {
            return Err(refused(resource.uri()));
        }
    }
    several(client, found)
}

/// Whether the client may have a token for a resource that the subject token is already for: it
/// is its own token, it is that resource, or it has access there itself.
fn may_narrow(client: &Client, subject: &AccessClaims, resource: &Resource) -> bool {
    subject.client_id == client.id()
        || client.rights().serves(resource.reference())
        || !entitled(client, resource).is_empty()
}

/// Each of them once; the first that was not found is refused.
fn distinct<'a>(
    found: impl Iterator<Item = (&'a str, Option<&'a Arc<Resource>>)>,
) -> Result<Vec<Arc<Resource>>> {
    let mut distinct: Vec<Arc<Resource>> = Vec::new();
    for (name, resource) in found {
        let resource = resource.ok_or_else(|| refused(name))?;
        if distinct.iter().all(|known| known.id() != resource.id()) {
            distinct.push(resource.clone());
        }
    }
    Ok(distinct)
}

fn several(client: &Client, found: Vec<Arc<Resource>>) -> Result<Vec<Arc<Resource>>> {
    if found.len() > 1 && !client.rights().multiple_resources {
        return Err(OAuthError::invalid_target(
            "This client gets tokens for one resource at a time.",
        ));
    }
    Ok(found)
}

/// One answer for unknown and for not allowed: it does not say which resources exist.
pub(super) fn refused(name: &str) -> OAuthError {
    let name: String = name.chars().take(200).collect();
    OAuthError::invalid_target(format!(
        "'{name}' is not a resource that this client may ask a token for."
    ))
}
