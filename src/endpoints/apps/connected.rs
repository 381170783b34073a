//! Who has something in a person's name: the clients that they let have it, and whoever got a part
//! of it from one of those by token exchange.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::successors,
};

use entity::{consent, grant, refresh_token};
use serde::Serialize;

use crate::{
    app::App,
    endpoints::described::{Group, called, groups},
    error::{OAuthError, Result},
    policy::person::Allowed,
    registry::Tenant,
    store::{authorization, grants::PERSON},
    web::written,
};

/// What a person lets one client have.
#[derive(Debug, Serialize)]
pub(super) struct ConnectedApp {
    client_id: String,
    name: String,
    /// Since when.
    since: String,
    /// When it last got a token; none when it has no grant any more.
    last_used: Option<String>,
    groups: Vec<Group>,
    /// Who acts for the person with that, too.
    agents: Vec<Agent>,
}

/// Somebody who was handed a part of it.
#[derive(Debug, Serialize)]
struct Agent {
    client_id: String,
    name: String,
    /// When it last got a token.
    last_used: String,
    /// Where: names of resources.
    places: Vec<String>,
}

/// All that this person lets clients have.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn apps(app: &App, tenant: &Tenant, user: &str) -> Result<Vec<ConnectedApp>> {
    let (name, now) = (tenant.name(), app.clock.seconds());
    let consents = authorization::consents(&app.db, name, user).await?;
    let grants = authorization::grants_of(&app.db, name, user, now).await?;
    let ids: Vec<String> = grants.iter().map(|grant| grant.id.clone()).collect();
    let lines = authorization::lines_of(&app.db, name, &ids).await?;
    let in_use = InUse::of(&grants, &lines);
    let apps = consents.iter().map(|row| in_use.app(tenant, row));
    apps.collect()
}

/// The grants that hold, by the client that the person gave the first of them to, and then by the
/// client that holds them.
struct InUse<'r>(BTreeMap<&'r str, BTreeMap<&'r str, Uses<'r>>>);

/// What one client does with its grants.
#[derive(Default)]
struct Uses<'r> {
    /// Unix seconds.
    last: i64,
    /// References of resources, of what was handed on.
    places: BTreeSet<&'r str>,
}

impl<'r> InUse<'r> {
    fn of(grants: &'r [grant::Model], lines: &'r [refresh_token::Model]) -> Self {
        let by_id: BTreeMap<&str, &grant::Model> =
            grants.iter().map(|row| (row.id.as_str(), row)).collect();
        let parent = |row: &&'r grant::Model| by_id.get(row.parent.as_deref()?).copied();
        let mut refreshed: BTreeMap<&str, i64> = BTreeMap::new();
        for line in lines {
            let at = refreshed.entry(&line.grant_id).or_default();
            *at = line.used_at.max(*at);
        }
        let mut all = BTreeMap::<_, BTreeMap<_, Uses<'_>>>::new();
        for row in grants {
            // Without the one that it began with it is over, and only not yet forgotten.
            let first = successors(Some(row), parent).last();
            let Some(first) = first.filter(|first| first.identity.starts_with(PERSON)) else {
                continue;
            };
            let of_app = all.entry(first.client_id.as_str()).or_default();
            let uses = of_app.entry(row.client_id.as_str()).or_default();
            let refreshed = refreshed.get(row.id.as_str()).copied();
            let used = row.created_at.max(refreshed.max(row.used_at).unwrap_or(0));
            uses.last = uses.last.max(used);
            if row.parent.is_some() {
                uses.places.extend(row.resources.split(' '));
            }
        }
        Self(all)
    }

    fn app(&self, tenant: &Tenant, row: &consent::Model) -> Result<ConnectedApp> {
        let allowed: Allowed =
            serde_json::from_str(&row.document).map_err(OAuthError::server_error)?;
        let uses = self.0.get(row.client_id.as_str());
        let own = uses.and_then(|all| all.get(row.client_id.as_str()));
        let all = uses.into_iter().flatten();
        // The client itself is among them where it went beyond the resources that it was given.
        let agents = all.filter(|(_, uses)| !uses.places.is_empty());
        let agents = agents.map(|(client_id, uses)| {
            Ok(Agent {
                client_id: (*client_id).to_owned(),
                name: named(tenant, client_id)?,
                last_used: written(uses.last),
                places: uses.places.iter().map(|r| place(tenant, r)).collect(),
            })
        });
        Ok(ConnectedApp {
            client_id: row.client_id.clone(),
            name: named(tenant, &row.client_id)?,
            since: written(row.created_at),
            last_used: own.map(|uses| written(uses.last)),
            groups: groups(&allowed, &Allowed::default(), &tenant.resources()),
            agents: agents.collect::<Result<_>>()?,
        })
    }
}

/// What a client calls itself, or its id.
fn named(tenant: &Tenant, client_id: &str) -> Result<String> {
    let client = tenant.client(client_id);
    let document = client.map(|client| client.document()).transpose();
    let document = document.map_err(OAuthError::server_error)?;
    let name = document.map(|document| document.name);
    let name = name.filter(|name| !name.is_empty());
    Ok(name.unwrap_or_else(|| client_id.to_owned()))
}

/// What a resource is called, or its reference.
fn place(tenant: &Tenant, reference: &str) -> String {
    let resources = tenant.resources();
    let resource = resources.by_name(reference).map(|r| called(r));
    resource.unwrap_or(reference).to_owned()
}
