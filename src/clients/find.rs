//! A client by its id: from the registry, or from the document that its id is the URL of.

use std::sync::Arc;

use super::{
    authentication::enabled,
    cimd::{self, Age},
};
use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::{Client, Tenant},
};

/// The client of this id, for whoever does not authenticate it: the authorization endpoint.
///
/// A client that came by a metadata document is as the document describes it now. It may be no row
/// yet: see [`cimd::row`].
///
/// # Errors
/// `invalid_client` with words for its developer, the same for a client that is disabled and one
/// that never was; 429 when its address names too many documents.
pub async fn find(app: &App, tenant: &Tenant, client_id: &str) -> Result<Arc<Client>> {
    if cimd::is_meant(client_id) {
        return Ok(cimd::find(app, tenant, client_id, Age::Fresh).await?);
    }
    let known = enabled(tenant, client_id);
    // Another node may have registered it a moment ago.
    let known = match known {
        None if app.feed.catch_up().await => enabled(tenant, client_id),
        known => known,
    };
    known.ok_or_else(|| {
        OAuthError::invalid_client(
            "There is no client with this client_id: it was never registered here, was removed, \
             or is disabled. Register it again.",
        )
    })
}

/// The client that a request says it comes from, to be authenticated.
///
/// # Errors
/// As [`find`], for clients whose id is the URL of a document: those are no secret.
pub(super) async fn claimed(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
) -> Result<Option<Arc<Client>>> {
    if cimd::is_meant(client_id) {
        return Ok(Some(
            cimd::find(app, tenant, client_id, Age::LastGood).await?,
        ));
    }
    Ok(enabled(tenant, client_id))
}
