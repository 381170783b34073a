//! `GET|POST /login/factor`: the second factor.

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{
    login::{Problem, too_many},
    visit::Visit,
};
use crate::{
    app::AppState,
    error::Result,
    users::{
        csrf,
        half::Half,
        sign_in::{self, Outcome},
    },
    web::{
        Page,
        extract::{ForTenant, form, parameters},
    },
};

/// What the page shows.
#[derive(Debug, Serialize)]
struct FactorPage<'a> {
    csrf: String,
    errand: &'a str,
    half: &'a str,
    again: String,
    problem: Option<Problem>,
}

impl Page for FactorPage<'_> {
    const TEMPLATE: &'static str = include_str!("factor.html");

    fn title(&self) -> &str {
        "Second step"
    }
}

/// Asks for a code.
///
/// # Errors
/// When the sign-in was not begun here, or took too long.
pub(super) async fn show(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let params = parameters(query.as_bytes())?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    let ticket = params.get("half").unwrap_or_default();
    Half::open(&app, &tenant, &visit.browser, ticket)?;
    page(&visit, StatusCode::OK, ticket, None)
}

/// Checks a code.
///
/// # Errors
/// 403 when the form is another browser's; when the sign-in was not begun here, took too long, or
/// the database is away.
pub(super) async fn submit(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    visit.check(params.get(csrf::FIELD))?;
    let ticket = params.get("half").unwrap_or_default();
    let half = Half::open(&app, &tenant, &visit.browser, ticket)?;
    let typed = params.get("code").unwrap_or_default();
    match sign_in::with_factor(&app, &tenant, &headers, &half, typed).await {
        Ok(Outcome::Proved(proved)) => visit.finish(*proved).await,
        Ok(_) => {
            let problem = Problem::new("This code is wrong, or was used already.");
            page(&visit, StatusCode::FORBIDDEN, ticket, Some(problem))
        }
        Err(error) => too_many(error, |status, problem| {
            page(&visit, status, ticket, Some(problem))
        }),
    }
}

fn page(
    visit: &Visit<'_>,
    status: StatusCode,
    half: &str,
    problem: Option<Problem>,
) -> Result<Response> {
    let page = FactorPage {
        csrf: visit.csrf(),
        errand: visit.ticket().unwrap_or_default(),
        half,
        again: visit.path("/login", &[]),
        problem,
    };
    visit.show(status, &page)
}
