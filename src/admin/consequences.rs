//! What follows from a change of a client: what it holds ends, receivers are told, and its own
//! streams go with its rights.

use std::collections::BTreeSet;

use entity::client;
use serde_json::json;

use crate::{
    app::App,
    error::{OAuthError, Result},
    policy::sensitivity::{entitled, named},
    registry::{Client, EVENTS_ID, Resource, Resources, Tenant},
    signals::{Audience, Cause, Draft, EventKind, Initiator, Level, SHORT, subject::Tokens},
    store::{Change, Whose},
    streams::agreement::terms,
};

/// A change with what follows from it. `resources` are those that there will be.
///
/// # Errors
/// None for rows that the registry could read.
pub(super) fn with_consequences(
    app: &App,
    tenant: &Tenant,
    resources: &Resources,
    change: Change,
) -> Result<Vec<Change>> {
    let mut all = vec![change];
    if let Some(Change::PutClient {
        row,
        before: Some(before),
    }) = all.first()
    {
        let followed = consequences(app, tenant, resources, before, row)?;
        all.extend(followed);
    }
    Ok(all)
}

fn consequences(
    app: &App,
    tenant: &Tenant,
    resources: &Resources,
    before: &client::Model,
    after: &client::Model,
) -> Result<Vec<Change>> {
    let read = |row| Client::from_row(row).map_err(OAuthError::server_error);
    let (before, after) = (read(before)?, read(after)?);
    let mut all = Vec::new();
    if after.is_disabled() {
        // A disabled one holds nothing, which is told by itself.
        all.push(Change::EndGrants {
            tenant: tenant.name().to_owned(),
            whose: Whose::Client(after.id().to_owned()),
        });
    } else {
        all.extend(told(app, tenant, resources, &before, &after));
    }
    all.extend(streams(app, tenant, resources, &after)?);
    Ok(all)
}

/// What receivers are told of rights that a client has lost.
fn told(
    app: &App,
    tenant: &Tenant,
    resources: &Resources,
    before: &Client,
    after: &Client,
) -> Vec<Change> {
    let why = "an administrator has reduced what it may do";
    let cause = Cause::new(&app.entropy, Initiator::Admin, why);
    let of_others = resources.all().into_iter().filter(|r| !r.is_builtin());
    let drafts = of_others.filter_map(|resource| narrowed(tenant, resource, before, after));
    let row = |draft: Draft| {
        let row = draft.row(tenant.name(), &cause, &app.entropy, app.clock.millis());
        Change::Signal(row)
    };
    drafts.map(row).collect()
}

/// What a resource's server is to hear when a client may do less there: its tokens allow no more
/// than what is left (CAEP §3.2), or nothing at all.
fn narrowed(
    tenant: &Tenant,
    resource: &Resource,
    before: &Client,
    after: &Client,
) -> Option<Draft> {
    let (had, has) = (reach(before, resource), reach(after, resource));
    if had.is_subset(&has) {
        return None;
    }
    let application = Tokens {
        application: Some(after.id()),
        ..Tokens::default()
    };
    let subject = application.of(tenant.issuer());
    let audience = Audience::Resources(vec![resource.reference().to_owned()]);
    if has.is_empty() {
        return Some(Draft::revoked(Level::Access, subject, audience));
    }
    let left: Vec<&str> = has.into_iter().collect();
    let claims = json!({ "scope": left.join(" ") });
    Some(Draft {
        audience,
        level: Level::Access,
        kind: EventKind::TOKEN_CLAIMS_CHANGE,
        subject,
        members: [("claims".to_owned(), claims)].into_iter().collect(),
        lifetime: SHORT,
    })
}

/// Everything that tokens of a client may allow at a resource: for itself, and by exchange.
fn reach<'a>(client: &'a Client, resource: &'a Resource) -> BTreeSet<&'a str> {
    let mut scopes = entitled(client, resource);
    if let Some(exchange) = client.rights().exchange(resource.reference()) {
        scopes.extend(named(exchange, resource));
        let translated = exchange.translate.values().flatten();
        scopes.extend(resource.expand(translated.map(String::as_str)));
    }
    scopes
}

/// Streams are about what their receiver serves, and in words that it understands.
fn streams(
    app: &App,
    tenant: &Tenant,
    resources: &Resources,
    after: &Client,
) -> Result<Vec<Change>> {
    let document = after.document().map_err(OAuthError::server_error)?;
    let terms = terms(resources, after.id(), &document);
    let events = resources.by_id(EVENTS_ID);
    let hears = events.is_some_and(|events| !entitled(after, events).is_empty());
    let mut changes = Vec::new();
    for stream in tenant.streams() {
        if stream.client_id() != after.id() {
            continue;
        }
        // The audience of a stream never changes (SSF 1.0 §8.1.1).
        if !hears || stream.document().aud != terms.aud {
            changes.push(Change::RemoveStream {
                tenant: tenant.name().to_owned(),
                id: stream.id().to_owned(),
            });
            continue;
        }
        let mut document = stream.document().clone();
        document.resources.clone_from(&terms.resources);
        document.subjects = terms.subjects;
        document.algorithm = terms.algorithm;
        if document != *stream.document() {
            let before = stream.row().clone();
            let mut row = before.clone();
            row.document = serde_json::to_string(&document).map_err(OAuthError::server_error)?;
            row.updated_at = app.clock.millis().max(before.updated_at + 1);
            let before = Some(Box::new(before));
            changes.push(Change::PutStream { row, before });
        }
    }
    Ok(changes)
}
