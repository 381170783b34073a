//! What a client may have in the name of a person: no more than it asks for, no more than the
//! person allows, and nothing of the server's own but what it tells of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::targets;
use crate::{
    error::{OAuthError, Result},
    oauth::{
        grant_type::REFRESH_TOKEN,
        openid::{ClaimsRequest, IdentityScope},
        scope::{Scope, is_scope_token},
    },
    registry::{Client, Resource, Resources, USERINFO_ID},
};

/// Scopes by the reference of their resource; those about the person are under the empty name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Allowed(pub BTreeMap<String, BTreeSet<String>>);

impl Allowed {
    /// Whether everything of `ask` is in it.
    #[must_use]
    pub fn covers(&self, ask: &Self) -> bool {
        ask.0.iter().all(|(reference, scopes)| {
            // A place is asked for, whatever may be done there.
            let held = self.0.get(reference);
            held.is_some_and(|held| scopes.is_subset(held))
        })
    }

    /// Adds what is in `other`.
    pub fn add(&mut self, other: &Self) {
        for (reference, scopes) in &other.0 {
            let held = self.0.entry(reference.clone()).or_default();
            held.extend(scopes.iter().cloned());
        }
    }

    fn insert(&mut self, reference: &str, names: BTreeSet<&str>) {
        let names = names.into_iter().map(str::to_owned);
        self.0.insert(reference.to_owned(), names.collect());
    }

    /// The places that are resources, by their references.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let places = self.0.keys().map(String::as_str);
        places.filter(|reference| *reference != IDENTITY)
    }

    fn has_several_places(&self) -> bool {
        self.places().nth(1).is_some()
    }

    /// What the choice of a scope is called in a form: its name alone, unless the same name may
    /// stand for two things.
    #[must_use]
    pub fn choice(&self, reference: &str, name: &str) -> String {
        choice(self.has_several_places(), reference, name)
    }

    /// Whether this scope is allowed anywhere.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.0.values().any(|names| names.contains(name))
    }

    /// Whether this scope about the person is allowed.
    #[must_use]
    pub fn identifies(&self, scope: IdentityScope) -> bool {
        let names = self.0.get(IDENTITY);
        names.is_some_and(|names| names.contains(scope.as_str()))
    }

    /// Every scope in it, as one.
    ///
    /// # Errors
    /// `invalid_scope` for a name that no scope has, which none that was declared is.
    pub fn to_scope(&self) -> Result<Scope> {
        let names: BTreeSet<&str> = self.0.values().flatten().map(String::as_str).collect();
        let text = names.into_iter().collect::<Vec<_>>().join(" ");
        text.parse()
            .map_err(|why| OAuthError::invalid_scope(format!("{why}.")))
    }
}

/// No scope has a space in its name.
fn choice(several: bool, reference: &str, name: &str) -> String {
    if several && reference != IDENTITY {
        format!("{reference} {name}")
    } else {
        name.to_owned()
    }
}

/// What a client asks a person for, as far as it can be given.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The resources: none when it only wants to know who the person is.
    pub resources: Vec<Arc<Resource>>,
    /// The scopes, with what they include.
    pub scopes: Allowed,
    /// Those about the person of which only single claims are asked for (OpenID Connect Core §5.5):
    /// the person is asked for the whole, the client gets those claims.
    pub only_claims: BTreeSet<String>,
}

impl Ask {
    /// The scopes about the person.
    pub fn identity(&self) -> impl Iterator<Item = &str> {
        let scopes = self.scopes.0.get(IDENTITY);
        scopes.into_iter().flatten().map(String::as_str)
    }

    /// What the client gets of it.
    #[must_use]
    pub fn given(&self) -> Allowed {
        let mut given = self.scopes.clone();
        if let Some(about) = given.0.get_mut(IDENTITY) {
            about.retain(|name| !self.only_claims.contains(name));
        }
        given
    }

    /// Of the claims that the client asks for one by one, those that it gets.
    #[must_use]
    pub fn claims(&self, requested: &ClaimsRequest) -> ClaimsRequest {
        requested.within(|scope| self.identity().any(|name| name == scope.as_str()))
    }

    /// What there is to choose, as a form calls it.
    pub fn choices(&self) -> impl Iterator<Item = String> {
        let several = self.scopes.has_several_places();
        self.scopes.0.iter().flat_map(move |(reference, names)| {
            names
                .iter()
                .map(move |name| choice(several, reference, name))
        })
    }

    /// No more than what was chosen of it, and what that includes; `openid` is no choice.
    ///
    /// # Errors
    /// `access_denied` when nothing is left.
    pub fn narrowed(mut self, chosen: &BTreeSet<String>) -> Result<Self> {
        let openid = IdentityScope::OpenId.as_str();
        // Places of which nothing was left; those that have nothing to choose stay.
        let mut taken = BTreeSet::new();
        let several = self.scopes.has_several_places();
        for (reference, scopes) in &mut self.scopes.0 {
            if scopes.is_empty() {
                continue;
            }
            scopes.retain(|name| {
                name == openid || chosen.contains(&choice(several, reference, name))
            });
            if scopes.is_empty() {
                taken.insert(reference.clone());
            }
            let resource = self.resources.iter().find(|r| r.reference() == reference);
            if let Some(resource) = resource {
                let closed = resource.expand(scopes.iter().map(String::as_str));
                *scopes = closed.into_iter().map(str::to_owned).collect();
            }
        }
        self.scopes
            .0
            .retain(|reference, _| !taken.contains(reference));
        self.resources
            .retain(|r| self.scopes.0.contains_key(r.reference()));
        let says_who = self.scopes.identifies(IdentityScope::OpenId);
        if self.resources.is_empty() && !says_who {
            return Err(OAuthError::access_denied("Nothing was allowed."));
        }
        Ok(self)
    }
}

/// Where scopes about the person are kept.
const IDENTITY: &str = "";

/// Longest text of all scopes together, bytes: a token of that length still fits into a header.
const LONGEST: usize = 3 * 1024;

/// What a client's request comes to.
///
/// Unknown scopes are dropped while something is left. A resource of which no scope is asked gives
/// its defaults: many clients ask for every scope of the authorization server and none of the
/// resource's.
///
/// # Errors
/// `invalid_target` for a resource that is unknown or one too many, `invalid_scope` when nothing
/// of what is asked is known.
pub fn ask(
    client: &Client,
    targets: &[&str],
    scope: Option<&Scope>,
    claims: &ClaimsRequest,
    resources: &Resources,
    default_resource: &str,
) -> Result<Ask> {
    let registered = client.rights().scope.as_deref().unwrap_or_default();
    let asked: BTreeSet<&str> = match scope.filter(|scope| !scope.is_empty()) {
        Some(scope) => scope.iter().collect(),
        None => registered
            .split(' ')
            .filter(|s| is_scope_token(s))
            .collect(),
    };
    let identity = |name: &&str| IdentityScope::parse(name).is_some();
    let (about, of_resources): (BTreeSet<&str>, BTreeSet<&str>) =
        asked.into_iter().partition(identity);
    // To have access later too is no access of its own.
    let offline = IdentityScope::OfflineAccess.as_str();
    let asks_who = about.iter().any(|name| *name != offline);
    let mut chosen = targets::of_person(
        client,
        targets,
        asks_who,
        &of_resources,
        resources,
        default_resource,
    )?;
    let mut scopes = Allowed::default();
    let mut known = 0;
    for resource in &chosen {
        let named = of_resources.iter().copied();
        let named = named.filter(|name| resource.catalogue().contains_key(*name));
        let mut given = resource.expand(named);
        known += given.len();
        if of_resources.is_empty() {
            given = by_default(resource);
        }
        scopes.insert(resource.reference(), given);
    }
    // A place that was not named is there for what is asked of it.
    if targets.is_empty() && asks_who {
        scopes.0.retain(|_, scopes| !scopes.is_empty());
        chosen.retain(|resource| scopes.0.contains_key(resource.reference()));
    }
    let mut identity = who(client, &about, !asks_who && chosen.is_empty());
    let only_claims = only_claims(&identity, claims);
    identity.extend(&only_claims);
    if !identity.is_empty() {
        scopes.insert(IDENTITY, identity);
    }
    if scopes.to_scope()?.to_string().len() > LONGEST {
        return Err(OAuthError::invalid_scope(
            "These are more scopes than fit into a token: ask for those that are needed now.",
        ));
    }
    if scopes.0.is_empty() || (known == 0 && !asks_who && !of_resources.is_empty()) {
        return Err(OAuthError::invalid_scope(
            "None of the requested scopes is known at this resource.",
        ));
    }
    Ok(Ask {
        resources: chosen,
        scopes,
        only_claims: only_claims.into_iter().map(str::to_owned).collect(),
    })
}

/// The scopes about a person of which the client asks for single claims and not for the whole.
fn only_claims(asked: &BTreeSet<&str>, claims: &ClaimsRequest) -> BTreeSet<&'static str> {
    if !asked.contains(IdentityScope::OpenId.as_str()) {
        return BTreeSet::new();
    }
    let scopes = claims.scopes().map(IdentityScope::as_str);
    scopes.filter(|name| !asked.contains(name)).collect()
}

/// The scopes about the person: nothing without `openid` (OpenID Connect Core §3.1.2.1), which it
/// comes to when `nothing_else` is asked for, and no `offline_access` for a client that cannot use
/// it.
fn who<'a>(client: &Client, about: &BTreeSet<&'a str>, nothing_else: bool) -> BTreeSet<&'a str> {
    let openid = IdentityScope::OpenId.as_str();
    let offline = IdentityScope::OfflineAccess.as_str();
    let refreshes = client.rights().may_use(REFRESH_TOKEN);
    let authenticates = about.contains(openid);
    let of_use = |name: &&str| match *name == offline {
        true => refreshes,
        false => authenticates,
    };
    let of_use = about.iter().copied().filter(of_use);
    of_use.chain(nothing_else.then_some(openid)).collect()
}

fn by_default(resource: &Resource) -> BTreeSet<&str> {
    let declared = &resource.document().default_scopes;
    let chosen = resource.expand(declared.iter().map(String::as_str));
    if !chosen.is_empty() {
        return chosen;
    }
    let catalogue = resource.catalogue().iter();
    let plain = catalogue.filter(|(_, facts)| !facts.sensitive);
    let plain: BTreeSet<&str> = plain.map(|(name, _)| name.as_str()).collect();
    // Of a server with hundreds of tools none is meant: it says which when one is called.
    let length: usize = plain.iter().map(|name| name.len() + 1).sum();
    if length > LONGEST {
        return BTreeSet::new();
    }
    plain
}

/// What a person has authorized, as a code or a refresh token carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    /// The grant that tokens hang from.
    pub grant_id: String,
    /// The person.
    pub subject: String,
    /// What they allowed, by its places; no place when it is only about themselves.
    pub allowed: Allowed,
    /// When the person last authenticated, Unix seconds.
    pub auth_time: i64,
    /// How (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// The class that it meets (OpenID Connect Core §2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
}

/// What a person has given to a client, as codes and refresh tokens carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// What for.
    pub authorized: Authorized,
    /// The session in which it was given.
    pub sid: String,
    /// Claims that were asked for by name.
    #[serde(default, skip_serializing_if = "ClaimsRequest::is_empty")]
    pub claims: ClaimsRequest,
}

impl Given {
    /// Whether a scope about the person is in it.
    #[must_use]
    pub fn has(&self, scope: IdentityScope) -> bool {
        self.authorized.allowed.identifies(scope)
    }
}

/// The resources of one token: those that are named of what was authorized, or all.
///
/// # Errors
/// `invalid_target` for another one, `invalid_grant` when none is left.
pub(super) fn resources(
    authorized: &Authorized,
    named: &[&str],
    resources: &Resources,
) -> Result<Vec<Arc<Resource>>> {
    let theirs = |reference| {
        let found = resources.by_uri(reference);
        found.filter(|r| !r.is_builtin()).cloned()
    };
    let mut all: Vec<_> = authorized.allowed.places().filter_map(theirs).collect();
    let about = resources.by_id(USERINFO_ID).cloned();
    let about = about.filter(|_| authorized.allowed.identifies(IdentityScope::OpenId));
    if named.is_empty() {
        if authorized.allowed.places().next().is_none() {
            all.extend(about);
        }
        if all.is_empty() {
            return Err(OAuthError::invalid_grant(
                "The resource this was granted for has been removed.",
            ));
        }
        return Ok(all);
    }
    all.extend(about);
    let wanted: BTreeSet<&str> = named
        .iter()
        .map(|uri| {
            let found = resources.by_uri(uri);
            let found = found.filter(|r| all.iter().any(|one| one.id() == r.id()));
            found.map(|r| r.id()).ok_or_else(|| targets::refused(uri))
        })
        .collect::<Result<_>>()?;
    all.retain(|r| wanted.contains(r.id()));
    Ok(all)
}

/// The scope of one token: what was authorized and is known at its resources, or a part of it.
/// Every resource that knows a name will honour it, so it has to be allowed at each of them.
///
/// # Errors
/// `invalid_scope` when more is asked than was authorized, or nothing of it is left.
pub(super) fn scopes(
    authorized: &Authorized,
    resources: &[Arc<Resource>],
    requested: Option<&Scope>,
) -> Result<BTreeSet<String>> {
    let requested = requested.filter(|scope| !scope.is_empty());
    let beyond = requested.into_iter().flat_map(Scope::iter);
    let beyond: Vec<&str> = beyond
        .filter(|name| !authorized.allowed.holds(name))
        .collect();
    if !beyond.is_empty() {
        let beyond: String = beyond.join(" ").chars().take(200).collect();
        return Err(OAuthError::invalid_scope(format!(
            "'{beyond}' is more than was authorized: ask the person again."
        )));
    }
    let nothing = BTreeSet::new();
    let at = |reference: &str| authorized.allowed.0.get(reference).unwrap_or(&nothing);
    let wanted = |name: &str| requested.is_none_or(|scope| scope.contains(name));
    let everywhere = |name: &str| {
        let mut knowing = resources
            .iter()
            .filter(|r| r.catalogue().contains_key(name));
        knowing.all(|r| r.is_builtin() || at(r.reference()).contains(name))
    };
    let mut granted = BTreeSet::new();
    for resource in resources.iter().filter(|r| !r.is_builtin()) {
        let allowed = at(resource.reference());
        let named = allowed.iter().map(String::as_str).filter(|s| wanted(s));
        let closed = resource.expand(named).into_iter();
        let closed = closed.filter(|name| allowed.contains(*name) && everywhere(name));
        granted.extend(closed.map(str::to_owned));
    }
    let about = at(IDENTITY).iter().filter(|name| wanted(name));
    granted.extend(about.cloned());
    if granted.is_empty() && requested.is_some() {
        return Err(OAuthError::invalid_scope(
            "Nothing of what was authorized is known at this resource.",
        ));
    }
    Ok(granted)
}
