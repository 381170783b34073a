//! `/account`: what a person sees of their own account, and signing out.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::upstream::{self, Button, IdentityRow};
use crate::{
    error::Result,
    store::people::Sessions,
    users::{
        Session, User, agent,
        cookie::Cookie,
        credential::{Credentials, PASSKEY, PASSWORD, RECOVERY, TOTP},
        session,
        signed::{Signed, SignedForm},
        webauthn::RelyingParty,
    },
    web::{Page, see_other, written},
};

/// What the page shows.
#[derive(Debug, Serialize)]
struct AccountPage<'a> {
    csrf: String,
    user: &'a User,
    name: &'a str,
    has_password: bool,
    has_authenticator: bool,
    recovery_codes: usize,
    can_passkeys: bool,
    passkeys: Vec<PasskeyRow<'a>>,
    identities: Vec<IdentityRow<'a>>,
    providers: Vec<Button<'a>>,
    sessions: Vec<SessionRow<'a>>,
}

#[derive(Debug, Serialize)]
struct PasskeyRow<'a> {
    id: &'a str,
    name: &'a str,
    created: String,
    used: Option<String>,
}

#[derive(Debug, Serialize)]
struct SessionRow<'a> {
    sid: &'a str,
    browser: String,
    user_agent: &'a str,
    address: &'a str,
    began: String,
    used: String,
    is_this: bool,
}

impl Page for AccountPage<'_> {
    const TEMPLATE: &'static str = include_str!("account.html");

    fn title(&self) -> &str {
        "Your account"
    }
}

/// Shows the account, to whoever is signed in.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn show(signed: Signed) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let user = signed.user();
    let credentials = Credentials::of(app, tenant, user).await?;
    let sessions = session::list(app, tenant, user).await?;
    let page = AccountPage {
        csrf: signed.csrf(),
        user,
        name: user.display_name(),
        has_password: credentials.first(PASSWORD).is_some(),
        has_authenticator: credentials.first(TOTP).is_some(),
        recovery_codes: credentials.all(RECOVERY).count(),
        can_passkeys: RelyingParty::of(tenant).is_some(),
        passkeys: passkeys(&credentials),
        identities: upstream::identities(app, &credentials),
        providers: upstream::buttons(app),
        sessions: rows(&sessions, &signed.session),
    };
    signed.show(StatusCode::OK, &page)
}

fn passkeys(credentials: &Credentials) -> Vec<PasskeyRow<'_>> {
    let rows = credentials.all(PASSKEY).map(|row| PasskeyRow {
        id: &row.id,
        name: &row.name,
        created: written(row.created_at),
        used: row.last_used_at.map(written),
    });
    rows.collect()
}

fn rows<'s>(sessions: &'s [Session], this: &Session) -> Vec<SessionRow<'s>> {
    let rows = sessions.iter().map(|session| SessionRow {
        sid: &session.sid,
        browser: agent::named(&session.user_agent),
        user_agent: &session.user_agent,
        address: &session.address,
        began: written(session.created_at),
        used: written(session.last_used_at),
        is_this: session.sid == this.sid,
    });
    rows.collect()
}

/// Ends the session of this browser.
///
/// # Errors
/// 403 when the form is not its own; when the database is away.
pub(super) async fn sign_out(SignedForm(signed, _): SignedForm<Signed>) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let which = Sessions::One(signed.session.sid.clone());
    session::end(app, tenant, signed.user(), which).await?;
    let login = format!("{}/login", tenant.path());
    see_other(&login, Cookie::Session.clear(tenant))
}

/// Ends another session of theirs, or all but this one. It need not be a moment after signing in:
/// whoever sees a stranger in the list should not have to wait.
///
/// # Errors
/// 403 when the form is not its own; when the database is away.
pub(super) async fn end_sessions(
    SignedForm(signed, params): SignedForm<Signed>,
) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let user = signed.user();
    let which = match params.get("sid") {
        // Only their own: the name of another's is nobody's here.
        Some(sid) => {
            let all = session::list(app, tenant, user).await?;
            match all.into_iter().find(|session| session.sid == sid) {
                Some(session) => Sessions::One(session.sid),
                None => return signed.done(),
            }
        }
        None => Sessions::Others {
            user: user.id.clone(),
            but: signed.session.sid.clone(),
        },
    };
    session::end(app, tenant, user, which).await?;
    signed.done()
}
