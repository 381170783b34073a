//! `GET|POST /account/password`: another password.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{login::Problem, signed::Signed};
use crate::{
    app::AppState,
    error::Result,
    store::people::Sessions,
    users::{
        credential::{self, Credentials, PASSWORD},
        password, session,
    },
    web::{
        Page,
        extract::{ForTenant, form, parameters},
    },
};

/// Where it is.
const PATH: &str = "/account/password";

/// What the page shows.
#[derive(Debug, Serialize)]
struct PasswordPage<'a> {
    csrf: String,
    username: &'a str,
    least: usize,
    problem: Option<Problem>,
}

impl Page for PasswordPage<'_> {
    const TEMPLATE: &'static str = include_str!("new_password.html");

    fn title(&self) -> &str {
        "Your password"
    }
}

/// Asks for a new password.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    headers: HeaderMap,
) -> Result<Response> {
    match Signed::recently(&app, &tenant, &headers, PATH).await? {
        Ok(signed) => page(&signed, StatusCode::OK, None),
        Err(login) => Ok(login),
    }
}

/// Sets it, and ends all other sessions: whoever knew the old one is out.
///
/// # Errors
/// 403 when the form is another browser's; when the database is away.
pub(super) async fn submit(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let signed = match Signed::sends(&app, &tenant, &headers, &params, PATH).await? {
        Ok(signed) => signed,
        Err(login) => return Ok(login),
    };
    let user = signed.user();
    let new = params.get("password").unwrap_or_default();
    if let Err(words) = password::check_new(&app, new, &user.username) {
        let problem = Problem::input(words);
        return page(&signed, StatusCode::BAD_REQUEST, Some(problem));
    }
    let credentials = Credentials::of(&app, &tenant, user).await?;
    let before = credentials.first(PASSWORD);
    let hash = password::hash(&app, new).await?;
    let mut changes = vec![credential::password(&app, &tenant, &user.id, hash, before)];
    changes.extend(session::ending(
        &tenant,
        Sessions::Others {
            user: user.id.clone(),
            but: signed.session.sid.clone(),
        },
    ));
    signed.change(changes, "password changed").await?;
    signed.done()
}

fn page(signed: &Signed<'_>, status: StatusCode, problem: Option<Problem>) -> Result<Response> {
    let page = PasswordPage {
        csrf: signed.csrf(),
        username: &signed.user().username,
        least: signed.app.config.users.password_length,
        problem,
    };
    signed.show(status, &page)
}
