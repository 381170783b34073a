//! A room: the end of a session, at a client's wish and told to clients.
//!
//! | URL | what |
//! |---|---|
//! | `GET`, `POST /logout` | a client sends a person to sign out (OpenID Connect RP-Initiated Logout 1.0) |
//! | `GET /logout/confirm` | they are asked, unless the client shows that it means this very session |
//! | `POST /logout/decision` | what they say |
//!
//! However a session ends, every client that has had an ID token in it and wants to know is told
//! (OpenID Connect Back-Channel Logout 1.0): that is written down with the end itself, and
//! [`courier`] brings it.

pub mod courier;
mod page;
mod request;
mod token;

use axum::{
    Router,
    extract::{Request, State},
    middleware::from_fn_with_state,
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, Method, StatusCode};

use self::request::LogoutRequest;
use crate::{
    app::{App, AppState},
    error::{OAuthError, Result},
    registry::Tenant,
    store::people::Sessions,
    users::{Session, cookie::Cookie, csrf, session},
    web::{
        SharedPages,
        extract::{ForTenant, form, parameters},
        refused, see_other,
    },
};

/// The URLs of the room.
pub fn router(pages: SharedPages) -> Router<AppState> {
    Router::new()
        .route("/logout", get(begin).post(begin))
        .route("/logout/confirm", get(confirm))
        .route("/logout/decision", post(decide))
        .layer(from_fn_with_state(pages, refused::as_page))
}

/// A client sends a person (RP-Initiated Logout §2).
async fn begin(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    if request.method() == Method::POST {
        let (_, body) = form(request, app.config.limits.body).await?;
        let asked = LogoutRequest::read(&app, &tenant, &parameters(&body)?).await?;
        // No session cookie comes with what a form of another site posts: with a redirect it does.
        let ticket = asked.seal(&app, &tenant)?;
        let path = format!("{}/logout/confirm?logout={ticket}", tenant.path());
        return see_other(&path, []);
    }
    let query = request.uri().query().unwrap_or_default();
    let asked = LogoutRequest::read(&app, &tenant, &parameters(query.as_bytes())?).await?;
    go_on(&app, &tenant, request.headers(), &asked).await
}

async fn confirm(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let query = parameters(request.uri().query().unwrap_or_default().as_bytes())?;
    let asked = LogoutRequest::open(&app, &tenant, query.get("logout"))?;
    go_on(&app, &tenant, request.headers(), &asked).await
}

async fn decide(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let asked = LogoutRequest::open(&app, &tenant, params.get("logout"))?;
    let Some(session) = session::current(&app, &tenant, &headers).await? else {
        return done(&app, &tenant, &asked).await;
    };
    let holder = csrf::Holder::Session(&session);
    csrf::check(&app, &tenant, holder, &headers, params.get(csrf::FIELD))?;
    sign_out(&app, &tenant, &session, &asked).await
}

/// Ends the session that the client names; whoever is sent without such a name is asked first: it
/// may be a trap (RP-Initiated Logout §6).
async fn go_on(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    asked: &LogoutRequest,
) -> Result<Response> {
    match session::current(app, tenant, headers).await? {
        None => done(app, tenant, asked).await,
        Some(session) if asked.means(&session) => sign_out(app, tenant, &session, asked).await,
        Some(session) => {
            let page = page::Confirm::new(app, tenant, &session, asked)?;
            app.pages.show(tenant, StatusCode::OK, &page)
        }
    }
}

async fn sign_out(
    app: &App,
    tenant: &Tenant,
    session: &Session,
    asked: &LogoutRequest,
) -> Result<Response> {
    let one = Sessions::One(session.sid.clone());
    session::end(app, tenant, &session.user, one).await?;
    done(app, tenant, asked).await
}

/// Nobody is signed in any more: back to the client, if it has said where that is.
async fn done(app: &App, tenant: &Tenant, asked: &LogoutRequest) -> Result<Response> {
    if let Some(sid) = &asked.sid {
        session::end_left_over(app, tenant, sid).await?;
    }
    let cookie = Cookie::Session.clear(tenant);
    if let Some(url) = asked.destination() {
        return see_other(&url, cookie);
    }
    let mut response = app
        .pages
        .show(tenant, StatusCode::OK, &page::SignedOut {})?;
    if let Some(cookie) = cookie {
        response
            .headers_mut()
            .append(http::header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn refuse(why: &'static str) -> OAuthError {
    OAuthError::invalid_request(why)
}
