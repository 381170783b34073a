//! The end of an interaction: a code for what the person allows, or none.

use super::{
    code::{self, SignedIn},
    consent::Remembered,
    decision::Decision,
    interaction::no_such_request,
    request::{Answer, AuthorizationRequest, Refusal},
};
use crate::{
    app::App,
    audit::{Event, Kind},
    clients::cimd,
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    oauth::error_code::ErrorCode,
    policy::person::Ask,
    registry::Tenant,
    store::{Change, Once, authorization},
    users::Session,
};

/// Whose word it is that a client may have something.
#[derive(Debug)]
pub enum Word {
    /// The person's, earlier.
    Remembered,
    /// The person's, just now.
    Given,
    /// That of whoever decided before the person signed in.
    Decided(Decision),
}

/// How often a consent is written that another window changes at the same time.
const ATTEMPTS: usize = 3;

/// Ends the interaction with a code for what the person allows.
///
/// # Errors
/// [`Refusal`]: for a page when the request was completed before, or the decision was.
pub async fn complete(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    session: &Session,
    allowed: &Ask,
    word: &Word,
) -> Result<Answer, Refusal> {
    let refuse = |error| Refusal::Redirect(request.to.clone(), error);
    let mut attempts = 0..ATTEMPTS;
    loop {
        if attempts.next().is_none() {
            return Err(refuse(changed()));
        }
        let command = command(app, tenant, request, session, allowed, word).await;
        let command = command.map_err(refuse)?;
        if command.changes.is_empty() && command.audit.is_empty() {
            break;
        }
        match app.journal.commit(command).await {
            Ok(()) => break,
            Err(JournalError::Conflict) => {}
            Err(JournalError::Used(Once::PushedRequest)) => {
                return Err(Refusal::Page(no_such_request()));
            }
            Err(JournalError::Used(Once::Decision)) => return Err(Refusal::Page(decided())),
            Err(JournalError::Used(_)) => return Err(refuse(changed())),
            Err(error) => return Err(refuse(error.into())),
        }
    }
    let person = SignedIn {
        subject: session.user.id.clone(),
        sid: session.sid.clone(),
        auth_time: session.authenticated_at,
        amr: session.amr.clone(),
    };
    let code = code::make(app, tenant, request, allowed, person).map_err(refuse)?;
    Ok(Answer::new(
        tenant,
        request.to.clone(),
        vec![("code", code)],
    ))
}

/// What has to be written before the client gets its code.
async fn command(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    session: &Session,
    allowed: &Ask,
    word: &Word,
) -> Result<Command> {
    let (user, client_id) = (&session.user.id, request.client.id());
    let now = app.clock.seconds();
    let mut changes = Vec::new();
    let mut audit = Vec::new();
    if let Word::Decided(decision) = word {
        changes.push(decision.use_up(app, tenant));
    }
    if !matches!(word, Word::Remembered) {
        let remembered = Remembered::read(app, tenant, user, client_id).await?;
        // From now on it is more than a passer-by.
        changes.extend(cimd::row(app, tenant, &request.client));
        changes.extend(remembered.add(tenant, user, client_id, &allowed.scopes, now)?);
        let scope = allowed.scopes.to_scope()?.to_string();
        let event = Event {
            client_id: Some(client_id),
            sub: Some(user),
            scope: Some(&scope),
            ..Event::default()
        };
        audit.push(app.record(tenant, Kind::ConsentGiven, &event));
    }
    changes.extend(completed(app, tenant, request));
    Ok(Command::new(changes, audit))
}

/// What has to be written of a pushed request that is done with (RFC 9126 §4): until now it could be
/// opened again, from now on not.
fn completed(app: &App, tenant: &Tenant, request: &AuthorizationRequest) -> Vec<Change> {
    let Some(digest) = request.pushed else {
        return Vec::new();
    };
    let end = app.clock.seconds() + app.config.authorization.patience;
    let used = Change::use_once(tenant.name(), digest, end, Once::PushedRequest);
    let forgotten = authorization::Change::Complete {
        tenant: tenant.name().to_owned(),
        digest: digest.to_vec(),
    };
    vec![used, Change::Authorization(forgotten)]
}

/// Ends the interaction without one (RFC 6749 §4.1.2.1), whether somebody has signed in or not.
///
/// # Errors
/// [`Refusal`]
pub async fn deny(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    session: Option<&Session>,
) -> Refusal {
    let event = Event {
        client_id: Some(request.client.id()),
        sub: session.map(|session| session.user.id.as_str()),
        ..Event::default()
    };
    let (kind, changes) = (Kind::ConsentDenied, completed(app, tenant, request));
    let written = if session.is_some() {
        let audit = vec![app.record(tenant, kind, &event)];
        app.journal.commit(Command::new(changes, audit)).await
    } else {
        app.remember_stranger(tenant, kind, &event, changes).await
    };
    let error = match written {
        Ok(()) => OAuthError::access_denied("The person has denied it."),
        Err(JournalError::Used(Once::PushedRequest)) => return Refusal::Page(no_such_request()),
        Err(JournalError::Conflict | JournalError::Used(_)) => changed(),
        Err(error) => error.into(),
    };
    Refusal::Redirect(request.to.clone(), error)
}

/// What a client may be told when others were faster (RFC 6749 §4.1.2.1).
fn changed() -> OAuthError {
    OAuthError::new(
        ErrorCode::TemporarilyUnavailable,
        "Something was changed meanwhile: try again.",
    )
}

fn decided() -> OAuthError {
    OAuthError::invalid_request(
        "What you have decided was told to the application already: go back to it, and begin \
         again if it asks you to.",
    )
}
