//! What a call of the stream API says: who asks, for which stream, with which words.

use std::sync::Arc;

use axum::extract::Request;
use http::Uri;
use serde_json::{Map, Value};

use super::room;
use crate::{
    app::App,
    endpoints::protected::{Needs, Presented, let_in},
    error::{OAuthError, Result},
    oauth::claims::AccessClaims,
    registry::{EventsScope, Stream, Tenant},
    tokens::verify,
    web::extract::{json, parameters},
};

/// Members of a JSON object.
pub(super) type Members = Map<String, Value>;

/// Who asks, when they may: the client that this names owns the streams it is about.
pub(super) async fn receiver(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    scope: EventsScope,
) -> Result<AccessClaims> {
    let_in(app, tenant, credentials, Needs::Events(scope)).await
}

/// The members of a request's body.
pub(super) async fn members(app: &App, request: Request) -> Result<Members> {
    let body = json(request, app.config.limits.body).await?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(OAuthError::invalid_request(
            "The body must be a JSON object.",
        )),
        Err(why) => Err(OAuthError::invalid_request(format!("The body: {why}."))),
    }
}

/// A member that says something.
pub(super) fn said<'a>(members: &'a Members, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

/// A member that is a text, of at most so many bytes.
pub(super) fn text<'a>(members: &'a Members, name: &str, most: usize) -> Result<Option<&'a str>> {
    let Some(value) = said(members, name) else {
        return Ok(None);
    };
    let text = value.as_str().filter(|text| text.len() <= most);
    let wrong = || refuse(name, &format!("a text of at most {most} bytes"));
    text.map(Some).ok_or_else(wrong)
}

/// A refusal of what a member says.
pub(super) fn refuse(member: &str, why: &str) -> OAuthError {
    OAuthError::invalid_request(format!("{member}: {why}."))
}

/// The stream that a body names, which is the receiver's own.
///
/// # Errors
/// `invalid_request` when none is named, 404.
pub(super) async fn named(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    members: &Members,
) -> Result<Arc<Stream>> {
    let id = said(members, "stream_id").and_then(Value::as_str);
    let id = id.ok_or_else(|| refuse("stream_id", "a text that says which stream"))?;
    own(app, tenant, who, id).await
}

/// The stream that a query names, which is the receiver's own; nothing when none is named.
///
/// # Errors
/// `invalid_request` when two are named, 404.
pub(super) async fn in_query(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    uri: &Uri,
) -> Result<Option<Arc<Stream>>> {
    let query = parameters(uri.query().unwrap_or_default().as_bytes())?;
    match query.get("stream_id") {
        Some(id) => own(app, tenant, who, id).await.map(Some),
        None => Ok(None),
    }
}

/// A query that has to name a stream and does not.
pub(super) fn unnamed() -> OAuthError {
    OAuthError::invalid_request("The parameter stream_id says which stream.")
}

/// A receiver's own stream. Of another one's it does not learn that there is one.
///
/// # Errors
/// 404
pub async fn own(app: &App, tenant: &Tenant, who: &AccessClaims, id: &str) -> Result<Arc<Stream>> {
    let is_theirs = |stream: &Arc<Stream>| stream.client_id() == who.client_id;
    let find = || tenant.stream(id).filter(is_theirs);
    let mut found = find();
    // It may have been created at another node a moment ago.
    if found.is_none() && app.feed.catch_up().await {
        found = find();
    }
    let stream = found.ok_or_else(nothing)?;
    room::note(app, &stream).await;
    Ok(stream)
}

/// The stream of a receiver that was let in and waits, as it is now; nothing when it may hear no
/// more. Its token may have been revoked, its client disabled, and its stream deleted.
pub(super) fn still_own(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    id: &str,
) -> Option<Arc<Stream>> {
    verify::holds(app, tenant, who).ok()?;
    tenant.stream(id)
}

/// There is no stream of this name, or not for whoever asks.
pub(super) fn nothing() -> OAuthError {
    OAuthError::not_found("There is no such stream.")
}
