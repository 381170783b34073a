//! From what a provider says of somebody to an account.
//!
//! A person is known by issuer and `sub` (OpenID Connect Core §5.7) and by nothing else, once they
//! have come. Before that it is one of three, and each only where it is configured: the account
//! with the same verified address, a new account, or nobody's.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entity::credential::Model;
use serde_json::{Value, json};

use super::{Claims, Departure, Failure};
use crate::{
    app::{App, providers::Provider},
    error::Result,
    journal::{Command, JournalError},
    registry::Tenant,
    store::{Change, people},
    users::{
        Session, User,
        account::{self, check_email, check_own_username},
        browser::Browser,
        change,
        credential::{Credentials, UPSTREAM},
        half::{First, Identity, NewIdentity},
        sign_in::Outcome,
    },
};

/// Longest text that is taken over, characters.
const LONGEST: usize = 64;
/// Identities that one person may have.
const MOST: usize = 16;
/// What is taken over into a new account (OpenID Connect Core §5.1).
const NAMES: [&str; 3] = ["name", "given_name", "family_name"];

/// Who has come back from the provider. Whoever has a second factor here is asked for it, unless
/// the provider says that it has asked for one.
///
/// # Errors
/// When the database cannot be read.
pub async fn signs_in(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    (departure, browser): (&Departure, &Browser),
    claims: &Claims,
) -> Result<Result<Outcome, Failure>> {
    let (user, new, added) = match known(app, tenant, provider, claims).await? {
        Some(row) => {
            let user = account::find(app, tenant, &row.user_id).await?;
            (user, None, Vec::new())
        }
        None => match newcomer(app, tenant, provider, claims).await? {
            Err(failure) => return Ok(Err(failure)),
            Ok(newcomer) => {
                let reason = format!("{} {}", newcomer.reason, provider.id);
                let new = new_identity(provider, claims, reason);
                (Some(newcomer.user), Some(new), newcomer.added)
            }
        },
    };
    let Some(user) = user.filter(|user| !user.disabled) else {
        let words = "Your account here may not sign in.";
        return Ok(Err(Failure::refused(words, "disabled")));
    };
    let first = First::Identity(Identity {
        id: identity_id(provider, &claims.sub),
        new,
        amr: claims.methods().join(" "),
        // Whoever was to do so anew has done so; else it may have been long ago.
        authenticated_at: claims.auth_time().filter(|_| !departure.is_anew()),
    });
    let credentials = Credentials::of(app, tenant, &user).await?;
    let mut outcome = first.leads(app, tenant, browser, user, &credentials)?;
    if let Outcome::Proved(proved) = &mut outcome {
        // The account comes before what belongs to it.
        proved.spent.splice(0..0, added);
    }
    Ok(Ok(outcome))
}

/// Somebody who was never here.
struct Newcomer {
    /// The account they get.
    user: User,
    /// What makes it, if it is a new one.
    added: Vec<Change>,
    /// Why it is theirs.
    reason: &'static str,
}

/// Which account somebody gets who was never here.
async fn newcomer(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    claims: &Claims,
) -> Result<Result<Newcomer, Failure>> {
    let config = &provider.config;
    let address = claims.verified_email();
    let domain = address.and_then(|address| address.rsplit_once('@'));
    let domain = domain.map(|(_, domain)| domain.to_ascii_lowercase());
    let allowed = &config.allowed_domains;
    if !allowed.is_empty() && !domain.is_some_and(|domain| allowed.contains(&domain)) {
        let words = "Only people with an address of certain organizations may sign in with it.";
        return Ok(Err(Failure::refused(words, "not of an allowed domain")));
    }
    let believed = address.filter(|_| config.link_by_verified_email);
    let believed = believed.filter(|address| check_email(address).is_ok());
    if let Some(address) = believed
        && let Some(user) = account::find_by_email(app, tenant, address).await?
    {
        return Ok(Ok(Newcomer {
            user,
            added: Vec::new(),
            reason: "linked by its address to",
        }));
    }
    if !provider.sign_up {
        let words = "Nobody here is known by that identity. If you have an account, sign in in \
                     another way and add it on the page of your account.";
        return Ok(Err(Failure::refused(words, "unknown identity")));
    }
    let user = User {
        email: claims
            .email
            .clone()
            .filter(|email| check_email(email).is_ok()),
        email_verified: believed.is_some(),
        claims: names(claims),
        ..User::new(app, &username(app, tenant, provider, claims).await?)
    };
    Ok(Ok(Newcomer {
        added: change::added(app, tenant, &user, None),
        user,
        reason: "signed up from",
    }))
}

fn names(claims: &Claims) -> serde_json::Map<String, Value> {
    let said = [&claims.name, &claims.given_name, &claims.family_name];
    let pairs = NAMES.iter().zip(said).filter_map(|(name, value)| {
        let value = shown(value.as_deref()?);
        (!value.is_empty()).then(|| ((*name).to_owned(), json!(value)))
    });
    pairs.collect()
}

/// A name that nobody has: as they are called there, as their address begins, or made up. Never an
/// address, which might be that of somebody who signs in with it.
async fn username(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    claims: &Claims,
) -> Result<String> {
    for wish in [&claims.preferred_username, &claims.email]
        .into_iter()
        .flatten()
    {
        let name = shown(wish.split('@').next().unwrap_or_default());
        let free = account::find_by_username(app, tenant, &name)
            .await?
            .is_none();
        if free && check_own_username(&name).is_ok() {
            return Ok(name);
        }
    }
    Ok(format!("{}-{}", provider.id, app.entropy.id()))
}

/// Text of a provider's as we show it.
fn shown(text: &str) -> String {
    let printable = text.trim().chars().filter(|c| !c.is_control());
    let cut: String = printable.take(LONGEST).collect();
    cut.trim().to_owned()
}

/// Adds the identity of who has come back to the account of who is signed in.
///
/// # Errors
/// When the database is away.
pub async fn link(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    session: &Session,
    claims: &Claims,
) -> Result<Result<(), Failure>> {
    let user = &session.user;
    let taken = || {
        Failure::refused(
            "That identity belongs to another account here.",
            "the identity is another account's",
        )
    };
    match known(app, tenant, provider, claims).await? {
        Some(row) if row.user_id == user.id => return Ok(Ok(())),
        Some(_) => return Ok(Err(taken())),
        None => {}
    }
    let credentials = Credentials::of(app, tenant, user).await?;
    if credentials.all(UPSTREAM).count() >= MOST {
        let words = format!("Nobody needs more than {MOST} of them.");
        return Ok(Err(Failure::refused(words, "too many identities")));
    }
    let new = new_identity(provider, claims, format!("linked to {}", provider.id));
    let id = identity_id(provider, &claims.sub);
    let (put, record) = new.put(app, tenant, &user.id, id);
    let command = Command::new(vec![put], vec![record]);
    match app.journal.commit(command).await {
        Ok(()) => Ok(Ok(())),
        // Another account was first.
        Err(JournalError::Conflict) => Ok(Err(taken())),
        Err(error) => Err(error.into()),
    }
}

async fn known(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    claims: &Claims,
) -> Result<Option<Model>> {
    let id = identity_id(provider, &claims.sub);
    Ok(people::credential(&app.db, tenant.name(), &id).await?)
}

/// By the issuer and not by our own name for it: should that come to stand for another provider,
/// nobody is taken for somebody else.
fn identity_id(provider: &Provider, subject: &str) -> String {
    let name = [provider.config.issuer.as_bytes(), subject.as_bytes()].join(&0);
    let digest = URL_SAFE_NO_PAD.encode(digest(&SHA256, &name));
    format!("{UPSTREAM}:{digest}")
}

fn new_identity(provider: &Provider, claims: &Claims, reason: String) -> NewIdentity {
    let called = claims.email.as_ref().or(claims.preferred_username.as_ref());
    let called = called.or(claims.name.as_ref()).unwrap_or(&claims.sub);
    let document = json!({ "issuer": provider.config.issuer, "subject": claims.sub });
    NewIdentity {
        name: shown(called),
        document: document.to_string(),
        reason,
    }
}
