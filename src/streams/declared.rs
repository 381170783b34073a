//! Streams that are declared with the resource they are about, for the client that serves it: its
//! server finds one when it first asks, or never has to ask where it is pushed to.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    agreement::{Agreed, Wish, supported, terms},
    asked::{Members, refuse},
    changes::{new_row, with_agreement},
    secret,
};
use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::{Client, Origin, Resources, Stream, Tenant},
    store::Change,
};

/// The words for a stream that was declared, until its receiver has others.
const DECLARED: &str = "declared";

/// A stream as it is declared.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StreamDeclaration {
    /// How it is delivered; without it the server polls or keeps a feed open.
    pub delivery: Option<DeliveryDeclaration>,
    /// URIs of the event types that are delivered; without it all.
    pub events_requested: Option<Vec<String>>,
}

/// How a declared stream is delivered.
#[derive(Clone, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryDeclaration {
    /// `urn:ietf:rfc:8935` (push) or `urn:ietf:rfc:8936` (poll, feed).
    pub method: String,
    /// Where it is pushed to.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// The `Authorization` header that goes with pushes; it is never shown.
    #[serde(default)]
    pub authorization_header: Option<String>,
}

impl fmt::Debug for DeliveryDeclaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delivery({}, {:?})", self.method, self.endpoint_url)
    }
}

/// What has to be done for a declared stream to be there.
#[derive(Debug)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// The row to write; nothing when it is so already.
    pub change: Option<Change>,
}

/// What makes a declared stream true: that of the client which serves the resource of this
/// reference. `resources` are those that there will be, and `planned` what is changed with it.
///
/// # Errors
/// `invalid_request` with what cannot be agreed on, and when nobody serves the resource, or
/// several do.
pub fn plan(
    app: &App,
    tenant: &Tenant,
    resources: &Resources,
    planned: &[Change],
    resource: &str,
    declared: &StreamDeclaration,
) -> Result<Planned> {
    let resource = resources.by_id(resource);
    let reference = resource.map_or("", |resource| resource.reference());
    let client = server(tenant, planned, reference)?;
    let client_id = client.id();
    let document = client.document().map_err(OAuthError::server_error)?;
    let mut wish = Wish::of_new(&members(declared), &app.fetch)?;
    wish.description = Some(DECLARED.to_owned());
    if wish.events_requested.is_none() {
        let all = supported().map(|kind| kind.uri.to_owned());
        wish.events_requested = Some(all.collect());
    }
    let mut agreed = wish.replace(terms(resources, client_id, &document));
    agreed.document.declared = true;
    let Some(before) = known(tenant, client_id) else {
        let row = new_row(app, tenant, client_id, &agreed)?;
        return Ok(Planned {
            id: row.id.clone(),
            change: Some(Change::PutStream { row, before: None }),
        });
    };
    // What its receiver has done to it stays.
    let (document, theirs) = (&mut agreed.document, before.document());
    document.excluded.clone_from(&theirs.excluded);
    document.description.clone_from(&theirs.description);
    if has_header(app, &before, &agreed)? {
        agreed.authorization = None;
    }
    let mut row = with_agreement(app, before.row().clone(), &agreed)?;
    row.updated_at = app.clock.millis().max(before.row().updated_at + 1);
    let same = agreed.authorization.is_none() && row.document == before.row().document;
    let change = Change::PutStream {
        row,
        before: Some(Box::new(before.row().clone())),
    };
    Ok(Planned {
        id: before.id().to_owned(),
        change: (!same).then_some(change),
    })
}

/// The stream that was declared for a client.
fn known(tenant: &Tenant, client_id: &str) -> Option<Arc<Stream>> {
    let is_it =
        |stream: &Arc<Stream>| stream.client_id() == client_id && stream.document().declared;
    tenant.streams().into_iter().find(is_it)
}

/// The one client that serves a resource. That which came with it is meant where there are others.
fn server(tenant: &Tenant, planned: &[Change], reference: &str) -> Result<Arc<Client>> {
    let mut clients: BTreeMap<String, Arc<Client>> = BTreeMap::new();
    for client in tenant.clients() {
        clients.insert(client.id().to_owned(), client);
    }
    for change in planned {
        if let Change::PutClient { row, .. } = change {
            let client = Client::from_row(row).map_err(OAuthError::server_error)?;
            clients.insert(row.client_id.clone(), Arc::new(client));
        }
    }
    let mut servers: Vec<_> = clients.into_values().collect();
    servers.retain(|client| client.rights().serves(reference));
    let came_with_it = |client: &Arc<Client>| client.origin() == Origin::Resource;
    if servers.iter().any(came_with_it) {
        servers.retain(came_with_it);
    }
    let why = match servers.as_slice() {
        [server] => return Ok(server.clone()),
        [] => "declare one client that serves it",
        _ => "several clients serve it: let each create its own",
    };
    Err(refuse("stream", &format!("'{reference}': {why}")))
}

fn members(declared: &StreamDeclaration) -> Members {
    let members = json!({
        "delivery": declared.delivery,
        "events_requested": declared.events_requested,
    });
    members.as_object().cloned().unwrap_or_default()
}

/// Whether the header that was agreed on is the one that is stored.
fn has_header(app: &App, stream: &Stream, agreed: &Agreed) -> Result<bool> {
    let stored = secret::header(app, stream)?;
    let wanted = agreed.authorization.as_ref().and_then(Option::as_ref);
    let wanted = wanted.map(|header| header.as_bytes());
    Ok(stored.as_deref().map(Vec::as_slice) == wanted)
}
