//! What scopes allow, in words for the people who decide about them.

use serde::Serialize;

use crate::{
    oauth::{openid::IdentityScope, scope::tool_scope},
    policy::person::Allowed,
    registry::{Resource, Resources},
};

/// One thing that is allowed or asked for.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) scope: String,
    /// What a form calls it.
    pub(super) choice: String,
    /// In words.
    pub(super) words: String,
    pub(super) sensitive: bool,
    /// Whether it was allowed before.
    pub(super) known: bool,
    /// Whether there is a choice.
    pub(super) fixed: bool,
}

/// All of it at one place.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    /// The name of the resource; empty for what is about the person.
    pub(super) name: String,
    /// Its URI.
    pub(super) uri: String,
    pub(super) items: Vec<Item>,
}

/// Scopes by their places: resources first, and at last what is about the person. What was allowed
/// before is among `known`; a resource that is gone is left out.
pub(super) fn groups(scopes: &Allowed, known: &Allowed, resources: &Resources) -> Vec<Group> {
    let by_place = scopes.0.iter().filter_map(|(reference, names)| {
        let held = known.0.get(reference);
        let held = |scope: &String| held.is_some_and(|held| held.contains(scope));
        if reference.is_empty() {
            let items = names.iter().map(|scope| about(scope, held(scope)));
            return Some(Group {
                name: String::new(),
                uri: String::new(),
                items: items.collect(),
            });
        }
        let resource = resources.by_uri(reference)?;
        let items = names.iter().map(|scope| Item {
            choice: scopes.choice(reference, scope),
            ..at(resource, scope, held(scope))
        });
        Some(Group {
            name: called(resource).to_owned(),
            uri: resource.uri().to_owned(),
            items: items.collect(),
        })
    });
    let mut groups: Vec<Group> = by_place.collect();
    groups.sort_by_key(|group| group.uri.is_empty());
    groups
}

/// The name of a resource, or its id.
pub(super) fn called(resource: &Resource) -> &str {
    let name = Some(resource.document().name.as_str());
    name.filter(|name| !name.is_empty())
        .unwrap_or(resource.id())
}

fn about(scope: &str, known: bool) -> Item {
    let words = IdentityScope::parse(scope).map(IdentityScope::description);
    Item {
        words: words.unwrap_or_default().to_owned(),
        sensitive: false,
        known,
        fixed: scope == IdentityScope::OpenId.as_str(),
        choice: scope.to_owned(),
        scope: scope.to_owned(),
    }
}

fn at(resource: &Resource, scope: &str, known: bool) -> Item {
    let facts = resource.catalogue().get(scope);
    Item {
        words: words(resource, scope),
        sensitive: facts.is_some_and(|facts| facts.sensitive),
        known,
        fixed: false,
        choice: scope.to_owned(),
        scope: scope.to_owned(),
    }
}

/// What a scope allows, as its resource says it.
fn words(resource: &Resource, scope: &str) -> String {
    let document = resource.document();
    let tool = document.tools.iter().find(|t| tool_scope(&t.name) == scope);
    let declared = document.scopes.iter().find(|s| s.name == scope);
    let words = match (tool, declared) {
        (Some(tool), _) if tool.description.is_empty() => format!("Use the tool {}", tool.name),
        (Some(tool), _) => tool.description.clone(),
        (None, Some(declared)) => declared.description.clone(),
        (None, None) => String::new(),
    };
    if words.is_empty() {
        scope.to_owned()
    } else {
        words
    }
}
