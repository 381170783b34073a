//! `{issuer}/ssf/streams`: a receiver creates, reads, changes and deletes its streams
//! (SSF 1.0 §8.1.1).

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{StatusCode, Uri};
use serde_json::Value;

use super::{
    agreement::{self, Agreed, Wish, terms},
    answers::{answer, done},
    asked::{in_query, members, named, nothing, receiver, unnamed},
    changes::{self, By, Next, new_row, with_agreement},
    room,
};
use crate::{
    app::{App, AppState},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    journal::Command,
    registry::{EventsScope, Stream, StreamDocument, Tenant},
    store::Change,
    web::extract::ForTenant,
};

/// Creates a stream.
///
/// # Errors
/// 401, 403 also beyond the limit, 400 for what cannot be agreed on.
pub(super) async fn create(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let who = receiver(&app, &tenant, &credentials, EventsScope::Manage).await?;
    let wish = Wish::of_new(&members(&app, request).await?, &app.fetch)?;
    let client = tenant.client(&who.client_id).ok_or_else(nothing)?;
    // Nobody gets past the limit by being quick.
    let _held = app.administration.lock().await;
    let (mut changes, mut audit): (Vec<_>, Vec<_>) = room::make(&app, &tenant, client.id())
        .await?
        .into_iter()
        .unzip();
    let document = client.document().map_err(OAuthError::server_error)?;
    let terms = terms(&tenant.resources(), client.id(), &document);
    let row = new_row(&app, &tenant, client.id(), &wish.replace(terms))?;
    let id = row.id.clone();
    audit.push(By::Token(&who).record(&app, &tenant, &id, "created"));
    changes.push(Change::PutStream { row, before: None });
    let command = Command::new(changes, audit);
    app.journal.commit(command).await?;
    let stream = tenant.stream(&id).ok_or_else(nothing)?;
    Ok(answer(StatusCode::CREATED, &shown(&app, &tenant, &stream)))
}

/// Reads one stream, or all.
///
/// # Errors
/// 401, 403, 404.
pub(super) async fn read(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    uri: Uri,
) -> Result<Response> {
    let who = receiver(&app, &tenant, &credentials, EventsScope::Read).await?;
    let body = match in_query(&app, &tenant, &who, &uri).await? {
        Some(stream) => shown(&app, &tenant, &stream),
        None => {
            let theirs = tenant.streams();
            let theirs = theirs.iter().filter(|s| s.client_id() == who.client_id);
            theirs.map(|stream| shown(&app, &tenant, stream)).collect()
        }
    };
    Ok(answer(StatusCode::OK, &body))
}

/// Changes what is said of a stream, and nothing else of it.
///
/// # Errors
/// 401, 403, 400, 404.
pub(super) async fn update(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    agree(&app, &tenant, &credentials, request, Wish::update).await
}

/// Makes a stream what is said of it.
///
/// # Errors
/// 401, 403, 400, 404.
pub(super) async fn replace(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    agree(&app, &tenant, &credentials, request, Wish::replace).await
}

async fn agree(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    request: Request,
    how: fn(Wish, StreamDocument) -> Agreed,
) -> Result<Response> {
    let who = receiver(app, tenant, credentials, EventsScope::Manage).await?;
    let members = members(app, request).await?;
    let stream = named(app, tenant, &who, &members).await?;
    let plan = |stream: &Stream| {
        let wish = Wish::of_known(&members, &shown(app, tenant, stream), &app.fetch)?;
        let agreed = how(wish, stream.document().clone());
        let row = with_agreement(app, stream.row().clone(), &agreed)?;
        let same = row.document == stream.row().document
            && row.authorization == stream.row().authorization;
        let what = "changed".to_owned();
        Ok((!same).then_some(Next {
            row,
            with: Vec::new(),
            what,
        }))
    };
    let stream = changes::change(app, tenant, By::Token(&who), stream.id(), plan).await?;
    Ok(answer(StatusCode::OK, &shown(app, tenant, &stream)))
}

/// Deletes a stream.
///
/// # Errors
/// 401, 403, 400 when none is named, 404.
pub(super) async fn delete(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    uri: Uri,
) -> Result<Response> {
    let who = receiver(&app, &tenant, &credentials, EventsScope::Manage).await?;
    let stream = in_query(&app, &tenant, &who, &uri).await?;
    let stream = stream.ok_or_else(unnamed)?;
    changes::remove(&app, &tenant, By::Token(&who), &stream).await?;
    Ok(done(StatusCode::NO_CONTENT))
}

fn shown(app: &App, tenant: &Tenant, stream: &Stream) -> Value {
    agreement::shown(tenant, stream, app.config.events.verification_interval)
}
