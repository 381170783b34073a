//! Signing in: from what a person shows to who they are.
//!
//! A wrong password and an unknown name are one answer, and take as long. A person with a second
//! factor has to show that too; in between, the browser carries a ticket that says how far it has
//! come, and nothing is written.

mod passkey;

use http::HeaderMap;

pub use self::passkey::{Passkey, with_passkey};
use super::{
    User, account,
    browser::Browser,
    change,
    credential::{self, Credentials, PASSWORD, RECOVERY, TOTP},
    device::Device,
    half::{First, Half},
    password::{self, Verdict},
    recovery,
};
use crate::{
    app::App,
    audit::{Event, Kind, Record},
    context,
    edge::{Guess, Secret},
    error::Result,
    journal::{Command, JournalError},
    registry::Tenant,
    store::Change,
};

/// Somebody who has proved who they are.
#[derive(Debug)]
pub struct Proved {
    /// Who.
    pub user: User,
    /// How (RFC 8176 §2), separated by spaces.
    pub amr: String,
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
    /// They are, as far as what they have shown goes; the second factor is to follow.
    Half(Half),
    /// It does not hold.
    Wrong,
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
        secret: Secret::Password,
        account: &account,
        address: context::address(),
        device: known(device.as_ref(), user.as_ref()),
    };
    app.guesses.count(&guess)?;
    let (verdict, credentials) = verify(app, tenant, user.as_ref(), password).await?;
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
    match credentials.first(PASSWORD).map(First::password) {
        Some(first) => first.leads(app, tenant, browser, user, &credentials),
        None => Ok(Outcome::Wrong),
    }
}

/// Checks a password, and has one that was hashed by another server, or an older one, hashed anew.
/// Returns what it was checked against.
async fn verify(
    app: &App,
    tenant: &Tenant,
    user: Option<&User>,
    password: &str,
) -> Result<(Verdict, Credentials)> {
    let Some(user) = user else {
        let verdict = password::verify(app, None, password).await?;
        return Ok((verdict, Credentials::default()));
    };
    let credentials = Credentials::of(app, tenant, user).await?;
    let verdict = password::verify(app, credentials.password_hash(), password).await?;
    if verdict != Verdict::RightButOld || user.disabled {
        return Ok((verdict, credentials));
    }
    renew(app, tenant, user, password, credentials.first(PASSWORD)).await?;
    // Whoever has changed it meanwhile may have made it another one.
    let credentials = Credentials::of(app, tenant, user).await?;
    let verdict = password::verify(app, credentials.password_hash(), password).await?;
    Ok((verdict, credentials))
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
    let device = Device::of(app, tenant, headers);
    let guess = Guess {
        tenant: tenant.name(),
        secret: Secret::Code,
        account: &half.user,
        address: context::address(),
        device: known(device.as_ref(), Some(&user)),
    };
    app.guesses.count(&guess)?;
    let credentials = Credentials::of(app, tenant, &user).await?;
    let Some(factor) = factor(app, tenant, &credentials, typed)? else {
        refuse(app, tenant, Some(&user), "wrong second factor").await?;
        return Ok(Outcome::Wrong);
    };
    app.guesses.was_right(&guess);
    let mut proved = half.first.proved(app, tenant, user, &credentials)?;
    proved.add(factor);
    Ok(Outcome::Proved(Box::new(proved)))
}

/// A second factor that was right.
struct Factor {
    /// What it is (RFC 8176 §2).
    amr: &'static [&'static str],
    /// What it uses up.
    spent: Change,
    /// What is remembered of that.
    audit: Option<Record>,
}

impl Proved {
    fn add(&mut self, factor: Factor) {
        for name in factor.amr {
            if !self.amr.split(' ').any(|known| known == *name) {
                self.amr = format!("{} {name}", self.amr).trim_start().to_owned();
            }
        }
        self.spent.push(factor.spent);
        self.audit.extend(factor.audit);
    }
}

/// The factor whose code this is.
fn factor(
    app: &App,
    tenant: &Tenant,
    credentials: &Credentials,
    typed: &str,
) -> Result<Option<Factor>> {
    if let Some(row) = credentials.first(TOTP)
        && let Some(step) = credential::step_of(app, tenant, row, typed)?
    {
        return Ok(Some(Factor {
            amr: &["otp", "mfa"],
            spent: credential::used(app, row, step),
            audit: None,
        }));
    }
    let kept = recovery::kept(typed);
    let code = credentials.all(RECOVERY).find(|row| row.secret == kept);
    Ok(code.map(|row| Factor {
        // No name is registered for what is on paper.
        amr: &["mfa"],
        spent: credential::remove(row),
        audit: Some(change::record(
            app,
            tenant,
            &row.user_id,
            "recovery code used",
        )),
    }))
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
        // Another sign-in was first, or it has been changed.
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
