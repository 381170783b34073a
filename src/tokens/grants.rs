//! The stored grant that a token hangs from: what revocation will speak of.
//!
//! A client has one grant for itself at a resource, and one for each grant of another that is
//! handed on to it. It is looked up in memory; only the first token of its kind waits for a row to
//! be written. Narrowing a token again and again makes no more of them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entity::grant;

use crate::{
    app::App,
    clients::{authentication, digest_of},
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    policy::{Grant, Permit},
    registry::Tenant,
    store::{Change, authorization},
};

/// Longest identity that is written out, bytes: databases limit what an index holds.
const LONGEST_IDENTITY: usize = 1000;

/// The permit's grant, made when there is none.
///
/// # Errors
/// When the journal cannot write it.
pub(super) async fn ensure(app: &App, tenant: &Tenant, permit: &Permit) -> Result<String> {
    if let Grant::Same(id) = permit.grant() {
        return Ok(id.clone());
    }
    let (client_id, identity) = (permit.client().id(), identity(tenant, permit));
    if let Some(known) = tenant.grant(client_id, &identity) {
        return Ok(known);
    }
    let row = grant::Model {
        tenant: tenant.name().to_owned(),
        id: app.entropy.id(),
        identity: identity.clone(),
        client_id: client_id.to_owned(),
        subject: permit.subject().to_owned(),
        resources: references(permit).join(" "),
        parent: match permit.grant() {
            Grant::Own => None,
            Grant::Carried(from) => Some(tenant.carried_from(client_id, from)),
            Grant::Same(from) | Grant::Derived(from) => Some(from.clone()),
        },
        created_at: app.clock.seconds(),
        session: None,
        expires_at: None,
        used_at: None,
    };
    let id = row.id.clone();
    let changes = vec![Change::PutGrant(row)];
    let command = Command::new(changes, Vec::new());
    app.journal
        .commit(command)
        .await
        .map_err(|error| match error {
            // Client or resource were removed after the decision.
            JournalError::Conflict if tenant.client(client_id).is_some() => {
                OAuthError::invalid_target("The resource has been removed.").because(error)
            }
            JournalError::Conflict => authentication::failed().because(error),
            other => other.into(),
        })?;
    // Two first requests may have met: the grant that was written first is everyone's.
    Ok(tenant.grant(client_id, &identity).unwrap_or(id))
}

/// The change that notes an exchange for a person, if that is worth one: its holder may have nothing
/// else that says when it last acted for them. Nobody asks that of programs that act for programs.
pub(super) fn used(app: &App, tenant: &Tenant, permit: &Permit, id: &str) -> Option<Change> {
    let (is_exchange, at) = (permit.not_after().is_some(), app.clock.seconds());
    let is_for_person = is_exchange && tenant.client(permit.subject()).is_none();
    (is_for_person && tenant.notes_use(id, at)).then(|| {
        Change::Authorization(authorization::Change::UseGrant {
            tenant: tenant.name().to_owned(),
            id: id.to_owned(),
            at,
        })
    })
}

/// The resources a permit is for, by the names that stay.
fn references(permit: &Permit) -> Vec<&str> {
    let mut references: Vec<&str> = permit.resources().iter().map(|r| r.reference()).collect();
    references.sort_unstable();
    references
}

/// What makes a grant one. Client ids and references hold no space.
fn identity(tenant: &Tenant, permit: &Permit) -> String {
    let mut identity = String::with_capacity(128);
    identity.push_str(permit.client().id());
    for reference in references(permit) {
        identity.push(' ');
        identity.push_str(reference);
    }
    match permit.grant() {
        Grant::Own | Grant::Same(_) => {}
        Grant::Carried(from) => {
            identity.push_str(" from ");
            identity.push_str(&tenant.carried_from(permit.client().id(), from));
        }
        Grant::Derived(parent) => {
            identity.push_str(" from ");
            identity.push_str(parent);
        }
    }
    if identity.len() > LONGEST_IDENTITY {
        identity = format!("sha256 {}", URL_SAFE_NO_PAD.encode(digest_of(&identity)));
    }
    identity
}
