//! `/admin/keys`

use axum::{
    Json,
    extract::{Request, State},
};
use serde::{Deserialize, Serialize};

use super::{may, read};
use crate::{
    app::AppState,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    keys::{KeyState, SigningAlgorithm, rotation},
    registry::{AdminScope, Tenant},
    web::extract::ForTenant,
};

/// A signing key, without its private part.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct KeyView {
    /// RFC 7638 thumbprint.
    kid: String,
    /// What it signs with.
    algorithm: SigningAlgorithm,
    /// Where it is in its life.
    state: KeyState,
    /// Unix seconds.
    published_at: i64,
    /// Unix seconds; when it began to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    activated_at: Option<i64>,
    /// Unix seconds; when it leaves the JWKS, or for a past one when it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    remove_at: Option<i64>,
}

/// What to rotate.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// Only this algorithm; without it all.
    #[serde(default)]
    algorithm: Option<SigningAlgorithm>,
    /// Use the next key even if it was published so recently that some verifier may not have it.
    #[serde(default)]
    now: bool,
}

/// Lists signing keys.
#[utoipa::path(get, path = "/admin/keys", responses((status = 200, body = Vec<KeyView>)),
    security(("token" = ["writ:read"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Vec<KeyView>>> {
    may(&app, &tenant, &credentials, AdminScope::Read).await?;
    Ok(Json(views(&tenant)))
}

/// Makes the next key sign, keeps the one before until its last token is over, publishes another.
#[utoipa::path(
    post,
    path = "/admin/keys/rotate",
    request_body = Rotation,
    responses((status = 200, body = Vec<KeyView>), (status = 409)),
    security(("token" = ["writ:keys"]))
)]
pub(super) async fn rotate(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Json<Vec<KeyView>>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Keys).await?;
    let wanted: Rotation = read(&app, request).await?;
    let _held = app.administration.lock().await;
    // A key that is not there yet is published first, so that there is one to activate.
    app.maintain_keys(&tenant).await?;
    let rows = tenant.keys().rows();
    let mut times = rotation::Times::of(&app.config);
    if wanted.now {
        times.published_for = 0;
    }
    let now = app.clock.seconds();
    let plans = SigningAlgorithm::ALL
        .into_iter()
        .filter(|algorithm| wanted.algorithm.is_none_or(|one| one == *algorithm))
        .map(|algorithm| {
            rotation::rotate(algorithm, &rows, now, &times).map(|plan| (algorithm, plan))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|wait| OAuthError::conflict(format!("{wait}; ask for 'now' to use it anyway.")))?;
    app.carry_out(
        &tenant,
        rows,
        plans,
        &format!("rotated by {}", who.client_id),
    )
    .await?;
    Ok(Json(views(&tenant)))
}

fn views(tenant: &Tenant) -> Vec<KeyView> {
    tenant
        .keys()
        .keys()
        .iter()
        .map(|key| KeyView {
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            state: key.state,
            published_at: key.row.published_at,
            activated_at: key.row.activated_at,
            remove_at: key.row.remove_at,
        })
        .collect()
}
