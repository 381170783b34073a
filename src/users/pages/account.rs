//! `/account`: what a person sees of their own account.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::see_other;
use crate::{
    app::{App, AppState},
    endpoints::extract::{ForTenant, form, parameters},
    error::Result,
    registry::Tenant,
    store::people::Sessions,
    users::{
        Errand, Session, User,
        cookie::Cookie,
        csrf::{self, Holder},
        session,
    },
    web::Page,
};

/// What the page shows.
#[derive(Debug, Serialize)]
struct AccountPage<'a> {
    csrf: String,
    user: &'a User,
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
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    headers: HeaderMap,
) -> Result<Response> {
    let Some(session) = session::current(&app, &tenant, &headers).await? else {
        return to_login(&app, &tenant, "/account", None);
    };
    let page = AccountPage {
        csrf: csrf::token(&app, &tenant, Holder::Session(&session)),
        user: &session.user,
    };
    app.pages.show(&tenant, StatusCode::OK, &page)
}

/// Ends the session of this browser.
///
/// # Errors
/// 403 when the form is not its own; when the database is away.
pub(super) async fn sign_out(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let login = format!("{}/login", tenant.path());
    let Some(session) = session::current(&app, &tenant, &headers).await? else {
        return see_other(&login, Vec::new());
    };
    let holder = Holder::Session(&session);
    csrf::check(&app, &tenant, holder, &headers, params.get(csrf::FIELD))?;
    end_own(&app, &tenant, &session).await?;
    see_other(&login, Cookie::Session.clear(&tenant).into_iter().collect())
}

async fn end_own(app: &App, tenant: &Tenant, session: &Session) -> Result<()> {
    let which = Sessions::One(session.sid.clone());
    session::end(app, tenant, &session.user, which).await
}

/// Has the browser sign in, and come back to a page of the account.
fn to_login(
    app: &App,
    tenant: &Tenant,
    page: &str,
    authenticated_after: Option<i64>,
) -> Result<Response> {
    let errand = Errand {
        form_target: None,
        authenticated_after,
        ..Errand::to(app, page)
    };
    see_other(&errand.login(app, tenant)?, Vec::new())
}
