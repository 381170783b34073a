//! `/admin/audit`

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::may;
use crate::{
    app::AppState,
    audit::Head,
    endpoints::{extract::ForTenant, protected::Presented},
    error::{OAuthError, Result},
    registry::AdminScope,
    store::audit::{Filter, list as rows},
};

/// Rows read at a time.
const PAGE: u64 = 1000;

/// One event.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct EventView {
    /// Position in the chain.
    seq: i64,
    /// Unix milliseconds.
    at: i64,
    /// What happened.
    kind: String,
    /// Who, what, for which resource and scope, and how it ended.
    #[schema(value_type = Object)]
    event: Value,
    /// Hash of this row and the one before, hexadecimal.
    hash: String,
}

/// Which events to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Only events after this position.
    #[serde(default)]
    after: i64,
    /// Only of this kind.
    #[serde(default)]
    kind: Option<String>,
    /// At most this many, up to 1000.
    #[serde(default)]
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295i64)]
    limit: Option<u32>,
}

/// What verification found.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Verification {
    /// Whether every row is where and what it was when it was written.
    intact: bool,
    /// Rows that hold.
    events: i64,
    /// What is wrong with the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Lists events, oldest first.
#[utoipa::path(
    get,
    path = "/admin/audit",
    params(Selection),
    responses((status = 200, body = Vec<EventView>)),
    security(("token" = ["writ:audit"]))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    selection: Result<Query<Selection>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<EventView>>> {
    may(&app, &tenant, &credentials, AdminScope::Audit).await?;
    let Query(selection) = selection.map_err(|why| OAuthError::invalid_request(why.body_text()))?;
    let filter = Filter {
        after: selection.after,
        kind: selection.kind,
        limit: u64::from(selection.limit.unwrap_or(100)).clamp(1, PAGE),
    };
    let rows = rows(&app.db, tenant.name(), &app.config.storage.node, &filter).await?;
    let views = rows.into_iter().map(|row| EventView {
        seq: row.seq,
        at: row.at,
        kind: row.kind,
        event: serde_json::from_str(&row.event).unwrap_or(Value::Null),
        hash: row.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    });
    Ok(Json(views.collect()))
}

/// Reads the whole chain and checks every hash.
#[utoipa::path(
    get,
    path = "/admin/audit/verify",
    responses((status = 200, body = Verification)),
    security(("token" = ["writ:audit"]))
)]
pub(super) async fn verify(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Verification>> {
    may(&app, &tenant, &credentials, AdminScope::Audit).await?;
    let mut head = Head::default();
    loop {
        let filter = Filter {
            after: head.seq,
            kind: None,
            limit: PAGE,
        };
        let page = rows(&app.db, tenant.name(), &app.config.storage.node, &filter).await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            if let Err(broken) = head.follow(row) {
                return Ok(Json(Verification {
                    intact: false,
                    events: head.seq,
                    problem: Some(broken.to_string()),
                }));
            }
        }
    }
    Ok(Json(Verification {
        intact: true,
        events: head.seq,
        problem: None,
    }))
}
