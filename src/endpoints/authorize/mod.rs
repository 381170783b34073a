//! The authorization endpoint (RFC 6749 §3.1) and the pages behind it.
//!
//! | URL | what |
//! |---|---|
//! | `GET`, `POST /authorize` | a request begins |
//! | `GET /authorize/resume` | the person comes back from signing in |
//! | `POST /authorize/decision` | what they allow |
//! | `POST /authorize/upstream` | the same of whoever is about to sign in with another provider |
//! | `GET /pages/submit.js` | the script that posts an answer |

mod page;
pub mod upstream;

pub use self::page::submit;

use std::collections::BTreeSet;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode};

use crate::{
    app::{App, AppState, providers::Provider},
    authorize::{
        self, Answer, AuthorizationRequest, Decision, Interaction, Refusal, ResponseMode, Step,
        Word, completion, interaction,
    },
    error::{OAuthError, Result},
    oauth::params::Params,
    registry::Tenant,
    users::{Errand, Session, browser::Browser, csrf, session},
    web::{
        extract::{ForTenant, form, parameters, parameters_with_choice},
        see_other,
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
    go_on(&app, &tenant, session, &interaction, Back::default()).await
}

const NOT_UTF8: &str = "The form is not UTF-8.";

/// What a browser comes back with.
#[derive(Default)]
struct Back<'a> {
    /// What was decided before it left for a provider.
    decision: Option<Decision>,
    /// The provider that it is to leave for, if nobody has signed in.
    leaving: Option<(&'a Provider, &'a HeaderMap)>,
}

/// Goes on after the person has signed in, or has chosen another provider to do so.
///
/// # Errors
/// As [`begin`].
pub async fn resume(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let query = parameters(request.uri().query().unwrap_or_default().as_bytes())?;
    let headers = request.headers();
    let ticket = query.get("interaction").unwrap_or_default();
    let interaction = Interaction::open(&app, &tenant, ticket)?;
    let session = session::current(&app, &tenant, headers).await?;
    let interaction = interaction.seen(session.as_ref());
    let decided = query.get("decision").zip(Browser::left(&tenant, headers));
    let provider = query.get("provider").and_then(|id| app.providers.get(id));
    let back = Back {
        decision: decided.and_then(|(decision, browser)| {
            Decision::open(&app, &tenant, decision, &interaction, browser)
        }),
        leaving: provider.map(|provider| (provider.as_ref(), headers)),
    };
    go_on(&app, &tenant, session, &interaction, back).await
}

async fn go_on(
    app: &App,
    tenant: &Tenant,
    session: Option<Session>,
    interaction: &Interaction,
    Back { decision, leaving }: Back<'_>,
) -> Result<Response> {
    let request = match authorize::read(app, tenant, &interaction.received()?).await {
        Ok(request) => request,
        Err(refusal) => return refused(app, tenant, refusal),
    };
    let who = session.as_ref();
    let next = interaction::next(app, tenant, &request, who, interaction, decision).await;
    match (next, session) {
        (Err(error), _) => refused(app, tenant, Refusal::Redirect(request.to, error)),
        (Ok(Step::Done(allowed, word)), Some(session)) => {
            let done = completion::complete(app, tenant, &request, &session, &allowed, &word).await;
            done.map_or_else(
                |refusal| refused(app, tenant, refusal),
                |answer| answered(app, tenant, &answer),
            )
        }
        (Ok(Step::Ask(remembered)), Some(session)) => {
            let asked = page::Asked::Person(&session, &remembered);
            let page = page::Consent::new(app, tenant, &request, asked, interaction)?;
            app.pages.show(tenant, StatusCode::OK, &page)
        }
        (
            Ok(Step::SignIn {
                authenticated_after,
            }),
            _,
        ) => match leaving {
            Some((provider, headers)) => {
                upstream::ask(app, tenant, headers, &request, interaction, provider)
            }
            None => sign_in(app, tenant, &request, interaction, authenticated_after),
        },
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
    let errand = errand(app, tenant, request, interaction, authenticated_after)?;
    see_other(&errand.login(app, tenant)?, [])
}

/// The way back to a request, for whoever has to sign in.
fn errand(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    interaction: &Interaction,
    authenticated_after: Option<i64>,
) -> Result<Errand> {
    let ticket = interaction.seal(app, tenant)?;
    Ok(Errand {
        to: format!("/authorize/resume?interaction={ticket}"),
        client: Some(page::sender(request)?),
        login_hint: request.details.login_hint.clone(),
        ends_at: interaction.ends_at(app),
        authenticated_after,
    })
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
        return go_on(&app, &tenant, None, &interaction, Back::default()).await;
    };
    let holder = csrf::Holder::Session(&session);
    csrf::check(&app, &tenant, holder, &headers, params.get(csrf::FIELD))?;
    let request = match authorize::read(&app, &tenant, &interaction.received()?).await {
        Ok(request) => request,
        Err(refusal) => return refused(&app, &tenant, refusal),
    };
    // The session may have become another one, or too old, since the page was shown.
    let who = Some(&session);
    let next = interaction::next(&app, &tenant, &request, who, &interaction, None).await;
    if let Ok(Step::SignIn { .. }) | Err(_) = next {
        return go_on(&app, &tenant, Some(session), &interaction, Back::default()).await;
    }
    let outcome = match params.get("decision") {
        Some("allow") => allow(&app, &tenant, &request, &session, &params).await,
        Some("deny") => Err(completion::deny(&app, &tenant, &request, who).await),
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
    let allowed = request.ask.clone().narrowed(&chosen(params));
    let allowed = allowed.map_err(|error| Refusal::Redirect(request.to.clone(), error))?;
    completion::complete(app, tenant, request, session, &allowed, &Word::Given).await
}

/// The boxes of a form that are still ticked.
fn chosen(params: &Params<'_>) -> BTreeSet<String> {
    params.all("scope").map(str::to_owned).collect()
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
