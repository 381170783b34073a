//! `GET|POST /login`: name and password.

use std::borrow::Cow;

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{
    passkeys::{Prompt, SCRIPT},
    upstream::{self, Button},
    visit::Visit,
};
use crate::{
    app::AppState,
    config::SignUp,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
    users::{
        csrf,
        errand::Sender,
        session,
        sign_in::{self, Outcome},
    },
    web::{
        Asset, Page,
        extract::{ForTenant, form, parameters},
        see_other,
    },
};

/// What the page shows.
#[derive(Debug, Serialize)]
struct LoginPage<'a> {
    csrf: String,
    errand: &'a str,
    /// Who has sent the person here.
    client: Option<&'a Sender>,
    username: Cow<'a, str>,
    problem: Option<Problem>,
    sign_up: Option<String>,
    passkey: Option<Prompt>,
    providers: Vec<Button<'a>>,
}

/// What did not work.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) error: &'static str,
    pub(super) words: Cow<'static, str>,
}

impl Problem {
    pub(super) fn new(words: impl Into<Cow<'static, str>>) -> Self {
        Self {
            error: ErrorCode::AccessDenied.as_str(),
            words: words.into(),
        }
    }

    /// Of what was typed.
    pub(super) fn input(words: String) -> Self {
        Self {
            error: ErrorCode::InvalidRequest.as_str(),
            words: words.into(),
        }
    }
}

impl Page for LoginPage<'_> {
    const TEMPLATE: &'static str = include_str!("login.html");

    fn title(&self) -> &str {
        "Sign in"
    }

    fn script(&self) -> Option<&'static Asset> {
        self.passkey.is_some().then_some(&SCRIPT)
    }
}

/// One text for a wrong password and for a name that nobody has.
const WRONG: &str = "The user name or the password is wrong.";

/// Asks for name and password, unless nobody needs to.
///
/// # Errors
/// When the errand is none of ours, or the database cannot be read.
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let params = parameters(query.as_bytes())?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    let session = session::current(&app, &tenant, &headers).await?;
    if session
        .as_ref()
        .is_some_and(|session| visit.is_done(session))
    {
        return see_other(&visit.destination(), []);
    }
    let hint = visit
        .errand
        .as_ref()
        .and_then(|(_, e)| e.login_hint.clone());
    let known = session.map(|session| session.user.username);
    let username = hint.or(known).unwrap_or_default();
    page(&visit, StatusCode::OK, &username, None)
}

/// Checks name and password.
///
/// # Errors
/// 403 when the form is another browser's; when the errand is none of ours, or the database is
/// away.
pub(super) async fn submit(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    visit.check(params.get(csrf::FIELD))?;
    let typed = params.get("username").unwrap_or_default();
    let shown = (typed, params.get("password").unwrap_or_default());
    match sign_in::with_password(&app, &tenant, &headers, &visit.browser, shown).await {
        Ok(Outcome::Proved(proved)) => visit.finish(*proved).await,
        Ok(Outcome::Half(half)) => visit.half_way(&half),
        Ok(Outcome::Wrong) => {
            let problem = Problem::new(WRONG);
            page(&visit, StatusCode::FORBIDDEN, typed, Some(problem))
        }
        Err(error) => too_many(error, |status, problem| {
            page(&visit, status, typed, Some(problem))
        }),
    }
}

/// Says to whoever has tried too often when it is worth trying again, on the page that they are
/// at.
///
/// # Errors
/// Any other error, as it is.
pub(super) fn too_many(
    error: OAuthError,
    page: impl FnOnce(StatusCode, Problem) -> Result<Response>,
) -> Result<Response> {
    if error.code != ErrorCode::TooMany {
        return Err(error);
    }
    let problem = Problem::new(error.description().into_owned());
    let mut response = page(StatusCode::TOO_MANY_REQUESTS, problem)?;
    error.stamp(response.headers_mut());
    Ok(response)
}

/// Shows the page, perhaps with what did not work.
///
/// # Errors
/// When it cannot be shown.
pub(super) fn page(
    visit: &Visit<'_>,
    status: StatusCode,
    username: &str,
    problem: Option<Problem>,
) -> Result<Response> {
    let open = visit.app.config.users.sign_up == SignUp::Open;
    let page = LoginPage {
        csrf: visit.csrf(),
        errand: visit.ticket().unwrap_or_default(),
        client: visit.client(),
        username: username.into(),
        problem,
        sign_up: open.then(|| visit.path("/signup", &[])),
        passkey: Prompt::sign_in(visit.app, visit.tenant, &visit.browser.name)?,
        providers: upstream::buttons(visit.app),
    };
    visit.show(status, &page)
}
