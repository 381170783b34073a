//! Signing in: from what a person shows to who they are.
//!
//! A wrong password and an unknown name are one answer, and take as long. A person with a second
//! factor has to show that too; in between, the browser carries a ticket that says how far it has
//! come, and nothing is written.

use std::borrow::Cow;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    User, account,
    browser::Browser,
    change,
    credential::{self, Credentials, PASSWORD, RECOVERY, TOTP},
    device::Device,
    password::{self, Verdict},
    recovery,
};
use crate::{
    app::App,
    audit::{Event, Kind, Record},
    context,
    edge::Guess,
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    registry::Tenant,
    store::Change,
};

/// Seconds in which the second factor is to follow the first.
const PATIENCE: i64 = 600;

/// Somebody who has proved who they are.
#[derive(Debug)]
pub struct Proved {
    /// Who.
    pub user: User,
    /// How (RFC 8176 §2).
    pub amr: Cow<'static, [&'static str]>,
    /// When, if that was not just now, Unix seconds.
    pub authenticated_at: Option<i64>,
    /// What that used up.
    pub spent: Vec<Change>,
    /// What is remembered of that.
    pub audit: Vec<Record>,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Outcome {
    /// They are who they say.
    Proved(Box<Proved>),
    /// They are, as far as the password goes; the second factor is to follow.
    Half(Half),
    /// It does not hold.
    Wrong,
}

/// A sign-in that waits for its second factor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Half {
    /// Who.
    user: String,
    /// The browser that has shown the password.
    browser: String,
    /// When, Unix seconds.
    at: i64,
}

impl Half {
    /// The ticket that the browser carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.sign_ins.seal(tenant.name(), self, &app.entropy)?)
    }

    /// What a ticket holds.
    ///
    /// # Errors
    /// `invalid_request` when it is another browser's, too old, or none.
    pub fn open(app: &App, tenant: &Tenant, browser: &Browser, ticket: &str) -> Result<Self> {
        let half = app.sign_ins.open::<Self>(tenant.name(), ticket);
        let now = app.clock.seconds();
        half.filter(|half| half.browser == browser.name && now - half.at <= PATIENCE)
            .ok_or_else(|| {
                OAuthError::invalid_request(
                    "This sign-in has taken too long, or was begun in another browser: begin \
                     again.",
                )
            })
    }
}

/// Signs in with a name, or a verified address, and a password.
///
/// # Errors
/// 429 after too many wrong ones, 503 when too many wait.
pub async fn with_password(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    browser: &Browser,
    (typed, password): (&str, &str),
) -> Result<Outcome> {
    let user = account::find_typed(app, tenant, typed).await?;
    let account = account::key(typed);
    let device = Device::of(app, tenant, headers);
    let guess = Guess {
        tenant: tenant.name(),
        account: &account,
        address: context::address(),
        device: known(device.as_ref(), user.as_ref()),
    };
    app.guesses.count(&guess)?;
    let credentials = match &user {
        Some(user) => Credentials::of(app, tenant, user).await?,
        None => Credentials::default(),
    };
    let verdict = password::verify(app, credentials.password_hash(), password).await?;
    let user = match (user, verdict) {
        (Some(user), Verdict::Right | Verdict::RightButOld) if !user.disabled => user,
        (user, verdict) => {
            let reason = match (&user, verdict) {
                (None, _) => "unknown user",
                (_, Verdict::Wrong) => "wrong password",
                _ => "disabled",
            };
            refuse(app, tenant, user.as_ref(), reason).await?;
            return Ok(Outcome::Wrong);
        }
    };
    app.guesses.was_right(&guess);
    let row = credentials.first(PASSWORD);
    if verdict == Verdict::RightButOld {
        renew(app, tenant, &user, password, row).await?;
    }
    if credentials.first(TOTP).is_some() {
        return Ok(Outcome::Half(Half {
            user: user.id,
            browser: browser.name.clone(),
            at: app.clock.seconds(),
        }));
    }
    Ok(Outcome::Proved(Box::new(Proved {
        user,
        amr: Cow::Borrowed(&["pwd"]),
        authenticated_at: None,
        spent: row
            .map(|row| credential::used(app, row, 0))
            .into_iter()
            .collect(),
        audit: Vec::new(),
    })))
}

/// Shows the second factor: a code of the authenticator app, or a recovery code.
///
/// # Errors
/// 429 after too many wrong ones.
pub async fn with_factor(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    half: &Half,
    typed: &str,
) -> Result<Outcome> {
    let user = account::find(app, tenant, &half.user).await?;
    let Some(user) = user.filter(|user| !user.disabled) else {
        return Ok(Outcome::Wrong);
    };
    // Not the name: whoever guesses passwords uses up nothing of this.
    let account = format!("factor {}", user.id);
    let device = Device::of(app, tenant, headers);
    let guess = Guess {
        tenant: tenant.name(),
        account: &account,
        address: context::address(),
        device: known(device.as_ref(), Some(&user)),
    };
    app.guesses.count(&guess)?;
    let credentials = Credentials::of(app, tenant, &user).await?;
    let Some(spent) = factor(app, tenant, &credentials, typed)? else {
        refuse(app, tenant, Some(&user), "wrong second factor").await?;
        return Ok(Outcome::Wrong);
    };
    app.guesses.was_right(&guess);
    Ok(Outcome::Proved(Box::new(Proved {
        user,
        amr: Cow::Borrowed(&["pwd", "otp", "mfa"]),
        authenticated_at: None,
        spent: vec![spent],
        audit: Vec::new(),
    })))
}

/// What a right code uses up.
fn factor(
    app: &App,
    tenant: &Tenant,
    credentials: &Credentials,
    typed: &str,
) -> Result<Option<Change>> {
    if let Some(row) = credentials.first(TOTP)
        && let Some(step) = credential::step_of(app, tenant, row, typed)?
    {
        return Ok(Some(credential::used(app, row, step)));
    }
    let kept = recovery::kept(typed);
    let code = credentials.all(RECOVERY).find(|row| row.secret == kept);
    Ok(code.map(credential::remove))
}

/// The browser's name, if this person has signed in with it.
fn known<'d>(device: Option<&'d Device>, user: Option<&User>) -> Option<&'d str> {
    device?.known_to(&user?.id)
}

/// Hashes a password anew that another server, or an older one, has hashed.
async fn renew(
    app: &App,
    tenant: &Tenant,
    user: &User,
    password: &str,
    before: Option<&entity::credential::Model>,
) -> Result<()> {
    let hash = password::hash(app, password).await?;
    let change = credential::password(app, tenant, &user.id, hash, before);
    let audit = vec![change::record(
        app,
        tenant,
        &user.id,
        "password hashed anew",
    )];
    match app.journal.commit(Command::new(vec![change], audit)).await {
        // Another sign-in was first.
        Ok(()) | Err(JournalError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Remembers an attempt that was wrong: what was typed is not, it may be a password.
///
/// # Errors
/// When the database cannot be written.
pub async fn refuse(app: &App, tenant: &Tenant, user: Option<&User>, reason: &str) -> Result<()> {
    let address = context::address().map(|address| address.to_string());
    let event = Event {
        sub: user.map(|user| user.id.as_str()),
        reason: Some(reason),
        client_address: address.as_deref(),
        ..Event::default()
    };
    app.remember_stranger(tenant, Kind::SignInRefused, &event, Vec::new())
        .await?;
    Ok(())
}
