//! `GET|POST /account/profile`: name and e-mail address.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::login::Problem;
use crate::{
    error::Result,
    oauth::params::Params,
    users::{
        User,
        account::check_email,
        change,
        signed::{Recent, Signed, SignedForm},
    },
    web::Page,
};

/// Longest name of a person, characters.
const LONGEST: usize = 256;

/// What the page shows.
#[derive(Debug, Serialize)]
struct ProfilePage<'a> {
    csrf: String,
    name: &'a str,
    email: &'a str,
    problem: Option<Problem>,
}

impl Page for ProfilePage<'_> {
    const TEMPLATE: &'static str = include_str!("profile.html");

    fn title(&self) -> &str {
        "Your profile"
    }
}

/// Shows what can be changed.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn show(Recent(signed): Recent) -> Result<Response> {
    let user = signed.user();
    let page = ProfilePage {
        csrf: signed.csrf(),
        name: user
            .claims
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        email: user.email.as_deref().unwrap_or_default(),
        problem: None,
    };
    signed.show(StatusCode::OK, &page)
}

/// Changes it.
///
/// # Errors
/// 403 when the form is another browser's; when the database is away.
pub(super) async fn submit(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let before = signed.user();
    match wanted(before, &params, app.clock.seconds()) {
        Ok(after) => {
            let changes = change::replaced(tenant, before, &after);
            signed.change(changes, "profile changed").await?;
            signed.done()
        }
        Err(words) => {
            let page = ProfilePage {
                csrf: signed.csrf(),
                name: params.get("name").unwrap_or_default(),
                email: params.get("email").unwrap_or_default(),
                problem: Some(Problem::input(words)),
            };
            signed.show(StatusCode::BAD_REQUEST, &page)
        }
    }
}

/// The account as the form wants it. A new address is one that nobody has verified.
fn wanted(before: &User, params: &Params<'_>, now: i64) -> Result<User, String> {
    let name = params.get("name").map(str::trim).unwrap_or_default();
    let email = params.get("email").map(str::to_owned);
    if name.chars().count() > LONGEST || name.chars().any(char::is_control) {
        return Err(format!(
            "A name has at most {LONGEST} characters, and no control characters."
        ));
    }
    if let Some(email) = &email {
        check_email(email).map_err(|words| format!("Please correct this: {words}."))?;
    }
    let mut after = before.clone();
    after.email_verified = before.email_verified && email == before.email;
    after.email = email;
    after.updated_at = now;
    if name.is_empty() {
        after.claims.remove("name");
    } else {
        after.claims.insert("name".into(), name.into());
    }
    Ok(after)
}
