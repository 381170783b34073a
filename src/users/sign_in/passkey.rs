//! With a passkey.

use entity::credential::Model;

use super::{Proved, refuse};
use crate::{
    app::App,
    error::Result,
    registry::Tenant,
    store::people,
    users::{
        User, account,
        credential::{self, PASSKEY},
        webauthn::{Assertion, Kept, Known, Refused, RelyingParty, challenge::Challenge},
    },
};

/// What a browser shows of a passkey.
#[derive(Debug)]
pub struct Passkey<'a> {
    /// Whom it is for.
    pub rp: RelyingParty,
    /// What it answers.
    pub challenge: Challenge,
    /// The answer, as JSON.
    pub credential: &'a str,
    /// The name that was typed, if one was: it means that person and no other.
    pub username: Option<&'a str>,
}

/// Signs in with a passkey; or says why not.
///
/// # Errors
/// When the database is away.
pub async fn with_passkey(
    app: &App,
    tenant: &Tenant,
    shown: Passkey<'_>,
) -> Result<Result<Proved, Refused>> {
    match proved(app, tenant, &shown).await? {
        Ok(proved) => Ok(Ok(proved)),
        Err((user, why)) => {
            refuse(app, tenant, user.as_ref(), why.0).await?;
            Ok(Err(why))
        }
    }
}

/// Whose passkey has answered the challenge; or whose has not, as far as that is known, and why.
async fn proved(
    app: &App,
    tenant: &Tenant,
    shown: &Passkey<'_>,
) -> Result<Result<Proved, (Option<User>, Refused)>> {
    let assertion = match Assertion::read(shown.credential) {
        Ok(assertion) => assertion,
        Err(why) => return Ok(Err((None, why))),
    };
    let row = people::credential(&app.db, tenant.name(), &assertion.id).await?;
    let row = row.filter(|row| row.kind == PASSKEY);
    let user = match &row {
        Some(row) => account::find(app, tenant, &row.user_id).await?,
        None => None,
    };
    let challenge = &shown.challenge;
    let checked = assertion.check(&shown.rp, challenge.bytes(), row.as_ref().map(known));
    let (row, user, asserted) = match (row, user, checked) {
        (Some(row), Some(user), Ok(asserted)) => (row, user, asserted),
        (_, user, Err(why)) => return Ok(Err((user, why))),
        (_, user, Ok(_)) => return Ok(Err((user, Refused("the passkey is not known")))),
    };
    let meant = match shown.username {
        Some(typed) => account::find_typed(app, tenant, typed).await?,
        None => Some(user.clone()),
    };
    if meant.is_none_or(|meant| meant.id != user.id) {
        let why = Refused("the passkey is of somebody else than the name says");
        return Ok(Err((Some(user), why)));
    }
    if user.disabled {
        return Ok(Err((Some(user), Refused("the passkey is not known"))));
    }
    let counter = i64::from(asserted.counter);
    Ok(Ok(Proved {
        user,
        // A key in hardware that does not leave it, or one that is copied between devices; the
        // device has made sure who uses it (RFC 8176 §2).
        amr: if asserted.backup_eligible {
            "swk user mfa".into()
        } else {
            "hwk user mfa".into()
        },
        authenticated_at: None,
        spent: vec![
            challenge.use_up(tenant),
            credential::used(app, &row, counter),
        ],
        audit: Vec::new(),
    }))
}

fn known(row: &Model) -> Known<'_> {
    let kept = serde_json::from_str::<Kept>(&row.document);
    Known {
        key: &row.secret,
        counter: row.counter,
        backup_eligible: kept.is_ok_and(|kept| kept.backup_eligible),
        user: &row.user_id,
    }
}
