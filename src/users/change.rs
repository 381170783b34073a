//! Changes of accounts, with what hangs from them.

use serde_json::Map;

use super::{User, credential, session};
use crate::{
    app::App,
    audit::{Event, Kind, Record},
    registry::Tenant,
    store::{
        Change, Whose,
        people::{Change as People, Sessions},
    },
};

impl User {
    /// A new one with this name.
    #[must_use]
    pub fn new(app: &App, username: &str) -> Self {
        let now = app.clock.seconds();
        Self {
            id: app.entropy.id(),
            username: username.to_owned(),
            email: None,
            email_verified: false,
            claims: Map::new(),
            disabled: false,
            created_at: now,
            updated_at: now,
        }
    }
}

/// What is remembered of a change that a person made of their own account.
#[must_use]
pub fn record(app: &App, tenant: &Tenant, user: &str, reason: &str) -> Record {
    let event = Event {
        sub: Some(user),
        object: Some(user),
        reason: Some(reason),
        ..Event::default()
    };
    app.record(tenant, Kind::UserChanged, &event)
}

/// Adds an account, perhaps with a password.
#[must_use]
pub fn added(app: &App, tenant: &Tenant, user: &User, hash: Option<String>) -> Vec<Change> {
    let account = Change::People(People::PutUser {
        row: Box::new(user.row(tenant.name())),
        before: None,
    });
    let password = hash.map(|hash| credential::password(app, tenant, &user.id, hash, None));
    [account].into_iter().chain(password).collect()
}

/// Makes one account of another. One that is disabled loses its sessions and all that it granted.
#[must_use]
pub fn replaced(tenant: &Tenant, before: &User, user: &User) -> Vec<Change> {
    let mut changes = vec![Change::People(People::PutUser {
        row: Box::new(user.row(tenant.name())),
        before: Some(Box::new(before.row(tenant.name()))),
    })];
    if user.disabled && !before.disabled {
        changes.extend(ended(tenant, &user.id));
    }
    changes
}

/// Takes an account away, with all that it granted.
#[must_use]
pub fn removed(tenant: &Tenant, id: &str) -> Vec<Change> {
    let mut changes = ended(tenant, id);
    changes.push(Change::People(People::RemoveUser {
        tenant: tenant.name().to_owned(),
        id: id.to_owned(),
    }));
    changes
}

/// Ends all sessions of a person, and every token that speaks for them.
#[must_use]
pub fn ended(tenant: &Tenant, id: &str) -> Vec<Change> {
    let mut changes = session::ending(tenant, Sessions::Of(id.to_owned()));
    changes.push(Change::EndGrants {
        tenant: tenant.name().to_owned(),
        whose: Whose::Subject(id.to_owned()),
    });
    changes
}
