//! `{issuer}/ssf/subjects/add` and `/remove`: whom a receiver wants to hear of (SSF 1.0 §8.1.3).
//! Every stream begins with everybody: to remove is to exclude, to add is to take that back.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use serde_json::Value;

use super::{
    answers::done,
    asked::{Members, members, named, receiver, refuse, said},
    changes::{self, By, Next, written},
};
use crate::{
    app::{App, AppState},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
    registry::{EventsScope, Excluded, Stream, Tenant},
    signals::subject,
    web::extract::ForTenant,
};

/// Most subjects that one stream excludes, and the most that they take up, bytes.
const MAX_EXCLUDED: usize = 1000;
const MAX_DOCUMENT: usize = 256 * 1024;

/// Has a stream tell of a subject again. Whether anybody knows that subject is not said.
///
/// # Errors
/// 401, 403, 400, 404.
pub(super) async fn add(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let include = |excluded: &mut Vec<Excluded>, subject: &Value| {
        excluded.retain(|one| one.subject != *subject);
    };
    change(&app, &tenant, &credentials, request, include).await?;
    Ok(done(StatusCode::OK))
}

/// Has a stream tell no more of a subject, after a while: see [`Stream::concerns`].
///
/// # Errors
/// 401, 403, 400, 404, 429 when too many are excluded already.
pub(super) async fn remove(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Response> {
    let since = app.clock.seconds();
    let exclude = |excluded: &mut Vec<Excluded>, subject: &Value| {
        if excluded.iter().all(|one| one.subject != *subject) {
            let subject = subject.clone();
            excluded.push(Excluded { subject, since });
        }
    };
    change(&app, &tenant, &credentials, request, exclude).await?;
    Ok(done(StatusCode::NO_CONTENT))
}

async fn change(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    request: Request,
    how: impl Fn(&mut Vec<Excluded>, &Value),
) -> Result<()> {
    let who = receiver(app, tenant, credentials, EventsScope::Manage).await?;
    let members = members(app, request).await?;
    let stream = named(app, tenant, &who, &members).await?;
    let subject = checked(&members)?;
    // The stream itself is always included (SSF 1.0 §8.1.3).
    if *subject == subject::stream(stream.id()) {
        return Ok(());
    }
    let plan = |stream: &Stream| {
        let mut document = stream.document().clone();
        how(&mut document.excluded, subject);
        if document.excluded == stream.document().excluded {
            return Ok(None);
        }
        let mut row = stream.row().clone();
        row.document = written(&document)?;
        let grows = row.document.len() > stream.row().document.len();
        if grows && (document.excluded.len() > MAX_EXCLUDED || row.document.len() > MAX_DOCUMENT) {
            return Err(OAuthError::new(
                ErrorCode::TooMany,
                "This stream excludes as many subjects as it can.",
            ));
        }
        Ok(Some(Next {
            row,
            with: Vec::new(),
            what: "subjects changed".to_owned(),
        }))
    };
    changes::change(app, tenant, By::Token(&who), stream.id(), plan).await?;
    Ok(())
}

fn checked(members: &Members) -> Result<&Value> {
    if said(members, "verified").is_some_and(|value| !value.is_boolean()) {
        return Err(refuse("verified", "true or false"));
    }
    let subject = said(members, "subject");
    let subject = subject.ok_or_else(|| refuse("subject", "a subject identifier (RFC 9493)"))?;
    subject::check(subject).map_err(|why| OAuthError::invalid_request(format!("{why}.")))?;
    Ok(subject)
}
