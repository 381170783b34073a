//! Other providers: `/login/upstream/{id}` leads to one and back, `/account/upstream` adds and
//! removes an identity there.

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{
    login::{self, Problem},
    visit::Visit,
};
use crate::{
    app::{App, AppState, providers::Provider},
    audit::refusals::printable,
    context,
    error::{OAuthError, Result},
    journal::{Command, JournalError},
    oauth::{error_code::ErrorCode, params::Params},
    registry::Tenant,
    store::Once,
    users::{
        Errand,
        browser::Browser,
        credential::{Credentials, UPSTREAM},
        csrf, session,
        sign_in::{self, Outcome},
        signed::{Recent, Signed, SignedForm},
        upstream::{Claims, Departure, Failure, Traveller, person, redeem},
    },
    web::{
        Page,
        extract::{ForTenant, Id, form, parameters},
        see_other, written,
    },
};

/// A button that leads to a provider.
#[derive(Debug, Serialize)]
pub(super) struct Button<'a> {
    id: &'a str,
    name: &'a str,
}

/// One for each.
pub(super) fn buttons(app: &App) -> Vec<Button<'_>> {
    let buttons = app.providers.all().map(|provider| Button {
        id: &provider.id,
        name: provider.name(),
    });
    buttons.collect()
}

/// Who somebody is at a provider, as they see it.
#[derive(Debug, Serialize)]
pub(super) struct IdentityRow<'a> {
    id: &'a str,
    name: &'a str,
    provider: String,
    created: String,
    used: Option<String>,
}

/// What is remembered of an identity.
#[derive(Deserialize)]
struct Kept {
    issuer: String,
}

/// All of a person's.
pub(super) fn identities<'c>(app: &App, credentials: &'c Credentials) -> Vec<IdentityRow<'c>> {
    let rows = credentials.all(UPSTREAM).map(|row| {
        let kept = serde_json::from_str::<Kept>(&row.document);
        let issuer = kept.map(|kept| kept.issuer).unwrap_or_default();
        let mut all = app.providers.all();
        let provider = all.find(|provider| provider.config.issuer == issuer);
        IdentityRow {
            id: &row.id,
            name: &row.name,
            // One that is not configured any more is named by its issuer.
            provider: provider.map_or(issuer, |provider| provider.name().to_owned()),
            created: written(row.created_at),
            used: row.last_used_at.map(written),
        }
    });
    rows.collect()
}

/// What is shown for a moment. The way on is no answer to a form: a provider may lead through any
/// number of hosts, which `form-action` would have to name (CSP level 3 §6.4.1).
#[derive(Debug, Serialize)]
struct OnwardPage<'a> {
    provider: &'a str,
    url: &'a str,
}

impl Page for OnwardPage<'_> {
    const TEMPLATE: &'static str = include_str!("upstream.html");

    fn title(&self) -> &str {
        "Sign in"
    }
}

/// Has the browser go on.
fn onward(app: &App, tenant: &Tenant, provider: &Provider, url: &str) -> Result<Response> {
    let page = OnwardPage {
        provider: provider.name(),
        url,
    };
    let mut response = app.pages.show(tenant, StatusCode::OK, &page)?;
    let refresh = HeaderValue::from_str(&format!("0;url={url}"));
    let refresh = refresh.map_err(OAuthError::server_error)?;
    response.headers_mut().insert(header::REFRESH, refresh);
    Ok(response)
}

fn provider<'a>(app: &'a App, id: &str) -> Result<&'a Provider> {
    let found = app.providers.get(id);
    found
        .map(AsRef::as_ref)
        .ok_or_else(|| OAuthError::not_found("There is no such provider to sign in with."))
}

/// Leaves for a provider, from the sign-in page. Whom a client has sent is asked first what that
/// may do, where it was going: only then is anything sent to the provider.
///
/// # Errors
/// `not_found`, 403 when the form is another browser's; when the errand is none of ours.
pub(super) async fn leave(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    request: Request,
) -> Result<Response> {
    let provider = provider(&app, &id)?;
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    visit.check(params.get(csrf::FIELD))?;
    let errand = visit.errand.map(|(_, errand)| errand);
    if let Some(errand) = errand.as_ref().filter(|errand| errand.client.is_some()) {
        let asked = errand.clone().with("provider", &provider.id);
        return see_other(&asked.destination(&tenant), visit.browser.cookie);
    }
    let leaving = Leaving {
        browser: Browser::leaving(&app, &tenant, &headers),
        provider,
        errand,
        decision: None,
    };
    depart(&app, &tenant, &headers, leaving).await
}

/// Somebody who leaves for a provider to sign in.
pub struct Leaving<'a> {
    /// Their browser.
    pub browser: Browser,
    /// The provider.
    pub provider: &'a Provider,
    /// Where they were going.
    pub errand: Option<Errand>,
    /// What was decided there before, sealed.
    pub decision: Option<String>,
}

/// Sends a browser to a provider, and gives it the cookie that lets it come back.
///
/// # Errors
/// When nothing can be sealed or written.
pub async fn depart(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    leaving: Leaving<'_>,
) -> Result<Response> {
    let Leaving {
        browser, provider, ..
    } = leaving;
    let traveller = Traveller::Browser(browser.name);
    let departure = Departure::new(app, provider, traveller, leaving.errand.clone());
    let departure = departure.decided(leaving.decision);
    match departure.url(app, tenant, provider).await {
        Ok(url) => {
            let mut response = onward(app, tenant, provider, url.as_str())?;
            let cookie = browser.cookie.map(|cookie| (header::SET_COOKIE, cookie));
            response.headers_mut().extend(cookie);
            Ok(response)
        }
        Err(failure) => {
            let visit = Visit::with(app, tenant, headers, leaving.errand)?;
            fail(&visit, provider, &failure).await
        }
    }
}

/// Comes back from a provider.
///
/// # Errors
/// `not_found`; `invalid_request` when the browser has not left from here for there, or has come
/// back before; 429 when there are too many from one address; when the database is away.
pub(super) async fn arrive(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    Id(id): Id,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let provider = provider(&app, &id)?;
    let query = query.unwrap_or_default();
    let params = parameters(query.as_bytes())?;
    let left = Browser::left(&tenant, &headers);
    let session = session::current(&app, &tenant, &headers).await?;
    let is_here = |traveller: &Traveller| match traveller {
        Traveller::Browser(name) => left == Some(name),
        Traveller::Session(sid) => session.as_ref().is_some_and(|here| here.sid == *sid),
    };
    let state = params.get("state").unwrap_or_default();
    let departure = Departure::open(&app, &tenant, provider, state, is_here)?;
    let said = ask(&app, &tenant, provider, &departure, &params).await?;
    match (departure.traveller(), session) {
        (Traveller::Session(_), Some(session)) => {
            let linked = match said {
                Ok(claims) => person::link(&app, &tenant, provider, &session, &claims).await?,
                Err(failure) => Err(failure),
            };
            let Err(failure) = linked else {
                return see_other(&format!("{}/account", tenant.path()), []);
            };
            noted(&app, &tenant, provider, &failure).await?;
            Err(OAuthError::access_denied(failure.words))
        }
        _ => {
            let errand = departure.errand.clone();
            let decision = departure.decision.as_deref();
            let visit = Visit::with(&app, &tenant, &headers, errand)?;
            let outcome = match said {
                Ok(claims) => {
                    let way = (&departure, &visit.browser);
                    person::signs_in(&app, &tenant, provider, way, &claims).await?
                }
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(Outcome::Proved(proved)) => visit.decided(decision)?.finish(*proved).await,
                Ok(Outcome::Half(half)) => visit.decided(decision)?.half_way(&half),
                Ok(Outcome::Wrong) => Err(OAuthError::access_denied("You may not sign in.")),
                Err(failure) => fail(&visit, provider, &failure).await,
            }
        }
    }
}

/// What the provider says of who has come back, once for each departure.
async fn ask(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    departure: &Departure,
    params: &Params<'_>,
) -> Result<Result<Claims, Failure>> {
    app.limits.arrival(context::address())?;
    let used = Command::new(vec![departure.use_up(tenant)], Vec::new());
    app.journal
        .commit(used)
        .await
        .map_err(|error| match error {
            JournalError::Used(Once::Departure) => OAuthError::invalid_request(
                "This sign-in is over already: go back to the application and begin again.",
            ),
            error => error.into(),
        })?;
    Ok(redeem(app, tenant, provider, departure, params).await)
}

/// Shows the sign-in page with what did not work.
async fn fail(visit: &Visit<'_>, provider: &Provider, failure: &Failure) -> Result<Response> {
    noted(visit.app, visit.tenant, provider, failure).await?;
    // Not 503: whoever cannot sign in so may do it in another way, on this very page.
    let error = if failure.passing {
        ErrorCode::TemporarilyUnavailable
    } else {
        ErrorCode::AccessDenied
    };
    let (name, words) = (provider.name(), &failure.words);
    let problem = Problem {
        error: error.as_str(),
        words: format!("Signing in with {name} did not work. {words}").into(),
    };
    login::page(visit, StatusCode::FORBIDDEN, "", Some(problem))
}

async fn noted(app: &App, tenant: &Tenant, provider: &Provider, failure: &Failure) -> Result<()> {
    // It may hold what the provider, or a browser, has sent.
    let (id, reason) = (&provider.id, printable(&failure.reason));
    tracing::warn!(provider = id, reason, "nobody is signed in by a provider");
    sign_in::refuse(app, tenant, None, &format!("{id}: {reason}")).await
}

/// Leaves for a provider to add an identity there.
///
/// # Errors
/// `not_found`, 403 when the form is another browser's, or the provider is away.
pub(super) async fn add(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let provider = provider(app, params.get("provider").unwrap_or_default())?;
    let traveller = Traveller::Session(signed.session.sid.clone());
    let departure = Departure::new(app, provider, traveller, None);
    match departure.url(app, tenant, provider).await {
        Ok(url) => onward(app, tenant, provider, url.as_str()),
        Err(failure) => {
            Err(OAuthError::new(ErrorCode::Forbidden, failure.words).because(failure.reason))
        }
    }
}

/// Takes an identity away, unless nothing would be left to sign in with.
///
/// # Errors
/// 403 when the form is another browser's, `invalid_request` for the last way in; when the database
/// is away.
pub(super) async fn remove(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let last = "This is all you can sign in with: set a password or add a passkey first.";
    let id = params.get("id").unwrap_or_default();
    signed
        .remove_way_in(UPSTREAM, id, "identity removed", last)
        .await
}
