//! A client by its id: from the registry, or from the document that its id is the URL of.

use std::sync::Arc;

use super::{
    authentication::enabled,
    cimd::{self, Age},
};
use crate::{
    app::App,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
    registry::{Client, Tenant},
};

/// The client of this id, for whoever does not authenticate it: the authorization endpoint.
///
/// A client that came by a metadata document is as the document describes it now. It may be no row
/// yet: see [`cimd::row`].
///
/// # Errors
/// `invalid_request`, for a page, with words for its developer, the same for a client that is
/// disabled and one that never was; 429 when its address names too many documents, 503 when too
/// many are on their way.
pub async fn find(app: &App, tenant: &Tenant, client_id: &str) -> Result<Arc<Client>> {
    if cimd::is_meant(client_id) {
        let found = cimd::find(app, tenant, client_id, Age::Fresh).await;
        return found.map_err(|refusal| match OAuthError::from(refusal) {
            refusal if refusal.code == ErrorCode::InvalidClient => {
                OAuthError::invalid_request(refusal.description().into_owned())
            }
            other => other,
        });
    }
    let known = enabled(tenant, client_id);
    // Another node may have registered it a moment ago.
    let known = match known {
        None if app.feed.catch_up().await => enabled(tenant, client_id),
        known => known,
    };
    known.ok_or_else(|| {
        OAuthError::invalid_request(
            "client_id: there is no such client here. It may have been removed: then the program \
             has to register again.",
        )
    })
}

/// The client that a request says it comes from, to be authenticated.
///
/// # Errors
/// `invalid_client`, which says what is wrong with a document: those are no secret. 429 and 503 as
/// [`find`].
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
