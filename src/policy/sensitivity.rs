//! Sensitive scopes: never by default, never by `*`, never to a client nobody knows. An
//! administrator gives each by its name.

use std::collections::BTreeSet;

use crate::registry::{Access, Client, EventsScope, Resource};

/// The scopes an access entry stands for at this resource, with everything they include.
#[must_use]
pub fn named<'a>(access: &'a Access, resource: &'a Resource) -> BTreeSet<&'a str> {
    let catalogue = resource.catalogue();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for name in &access.scopes {
        if name == "*" {
            let plain = catalogue.iter().filter(|(_, facts)| !facts.sensitive);
            names.extend(plain.map(|(name, _)| name.as_str()));
        } else {
            names.extend(resource.expand([name.as_str()]));
        }
    }
    names
}

/// What a client may ask for itself at a resource: what an administrator gave it, and for a
/// client that came by itself what the resource opens to such clients.
#[must_use]
pub fn entitled<'a>(client: &'a Client, resource: &'a Resource) -> BTreeSet<&'a str> {
    let mut names = client
        .rights()
        .access(resource.reference())
        .map(|a| named(a, resource))
        .unwrap_or_default();
    if client.origin().is_by_itself() {
        let open = resource.document().open_scopes.iter().map(String::as_str);
        names.extend(resource.expand(open));
    }
    // Whoever serves a resource hears what becomes of its tokens.
    if resource.is_events() && client.rights().serves.is_some() {
        names.extend(resource.expand(EventsScope::ALL.map(EventsScope::as_str)));
    }
    names
}
