//! What receivers are told of a change of state.
//!
//! | what ended | `sub_id` | for |
//! |---|---|---|
//! | one token | `session` (`jwt_id`), `application`, `user` | its resources |
//! | one grant, and each that was derived from it | `session` (`opaque`), `application`, `user` | its resources |
//! | all of a client | `application` | everyone |
//! | all of a subject | `iss_sub` | the resources it had tokens for, and plain receivers |
//! | all for a resource | `tenant` | that resource |
//! | all of a tenant | `tenant` | everyone |
//!
//! The table of the wire is in SSF's terms: what is named selects the tokens that match all of it.
//! With a `session` it is final; without one it ends what was issued until then.

use entity::grant;

use super::{
    Audience, Draft, Level,
    subject::{self, Tokens},
};
use crate::store::{Change, Ended, Token, Whose};

/// What to tell of a change that was made in the tenant of this name and issuer.
#[must_use]
pub fn of(change: &Change, tenant: &str, issuer: &str) -> Vec<Draft> {
    match change {
        Change::RevokeToken { row, token } => {
            let token = token.as_deref();
            vec![token_revoked(issuer, &row.jti, token)]
        }
        Change::GrantsEnded {
            ended: Some(ended), ..
        } => grants_ended(tenant, issuer, ended),
        _ => Vec::new(),
    }
}

/// Nobody knows whose an unknown token is: everyone hears its name, which says nothing else.
fn token_revoked(issuer: &str, jti: &str, token: Option<&Token>) -> Draft {
    let names = Tokens {
        jti: Some(jti),
        application: token.map(|token| token.client_id.as_str()),
        user: token.and_then(|token| user(&token.subject, &token.client_id)),
        ..Tokens::default()
    };
    let audience = match token {
        Some(token) => Audience::Resources(token.resources.clone()),
        None => Audience::All,
    };
    Draft::revoked(Level::Access, names.of(issuer), audience)
}

/// A client that speaks for itself is no user.
fn user<'a>(subject: &'a str, client_id: &str) -> Option<&'a str> {
    (subject != client_id).then_some(subject)
}

fn grants_ended(tenant: &str, issuer: &str, ended: &Ended) -> Vec<Draft> {
    let whole = Tokens {
        tenant: Some(tenant),
        ..Tokens::default()
    };
    let everyone = Audience::All;
    let all = match &ended.whose {
        Whose::Grant(_) => None,
        Whose::Client(client_id) => {
            let client = Tokens {
                application: Some(client_id),
                ..Tokens::default()
            };
            Some(Draft::revoked(Level::Access, client.of(issuer), everyone))
        }
        Whose::Subject(sub) => {
            let theirs = Audience::Resources(ended.resources.clone());
            let sub = subject::user(issuer, sub);
            Some(Draft::revoked(Level::Subject, sub, theirs))
        }
        Whose::Resource(reference) => {
            let it = Audience::Resources(vec![reference.clone()]);
            Some(Draft::revoked(Level::Access, whole.of(issuer), it))
        }
        Whose::All => Some(Draft::revoked(Level::Access, whole.of(issuer), everyone)),
    };
    let each = ended.each.iter().map(|row| grant_ended(issuer, row));
    all.into_iter().chain(each).collect()
}

fn grant_ended(issuer: &str, row: &grant::Model) -> Draft {
    let names = Tokens {
        grant: Some(&row.id),
        application: Some(&row.client_id),
        user: user(&row.subject, &row.client_id),
        ..Tokens::default()
    };
    let resources = row.resources.split(' ').map(str::to_owned).collect();
    Draft::revoked(
        Level::Access,
        names.of(issuer),
        Audience::Resources(resources),
    )
}
