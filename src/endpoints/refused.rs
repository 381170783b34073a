//! Refusals at the resources that are our own: the admin API, the registrations, the streams.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::header;

use super::protected::shown;
use crate::{
    app::AppState,
    audit::{Event, Kind, refusals::printable},
    error::{OAuthError, Said},
    journal::Command,
    tokens::verify,
    web::extract::ForTenant,
};

/// Which of our own resources.
#[derive(Clone, Copy, Debug)]
pub enum Protected {
    /// The admin API; the router has taken its path away.
    Admin,
    /// Registrations of clients and of MCP servers.
    Registrations,
    /// Streams of security events.
    Streams,
}

/// Remembers that a call was refused for which somebody presented a token, before it is answered.
///
/// Nothing is remembered of calls without a token: those are how a client begins (RFC 9728 §5.1).
pub async fn remember(
    State((app, at)): State<(AppState, Protected)>,
    ForTenant(tenant): ForTenant,
    request: Request,
    next: Next,
) -> Response {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return next.run(request).await;
    }
    let (method, path) = (request.method(), request.uri().path());
    let (kind, call) = match at {
        Protected::Admin => (Kind::AdminRefused, format!("{method} /admin{path}")),
        Protected::Registrations => (Kind::RegistrationRefused, format!("{method} {path}")),
        Protected::Streams => (Kind::StreamRefused, format!("{method} {path}")),
    };
    let call = printable(&call);
    let token = shown(request.headers()).map(str::to_owned);
    let response = next.run(request).await;
    let Some(said) = response.extensions().get::<Said>() else {
        return response;
    };
    let remembered = match at {
        // The rest is a mistake in what somebody typed, and changes nothing.
        Protected::Admin | Protected::Streams => matches!(said.code.status(), 401 | 403),
        Protected::Registrations => (400..500).contains(&said.code.status()),
    };
    if !remembered {
        return response;
    }
    let claims = match token {
        Some(token) => verify::access_token(&app, &tenant, &token).await.ok(),
        None => None,
    };
    let reason = said.to_string();
    let event = Event {
        client_id: claims.as_ref().map(|claims| claims.client_id.as_str()),
        sub: claims.as_ref().map(|claims| claims.sub.as_str()),
        act: claims.as_ref().and_then(|claims| claims.act.as_ref()),
        object: Some(&call),
        reason: Some(&reason),
        ..Event::default()
    };
    let client = event.client_id.and_then(|id| tenant.client(id));
    let remembered = if client.is_some_and(|client| client.is_vouched_for()) {
        let audit = vec![app.record(&tenant, kind, &event)];
        let command = Command {
            audit,
            ..Command::default()
        };
        app.journal.commit(command).await
    } else {
        app.remember_stranger(&tenant, kind, &event, Vec::new())
            .await
    };
    match remembered {
        Ok(()) => response,
        Err(error) => OAuthError::from(error).into_response(),
    }
}
