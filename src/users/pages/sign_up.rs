//! `GET|POST /signup`: a new account, where anybody may make one.

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{login::Problem, visit::Visit};
use crate::{
    app::{App, AppState},
    config::SignUp,
    context,
    error::{OAuthError, Result},
    oauth::{error_code::ErrorCode, params::Params},
    registry::Tenant,
    users::{
        User,
        account::{self, check_email, check_own_username},
        change, csrf, password,
        sign_in::Proved,
    },
    web::{
        Page,
        extract::{ForTenant, form, parameters},
    },
};

/// What the page shows.
#[derive(Debug, Serialize)]
struct SignUpPage<'a> {
    csrf: String,
    errand: &'a str,
    login: String,
    username: &'a str,
    email: &'a str,
    least: usize,
    problem: Option<Problem>,
}

impl Page for SignUpPage<'_> {
    const TEMPLATE: &'static str = include_str!("sign_up.html");

    fn title(&self) -> &str {
        "Make an account"
    }
}

/// Asks for what an account needs.
///
/// # Errors
/// `not_found` where only administrators make accounts.
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    allowed(&app)?;
    let query = query.unwrap_or_default();
    let params = parameters(query.as_bytes())?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    page(&visit, StatusCode::OK, &params, None)
}

/// Makes the account and signs in.
///
/// # Errors
/// `not_found` where only administrators make accounts, 403 when the form is another browser's, 429
/// when the address makes too many, and when the database is away.
pub(super) async fn submit(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    allowed(&app)?;
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    visit.check(params.get(csrf::FIELD))?;
    app.limits.arrival(context::address())?;
    let refuse = |words: String| {
        let problem = Problem::input(words);
        page(&visit, StatusCode::BAD_REQUEST, &params, Some(problem))
    };
    let (user, password) = match wanted(&app, &tenant, &params).await? {
        Ok(wanted) => wanted,
        Err(words) => return refuse(words),
    };
    let hash = password::hash(&app, password).await?;
    let proved = Proved {
        spent: change::added(&app, &tenant, &user, Some(hash)),
        audit: vec![change::record(&app, &tenant, &user.id, "signed up")],
        user,
        amr: "pwd".into(),
        authenticated_at: None,
    };
    match visit.finish(proved).await {
        Err(error) if error.code == ErrorCode::Conflict => refuse(TAKEN.into()),
        other => other,
    }
}

const TAKEN: &str = "Somebody has this user name already.";

fn allowed(app: &App) -> Result<()> {
    match app.config.users.sign_up {
        SignUp::Open => Ok(()),
        SignUp::Off => Err(OAuthError::not_found(
            "Accounts are made by the administrators of this server.",
        )),
    }
}

/// The account that a form asks for, and its password; or what is wrong with it.
async fn wanted<'p>(
    app: &App,
    tenant: &Tenant,
    params: &'p Params<'_>,
) -> Result<Result<(User, &'p str), String>> {
    let username = params.get("username").unwrap_or_default();
    let password = params.get("password").unwrap_or_default();
    let email = params.get("email").map(str::to_owned);
    let checked = check_own_username(username)
        .and_then(|()| email.as_deref().map_or(Ok(()), check_email))
        .map_err(|words| format!("Please correct this: {words}."))
        .and_then(|()| password::check_new(app, password, username));
    if let Err(words) = checked {
        return Ok(Err(words));
    }
    if account::find_by_username(app, tenant, username)
        .await?
        .is_some()
    {
        return Ok(Err(TAKEN.into()));
    }
    let user = User {
        email,
        ..User::new(app, username)
    };
    Ok(Ok((user, password)))
}

fn page(
    visit: &Visit<'_>,
    status: StatusCode,
    params: &Params<'_>,
    problem: Option<Problem>,
) -> Result<Response> {
    let page = SignUpPage {
        csrf: visit.csrf(),
        errand: visit.ticket().unwrap_or_default(),
        login: visit.path("/login", &[]),
        username: params.get("username").unwrap_or_default(),
        email: params.get("email").unwrap_or_default(),
        least: visit.app.config.users.password_length,
        problem,
    };
    visit.show(status, &page)
}
