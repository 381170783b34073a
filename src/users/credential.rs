//! What a person signs in with, as rows.

use entity::credential::Model;

use super::{User, recovery, session, totp};
use crate::{
    app::App,
    error::Result,
    keys::KeyError,
    registry::Tenant,
    store::{
        Change, Whose,
        people::{self, Change as People, Sessions},
    },
};

/// A password.
pub const PASSWORD: &str = "password";
/// A passkey (WebAuthn).
pub const PASSKEY: &str = "passkey";
/// Who somebody is at another provider.
pub const UPSTREAM: &str = "upstream";
/// An authenticator app (RFC 6238).
pub const TOTP: &str = "totp";
/// A recovery code.
pub const RECOVERY: &str = "recovery";

/// What alone lets a person in.
const WAYS_IN: [&str; 3] = [PASSWORD, PASSKEY, UPSTREAM];

/// All that one person signs in with.
#[derive(Clone, Debug, Default)]
pub struct Credentials(pub Vec<Model>);

impl Credentials {
    /// As they are now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn of(app: &App, tenant: &Tenant, user: &User) -> Result<Self> {
        let rows = people::credentials(&app.db, tenant.name(), &user.id).await?;
        Ok(Self(rows))
    }

    /// The first of a kind.
    #[must_use]
    pub fn first(&self, kind: &'static str) -> Option<&Model> {
        self.all(kind).next()
    }

    /// All of a kind.
    pub fn all(&self, kind: &'static str) -> impl Iterator<Item = &Model> {
        self.0.iter().filter(move |row| row.kind == kind)
    }

    /// Whether its person could not sign in without this one.
    #[must_use]
    pub fn is_last_way_in(&self, row: &Model) -> bool {
        let opens = |other: &&Model| WAYS_IN.contains(&other.kind.as_str());
        !self.0.iter().filter(opens).any(|other| other.id != row.id)
    }

    /// The hash of the password, if there is one.
    #[must_use]
    pub fn password_hash(&self) -> Option<String> {
        let row = self.first(PASSWORD)?;
        String::from_utf8(row.secret.clone()).ok()
    }
}

fn row(app: &App, tenant: &Tenant, user: &str, kind: &str, id: String, secret: Vec<u8>) -> Model {
    Model {
        tenant: tenant.name().to_owned(),
        id,
        user_id: user.to_owned(),
        kind: kind.to_owned(),
        name: String::new(),
        secret,
        counter: 0,
        document: "{}".into(),
        created_at: app.clock.seconds(),
        last_used_at: None,
    }
}

/// A credential that is new, or takes the place of one.
#[must_use]
pub fn put(row: Model, before: Option<&Model>) -> Change {
    Change::People(People::PutCredential {
        row: Box::new(row),
        before: before.map(|row| Box::new(row.clone())),
    })
}

/// Notes that a credential was used as it is here, up to this counter.
#[must_use]
pub fn used(app: &App, row: &Model, counter: i64) -> Change {
    Change::People(People::UseCredential {
        tenant: row.tenant.clone(),
        id: row.id.clone(),
        secret: row.secret.clone(),
        counter,
        at: app.clock.seconds(),
    })
}

/// Takes a credential away.
#[must_use]
pub fn remove(row: &Model) -> Change {
    removal(row, &[])
}

/// Takes a way in away, unless it is the last one.
#[must_use]
pub fn remove_way_in(row: &Model) -> Change {
    removal(row, &WAYS_IN)
}

fn removal(row: &Model, keeping: &'static [&'static str]) -> Change {
    Change::People(People::RemoveCredential {
        tenant: row.tenant.clone(),
        user: row.user_id.clone(),
        id: row.id.clone(),
        keeping,
    })
}

/// Takes all of a kind away.
#[must_use]
pub fn remove_all(tenant: &Tenant, user: &str, kind: &str) -> Change {
    Change::People(People::RemoveCredentials {
        tenant: tenant.name().to_owned(),
        user: user.to_owned(),
        kind: kind.to_owned(),
    })
}

/// Takes away the second factor: the authenticator app, and the codes that stand for it.
#[must_use]
pub fn remove_factor(tenant: &Tenant, user: &str) -> Vec<Change> {
    [TOTP, RECOVERY]
        .map(|kind| remove_all(tenant, user, kind))
        .into()
}

/// A password, in the place of the one before it.
#[must_use]
pub fn password(
    app: &App,
    tenant: &Tenant,
    user: &str,
    hash: String,
    before: Option<&Model>,
) -> Change {
    let id = format!("{PASSWORD}:{user}");
    put(
        row(app, tenant, user, PASSWORD, id, hash.into_bytes()),
        before,
    )
}

/// A password in the place of the one before it, and the end of these sessions, and of what
/// clients and agents may do with `ends_apps`: whoever knew the old one is out, and so are the
/// programs that they have let in (RFC 9700 §4.14.2).
///
/// # Errors
/// When the database cannot be read.
pub async fn set_password(
    app: &App,
    tenant: &Tenant,
    user: &User,
    hash: String,
    ends: Sessions,
    ends_apps: bool,
) -> Result<Vec<Change>> {
    let known = Credentials::of(app, tenant, user).await?;
    let mut changes = session::ending(tenant, ends);
    changes.push(password(app, tenant, &user.id, hash, known.first(PASSWORD)));
    changes.extend(ends_apps.then(|| Change::EndGrants {
        tenant: tenant.name().to_owned(),
        whose: Whose::Subject(user.id.clone()),
    }));
    Ok(changes)
}

/// A passkey.
#[must_use]
pub fn passkey(app: &App, tenant: &Tenant, user: &str, id: String, key: Vec<u8>) -> Model {
    row(app, tenant, user, PASSKEY, id, key)
}

/// An identity at another provider.
#[must_use]
pub fn identity(app: &App, tenant: &Tenant, user: &str, id: String) -> Model {
    row(app, tenant, user, UPSTREAM, id, Vec::new())
}

/// The provider whose word an identity is, by its issuer.
#[must_use]
pub fn issuer(identity: &Model) -> Option<String> {
    let kept: serde_json::Value = serde_json::from_str(&identity.document).ok()?;
    Some(kept.get("issuer")?.as_str()?.to_owned())
}

/// Where the key of an authenticator app is sealed for.
fn place(tenant: &Tenant, user: &str) -> String {
    format!("totp {} {user}", tenant.name())
}

/// An authenticator app with this key, one of whose codes has just been used.
///
/// # Errors
/// When the key cannot be sealed.
pub fn authenticator(
    app: &App,
    tenant: &Tenant,
    user: &str,
    key: &[u8; totp::KEY],
    step: i64,
) -> Result<Change> {
    let sealer = app.registry.sealer();
    let sealed = sealer.seal(key, &place(tenant, user), &app.entropy)?;
    let mut row = row(app, tenant, user, TOTP, format!("{TOTP}:{user}"), sealed);
    row.counter = step;
    Ok(put(row, None))
}

/// The time step whose code this is, if the app makes such a code now.
///
/// # Errors
/// When the app's key cannot be opened.
pub fn step_of(
    app: &App,
    tenant: &Tenant,
    row: &Model,
    typed: &str,
) -> Result<Option<i64>, KeyError> {
    let sealer = app.registry.sealer();
    let key = sealer.open(&row.secret, &place(tenant, &row.user_id))?;
    Ok(totp::step_of(&key, typed, app.clock.seconds(), row.counter))
}

/// New recovery codes in the place of all before them, and what they are: nobody can read them
/// again.
#[must_use]
pub fn recovery_codes(app: &App, tenant: &Tenant, user: &str) -> (Vec<String>, Vec<Change>) {
    let codes: Vec<String> = (0..recovery::COUNT)
        .map(|_| recovery::new(&app.entropy))
        .collect();
    let mut changes = vec![remove_all(tenant, user, RECOVERY)];
    changes.extend(codes.iter().map(|code| {
        let id = format!("{RECOVERY}:{}", app.entropy.id());
        put(
            row(app, tenant, user, RECOVERY, id, recovery::kept(code)),
            None,
        )
    }));
    (codes, changes)
}
