//! `/admin/audit`

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, Request, State, rejection::QueryRejection},
};
use chrono::DateTime;
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded;

use super::{may, read};
use crate::{
    app::{App, AppState},
    audit::hexadecimal,
    config::RegistrationMode,
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    registry::{AdminScope, Tenant},
    store,
    trail::{
        checkpoint,
        select::{self, Filter},
        truncate::{self, Truncated},
        verify::{self, Findings},
    },
    web::extract::ForTenant,
};

/// Most events of one answer.
const PAGE: u32 = 1000;

/// One event.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct EventView {
    /// The node that wrote it.
    node: String,
    /// Position in the node's chain.
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

/// Which events to list; those to which all of it applies.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    /// Another tenant, one that has ended too; for the server's own administrators.
    #[serde(default)]
    tenant: Option<String>,
    /// Where an earlier answer ended, from its Link header.
    #[serde(default)]
    cursor: Option<String>,
    /// A client, as the one that asked or as one of the actors.
    #[serde(default)]
    agent: Option<String>,
    /// Whom the token speaks for.
    #[serde(default)]
    subject: Option<String>,
    /// A resource, by id or URI.
    #[serde(default)]
    resource: Option<String>,
    /// The W3C trace id of an agent's run.
    #[serde(default)]
    run: Option<String>,
    /// A kind, for example token.issued, or all that begin so: token.*
    #[serde(default)]
    kind: Option<String>,
    /// Events of this node only.
    #[serde(default)]
    node: Option<String>,
    /// Only events after this position in a node's chain.
    #[serde(default)]
    after: Option<i64>,
    /// Not earlier than this (RFC 3339).
    #[serde(default)]
    since: Option<String>,
    /// Earlier than this (RFC 3339).
    #[serde(default)]
    until: Option<String>,
    /// At most this many, up to 1000.
    #[serde(default)]
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295i64)]
    limit: Option<u32>,
}

impl Selection {
    fn filter(&self) -> Result<Filter> {
        Ok(Filter {
            agent: self.agent.clone(),
            subject: self.subject.clone(),
            resource: self.resource.clone(),
            run: self.run.clone(),
            kind: self.kind.clone(),
            node: self.node.clone(),
            after: self.after,
            since: millis("since", self.since.as_deref())?,
            until: millis("until", self.until.as_deref())?,
        })
    }

    /// The same question, from a place further on.
    fn at(&self, cursor: &str) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let members = [
            ("tenant", &self.tenant),
            ("agent", &self.agent),
            ("subject", &self.subject),
            ("resource", &self.resource),
            ("run", &self.run),
            ("kind", &self.kind),
            ("node", &self.node),
            ("since", &self.since),
            ("until", &self.until),
            ("limit", &limit),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in members {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("cursor", cursor).finish()
    }
}

fn millis(name: &str, moment: Option<&str>) -> Result<Option<i64>> {
    let read = |text: &str| {
        DateTime::parse_from_rfc3339(text)
            .map(|moment| moment.timestamp_millis())
            .map_err(|_| {
                OAuthError::invalid_request(format!(
                    "{name} must be a moment as in RFC 3339, for example 2026-11-22T08:00:00Z."
                ))
            })
    };
    moment.map(read).transpose()
}

/// The tenant whose trail is wanted. That of a tenant which has ended stays, and has no issuer any
/// more at which it could be read.
async fn whose(app: &App, own: &Arc<Tenant>, named: Option<&str>) -> Result<Arc<Tenant>> {
    let Some(name) = named.filter(|name| *name != own.name()) else {
        return Ok(own.clone());
    };
    if !own.is_default() {
        return Err(OAuthError::not_found(
            "Other tenants' trails are read at the server's own issuer.",
        ));
    }
    if let Some(tenant) = app.registry.find(name) {
        return Ok(tenant);
    }
    if store::audit::nodes(&app.db, name).await?.is_empty() {
        return Err(OAuthError::not_found(
            "There is no tenant of this name, nor a trail of one that has ended.",
        ));
    }
    let issuer = app.registry.root().url(&format!("/t/{name}"));
    Ok(Arc::new(Tenant::new(name, &issuer, RegistrationMode::Off)))
}

/// Lists events of all nodes, oldest first.
///
/// The Link header says where to go on: `next` where there is more, `monitor` for what will come.
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
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<(HeaderMap, Json<Vec<EventView>>)> {
    may(&app, &tenant, &credentials, AdminScope::Audit).await?;
    let Query(selection) = selection.map_err(|why| OAuthError::invalid_request(why.body_text()))?;
    let limit = selection.limit.unwrap_or(100).clamp(1, PAGE) as usize;
    let cursor = selection.cursor.as_deref();
    let whose = whose(&app, &tenant, selection.tenant.as_deref()).await?;
    let found = select::select(&app, &whose, &selection.filter()?, cursor, limit).await?;
    let relation = if found.more { "next" } else { "monitor" };
    let url = format!(
        "{}?{}",
        tenant.url("/admin/audit"),
        selection.at(&found.cursor)
    );
    // RFC 8288 §3; a form-encoded query has no character that ends the target.
    let link = HeaderValue::try_from(format!("<{url}>; rel=\"{relation}\""))
        .map_err(OAuthError::server_error)?;
    let views = found.events.into_iter().map(|(row, event)| EventView {
        node: row.node,
        seq: row.seq,
        at: row.at,
        kind: row.kind,
        event,
        hash: hexadecimal(&row.hash),
    });
    Ok((
        HeaderMap::from_iter([(header::LINK, link)]),
        Json(views.collect()),
    ))
}

/// Where verification goes on.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// Another tenant, one that has ended too; for the server's own administrators.
    #[serde(default)]
    tenant: Option<String>,
    /// `next` of the answer before.
    #[serde(default)]
    cursor: Option<String>,
}

/// Checks every row and both ends of every node's chain, a page at a time.
#[utoipa::path(
    get,
    path = "/admin/audit/verify",
    params(From),
    responses((status = 200, body = Findings)),
    security(("token" = ["writ:audit"]))
)]
pub(super) async fn verify(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    from: Result<Query<From>, QueryRejection>,
) -> Result<Json<Findings>> {
    may(&app, &tenant, &credentials, AdminScope::Audit).await?;
    let Query(from) = from.map_err(|why| OAuthError::invalid_request(why.body_text()))?;
    let whose = whose(&app, &tenant, from.tenant.as_deref()).await?;
    Ok(Json(
        verify::verify(&app, &whose, from.cursor.as_deref()).await?,
    ))
}

/// The trail as it is now, signed.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Signed {
    /// A compact JWS by the tenant's EdDSA key: position and hash of every chain's last row.
    checkpoint: String,
}

/// Signs what the trail is now, for somebody to keep elsewhere.
#[utoipa::path(
    get,
    path = "/admin/audit/checkpoint",
    responses((status = 200, body = Signed), (status = 409)),
    security(("token" = ["writ:audit"]))
)]
pub(super) async fn checkpoint(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Signed>> {
    may(&app, &tenant, &credentials, AdminScope::Audit).await?;
    let checkpoint = checkpoint::sign(&app, &tenant).await?;
    Ok(Json(Signed { checkpoint }))
}

/// What is to be taken away.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Truncation {
    /// Events before this moment (RFC 3339).
    before: String,
}

/// Takes away the oldest events of this node's chain, those that every sink has, some at a time.
#[utoipa::path(
    post,
    path = "/admin/audit/truncate",
    request_body = Truncation,
    responses((status = 200, body = Truncated), (status = 409)),
    security(("token" = ["writ:admin"]))
)]
pub(super) async fn truncate(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Json<Truncated>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Admin).await?;
    let wanted: Truncation = read(&app, request).await?;
    let before = millis("before", Some(&wanted.before))?.unwrap_or_default();
    let by = &who.client_id;
    Ok(Json(
        truncate::truncate(&app, tenant.name(), before, by).await?,
    ))
}

/// A sink, and how far this node's events have been delivered to it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SinkView {
    /// file, webhook or syslog.
    sink: &'static str,
    /// Where the events go; shown to the server's own administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The node that delivers.
    node: String,
    /// Position of the last event of this tenant that the sink has.
    delivered: i64,
    /// Position of the last event of this tenant.
    written: i64,
    /// Events of this tenant that wait.
    lag: i64,
    /// Why nothing is delivered at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Since when, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
}

/// Lists where events are delivered to, and how far that is.
#[utoipa::path(
    get,
    path = "/admin/audit/sinks",
    responses((status = 200, body = Vec<SinkView>)),
    security(("token" = ["writ:audit"]))
)]
pub(super) async fn sinks(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
) -> Result<Json<Vec<SinkView>>> {
    may(&app, &tenant, &credentials, AdminScope::Audit).await?;
    let chains = app.journal.chains();
    let own = tenant.is_default();
    let views = app.deliveries.all().iter().map(|delivery| {
        let progress = delivery.progress(tenant.name()).unwrap_or_default();
        let now = chains
            .written(tenant.name())
            .map_or(0, |chain| chain.last.seq);
        let written = progress.written.max(now);
        let trouble = delivery.trouble().filter(|_| own);
        SinkView {
            sink: delivery.sink,
            target: own.then(|| delivery.target.clone()),
            node: chains.node().to_owned(),
            delivered: progress.delivered,
            written,
            lag: (written - progress.delivered).max(0),
            since: trouble.as_ref().map(|trouble| trouble.since),
            problem: trouble.map(|trouble| trouble.why),
        }
    });
    Ok(Json(views.collect()))
}
