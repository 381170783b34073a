//! Sessions: browsers in which somebody is signed in.
//!
//! A session is a row, found by the SHA-256 of the secret that the browser's cookie holds. It has a
//! public id beside that, the `sid`, which stays when its person signs in once more; the secret
//! never does, so nobody can have known it before (session fixation).

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entity::session;
use http::{HeaderMap, HeaderValue, header};

use super::{User, account, cookie::Cookie};
use crate::{
    app::App,
    audit::{Event, Kind, Record, refusals::printable},
    context,
    error::Result,
    journal::Command,
    registry::Tenant,
    store::{
        Change, authorization,
        people::{self, Sessions},
    },
};

/// Seconds after which it is written down again that a session is in use.
const NOTED: i64 = 60;

/// A browser in which somebody is signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its public id.
    pub sid: String,
    /// Who is signed in.
    pub user: User,
    /// When they last proved it, the `auth_time`, Unix seconds.
    pub authenticated_at: i64,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// What the browser said it is.
    pub user_agent: String,
    /// Where it signed in from.
    pub address: String,
    /// When it began, Unix seconds.
    pub created_at: i64,
    /// When it was last seen, to the minute, Unix seconds.
    pub last_used_at: i64,
    /// When it ends in any case, Unix seconds.
    pub expires_at: i64,
    /// SHA-256 of the secret.
    pub(super) digest: Vec<u8>,
}

impl Session {
    fn from_row(row: session::Model, user: User) -> Self {
        Self {
            sid: row.sid,
            user,
            authenticated_at: row.authenticated_at,
            amr: row.amr.split_whitespace().map(str::to_owned).collect(),
            user_agent: row.user_agent,
            address: row.address,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            digest: row.digest,
        }
    }

    /// Names the sign-in that this session rests on: who signs in anew gets another name, in the
    /// same second too.
    #[must_use]
    pub fn sign_in(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.digest)
    }
}

/// The session of a request, if somebody is signed in. Read anew each time: one that was ended, or
/// whose person was disabled, is over at once.
///
/// # Errors
/// When the database cannot be read.
pub async fn current(app: &App, tenant: &Tenant, headers: &HeaderMap) -> Result<Option<Session>> {
    let Some(secret) = Cookie::Session.read(tenant, headers) else {
        return Ok(None);
    };
    let digest = digest(&SHA256, secret.as_bytes());
    let Some(row) = people::session(&app.db, tenant.name(), digest.as_ref()).await? else {
        return Ok(None);
    };
    if !is_alive(app, &row) {
        return Ok(None);
    }
    let now = app.clock.seconds();
    let user = account::find(app, tenant, &row.user_id).await?;
    let Some(user) = user.filter(|user| !user.disabled) else {
        return Ok(None);
    };
    if now - row.last_used_at >= NOTED {
        note_use(app, tenant, &row.sid, now).await;
    }
    Ok(Some(Session::from_row(row, user)))
}

/// A page is shown even when that cannot be written: then the session ends a little early.
async fn note_use(app: &App, tenant: &Tenant, sid: &str, at: i64) {
    let change = people::Change::UseSession {
        tenant: tenant.name().to_owned(),
        sid: sid.to_owned(),
        at,
    };
    let command = Command::new(vec![Change::People(change)], Vec::new());
    if let Err(error) = app.journal.commit(command).await {
        tracing::warn!(%error, "it is not noted that a session is in use");
    }
}

/// Who has just proved to be whom.
#[derive(Debug)]
pub struct Authenticated<'a> {
    /// Who.
    pub user: &'a User,
    /// How (RFC 8176), separated by spaces.
    pub amr: &'a str,
    /// When, if that was not just now, Unix seconds.
    pub authenticated_at: Option<i64>,
    /// What that used up or changed, committed together with the session.
    pub spent: Vec<Change>,
    /// What is remembered of that.
    pub audit: Vec<Record>,
}

/// Signs a person in: a new session, or the same one under a new secret when they are signed in
/// here already. Returns it with the cookies to set.
///
/// # Errors
/// `conflict` when what was used up has been used meanwhile, or the account is gone or disabled;
/// when the database cannot be written.
pub async fn begin(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    who: Authenticated<'_>,
) -> Result<(Session, Vec<HeaderValue>)> {
    let (now, before) = (app.clock.seconds(), current(app, tenant, headers).await?);
    let config = &app.config.users;
    let secret = app.entropy.secret("writ_ss_");
    let (same, other) = match before {
        Some(session) if session.user.id == who.user.id => (Some(session), None),
        other => (None, other),
    };
    let row = session::Model {
        tenant: tenant.name().to_owned(),
        sid: same
            .as_ref()
            .map_or_else(|| app.entropy.id(), |s| s.sid.clone()),
        digest: digest(&SHA256, secret.as_bytes()).as_ref().to_vec(),
        user_id: who.user.id.clone(),
        amr: who.amr.to_owned(),
        authenticated_at: who.authenticated_at.map_or(now, |at| at.min(now)),
        user_agent: user_agent(headers),
        address: context::address().map_or_else(String::new, |address| address.to_string()),
        created_at: same.as_ref().map_or(now, |session| session.created_at),
        last_used_at: now,
        expires_at: now + config.session_lifetime,
    };
    let mut changes = who.spent;
    // Who was here has not signed out: as when their session times out, programs go on that have
    // been let in during it.
    changes.extend(other.map(|session| {
        Change::People(people::Change::ForgetSession {
            tenant: tenant.name().to_owned(),
            sid: session.sid,
        })
    }));
    changes.push(Change::People(people::Change::PutSession(Box::new(
        row.clone(),
    ))));
    let methods = match row.amr.as_str() {
        "" => "another provider".to_owned(),
        methods => methods.to_owned(),
    };
    let mut audit = who.audit;
    audit.push(record(
        app,
        tenant,
        Kind::SignedIn,
        who.user,
        &row.sid,
        &methods,
    ));
    app.journal.commit(Command::new(changes, audit)).await?;
    let cookies = [
        Cookie::Session.set(tenant, &secret, Some(config.session_lifetime)),
        // It has served: what is sent from now on is bound to the session.
        Cookie::Browser.clear(tenant),
    ];
    let session = Session::from_row(row, who.user.clone());
    Ok((session, cookies.into_iter().flatten().collect()))
}

/// What it takes to end sessions, with all that hangs from them.
#[must_use]
pub fn ending(tenant: &Tenant, which: Sessions) -> Vec<Change> {
    vec![Change::People(people::Change::EndSessions {
        tenant: tenant.name().to_owned(),
        which,
    })]
}

/// Ends sessions of a person.
///
/// # Errors
/// When the database cannot be written.
pub async fn end(app: &App, tenant: &Tenant, user: &User, which: Sessions) -> Result<()> {
    let object = match &which {
        Sessions::One(sid) => sid.clone(),
        Sessions::Of(_) => "all".to_owned(),
        Sessions::Others { .. } => "all others".to_owned(),
    };
    let audit = record(app, tenant, Kind::SignedOut, user, &object, "session ended");
    let command = Command::new(ending(tenant, which), vec![audit]);
    Ok(app.journal.commit(command).await?)
}

/// Ends what is left of a session that has timed out: what was given during it holds on until its
/// person signs out of the client.
///
/// # Errors
/// When the database is away.
pub async fn end_left_over(app: &App, tenant: &Tenant, sid: &str) -> Result<()> {
    let row = people::session_called(&app.db, tenant.name(), sid).await?;
    if row.is_some_and(|row| is_alive(app, &row)) {
        return Ok(());
    }
    let subject = authorization::subject_in_session(&app.db, tenant.name(), sid).await?;
    let Some(subject) = subject else {
        return Ok(());
    };
    let event = Event {
        sub: Some(&subject),
        object: Some(sid),
        reason: Some("session ended after it had timed out"),
        ..Event::default()
    };
    let audit = app.record(tenant, Kind::SignedOut, &event);
    let changes = ending(tenant, Sessions::One(sid.to_owned()));
    Ok(app
        .journal
        .commit(Command::new(changes, vec![audit]))
        .await?)
}

/// A person's sessions, the last used first.
///
/// # Errors
/// When the database cannot be read.
pub async fn list(app: &App, tenant: &Tenant, user: &User) -> Result<Vec<Session>> {
    let rows = people::sessions(&app.db, tenant.name(), &user.id).await?;
    let alive = rows.into_iter().filter(|row| is_alive(app, row));
    Ok(alive
        .map(|row| Session::from_row(row, user.clone()))
        .collect())
}

fn is_alive(app: &App, row: &session::Model) -> bool {
    let (now, idle) = (app.clock.seconds(), app.config.users.session_idle);
    now < row.expires_at && now < row.last_used_at + idle
}

fn record(
    app: &App,
    tenant: &Tenant,
    kind: Kind,
    user: &User,
    object: &str,
    reason: &str,
) -> Record {
    let event = Event {
        sub: Some(&user.id),
        object: Some(object),
        reason: Some(reason),
        ..Event::default()
    };
    app.record(tenant, kind, &event)
}

fn user_agent(headers: &HeaderMap) -> String {
    let sent = headers.get(header::USER_AGENT);
    let text = sent.and_then(|sent| sent.to_str().ok());
    text.map_or_else(String::new, printable)
}
