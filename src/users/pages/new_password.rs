//! `GET|POST /account/password`: another password.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::login::Problem;
use crate::{
    error::Result,
    store::people::Sessions,
    users::{
        credential, password,
        signed::{Recent, Signed, SignedForm},
    },
    web::Page,
};

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
pub(super) async fn show(Recent(signed): Recent) -> Result<Response> {
    page(&signed, StatusCode::OK, None)
}

/// Sets it, and ends all other sessions, and unless the person wants to keep them what apps may do:
/// whoever knew the old one is out.
///
/// # Errors
/// 403 when the form is another browser's; when the database is away.
pub(super) async fn submit(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let user = signed.user();
    let new = params.get("password").unwrap_or_default();
    if let Err(words) = password::check_new(app, new, &user.username) {
        let problem = Problem::input(words);
        return page(&signed, StatusCode::BAD_REQUEST, Some(problem));
    }
    let hash = password::hash(app, new).await?;
    let ends_apps = params.get("end_apps").is_some();
    let others = Sessions::Others {
        user: user.id.clone(),
        but: signed.session.sid.clone(),
    };
    let changes = credential::set_password(app, tenant, user, hash, others, ends_apps).await?;
    signed.change(changes, "password changed").await?;
    signed.done()
}

fn page(signed: &Signed, status: StatusCode, problem: Option<Problem>) -> Result<Response> {
    let page = PasswordPage {
        csrf: signed.csrf(),
        username: &signed.user().username,
        least: signed.app.config.users.password_length,
        problem,
    };
    signed.show(status, &page)
}
