//! The authorization endpoint (RFC 6749 §3.1) and the pages behind it.
//!
//! | URL | what |
//! |---|---|
//! | `GET`, `POST /authorize` | a request begins |
//! | `GET /authorize/resume` | the person comes back from signing in |
//! | `POST /authorize/decision` | what they allow |
//! | `GET /pages/submit.js` | the script that posts an answer |

mod page;

pub use self::page::submit;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{Method, StatusCode};
use url::Url;

use crate::{
    app::{App, AppState},
    authorize::{
        self, Answer, AuthorizationRequest, Interaction, Refusal, ResponseMode, Step, interaction,
    },
    error::{OAuthError, Result},
    oauth::params::Params,
    registry::Tenant,
    users::{Errand, Session, csrf, session},
    web::{
        extract::{ForTenant, form, parameters, parameters_with_choice},
        form_target, see_other,
    },
};

/// Begins.
///
/// # Errors
/// For a page: what keeps the request from being answered at its redirect URI.
pub async fn begin(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let posted = request.method() == Method::POST;
    let (headers, parameters) = if posted {
        let (headers, body) = form(request, app.config.limits.body).await?;
        (headers, String::from_utf8(body.to_vec()))
    } else {
        let query = request.uri().query().unwrap_or_default().to_owned();
        (request.into_parts().0.headers, Ok(query))
    };
    let parameters =
        parameters.map_err(|why| OAuthError::invalid_request(NOT_UTF8).because(why))?;
    let session = session::current(&app, &tenant, &headers).await?;
    let interaction = Interaction::begin(&app, &tenant, parameters, session.as_ref()).await?;
    if posted && session.is_none() {
        // From another site it brings no cookies (SameSite=Lax); what it leads to does.
        if let Err(refusal) = authorize::read(&app, &tenant, &interaction.received()?).await {
            return refused(&app, &tenant, refusal);
        }
        let ticket = interaction.blind().seal(&app, &tenant)?;
        let path = tenant.path();
        return see_other(&format!("{path}/authorize/resume?interaction={ticket}"), []);
    }
    go_on(&app, &tenant, session, &interaction).await
}

const NOT_UTF8: &str = "The form is not UTF-8.";

/// Goes on after the person has signed in.
///
/// # Errors
/// As [`begin`].
pub async fn resume(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let query = parameters(request.uri().query().unwrap_or_default().as_bytes())?;
    let ticket = query.get("interaction").unwrap_or_default();
    let interaction = Interaction::open(&app, &tenant, ticket)?;
    let session = session::current(&app, &tenant, request.headers()).await?;
    let interaction = interaction.seen(session.as_ref());
    go_on(&app, &tenant, session, &interaction).await
}

async fn go_on(
    app: &App,
    tenant: &Tenant,
    session: Option<Session>,
    interaction: &Interaction,
) -> Result<Response> {
    let request = match authorize::read(app, tenant, &interaction.received()?).await {
        Ok(request) => request,
        Err(refusal) => return refused(app, tenant, refusal),
    };
    let next = interaction::next(app, tenant, &request, session.as_ref(), interaction).await;
    match (next, session) {
        (Err(error), _) => refused(app, tenant, Refusal::Redirect(request.to, error)),
        (Ok(Step::Done(_)), Some(session)) => {
            let done =
                interaction::complete(app, tenant, &request, &session, &request.ask, false).await;
            done.map_or_else(
                |refusal| refused(app, tenant, refusal),
                |answer| answered(app, tenant, &answer),
            )
        }
        (Ok(Step::Ask(remembered)), Some(session)) => {
            let ticket = interaction.seal(app, tenant)?;
            let page = page::Consent::new(app, tenant, &request, &session, &remembered, ticket)?;
            app.pages.show(tenant, StatusCode::OK, &page)
        }
        (
            Ok(Step::SignIn {
                authenticated_after,
            }),
            _,
        ) => sign_in(app, tenant, &request, interaction, authenticated_after),
        (Ok(_), None) => sign_in(app, tenant, &request, interaction, None),
    }
}

fn sign_in(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    interaction: &Interaction,
    authenticated_after: Option<i64>,
) -> Result<Response> {
    let ticket = interaction.seal(app, tenant)?;
    let errand = Errand {
        to: format!("/authorize/resume?interaction={ticket}"),
        client: Some(page::sender(request)?),
        login_hint: request.details.login_hint.clone(),
        asked_at: interaction.asked_at(),
        authenticated_after,
        form_target: Url::parse(&request.to.redirect_uri)
            .ok()
            .as_ref()
            .map(form_target),
    };
    see_other(&errand.login(app, tenant)?, [])
}

/// Takes what the person has decided.
///
/// # Errors
/// As [`begin`]; 403 when the form was made for another browser.
pub async fn decide(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters_with_choice(&body, "scope")?;
    let ticket = params.get("interaction").unwrap_or_default();
    let interaction = Interaction::open(&app, &tenant, ticket)?;
    let Some(session) = session::current(&app, &tenant, &headers).await? else {
        return go_on(&app, &tenant, None, &interaction).await;
    };
    let holder = csrf::Holder::Session(&session);
    csrf::check(&app, &tenant, holder, &headers, params.get(csrf::FIELD))?;
    let request = match authorize::read(&app, &tenant, &interaction.received()?).await {
        Ok(request) => request,
        Err(refusal) => return refused(&app, &tenant, refusal),
    };
    // The session may have become another one, or too old, since the page was shown.
    let next = interaction::next(&app, &tenant, &request, Some(&session), &interaction).await;
    if let Ok(Step::SignIn { .. }) | Err(_) = next {
        return go_on(&app, &tenant, Some(session), &interaction).await;
    }
    let outcome = match params.get("decision") {
        Some("allow") => allow(&app, &tenant, &request, &session, &params).await,
        Some("deny") => Err(interaction::deny(&app, &tenant, &request, &session).await),
        _ => Err(Refusal::Page(OAuthError::invalid_request(
            "The form does not say what was decided.",
        ))),
    };
    outcome.map_or_else(
        |refusal| refused(&app, &tenant, refusal),
        |answer| answered(&app, &tenant, &answer),
    )
}

async fn allow(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    session: &Session,
    params: &Params<'_>,
) -> Result<Answer, Refusal> {
    let chosen = params.all("scope").map(str::to_owned).collect();
    let allowed = request.ask.clone().narrowed(&chosen);
    let allowed = allowed.map_err(|error| Refusal::Redirect(request.to.clone(), error))?;
    interaction::complete(app, tenant, request, session, &allowed, true).await
}

fn refused(app: &App, tenant: &Tenant, refusal: Refusal) -> Result<Response> {
    match refusal {
        Refusal::Page(error) => Err(error),
        Refusal::Redirect(to, error) => {
            tracing::debug!(error = error.code.as_str(), "authorization refused");
            answered(app, tenant, &Answer::refusal(tenant, to, &error))
        }
    }
}

fn answered(app: &App, tenant: &Tenant, answer: &Answer) -> Result<Response> {
    match answer.to.mode {
        ResponseMode::Query => see_other(&answer.url(), []),
        ResponseMode::FormPost => {
            let page = page::FormPost::new(answer);
            app.pages.show(tenant, StatusCode::OK, &page)
        }
    }
}
