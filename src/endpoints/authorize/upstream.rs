//! Consent of whoever is about to sign in with another provider: asked, and sealed, before their
//! browser is sent there (the confused deputy of the MCP security best practices).

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header};

use super::{Back, chosen, errand, go_on, page, refused};
use crate::{
    app::{App, AppState, providers::Provider},
    authorize::{
        self, AuthorizationRequest, Decision, Interaction, Refusal, Step, completion, interaction,
    },
    error::{OAuthError, Result},
    registry::Tenant,
    users::{
        browser::Browser,
        csrf::{self, Holder},
        pages::{Leaving, depart},
        session,
    },
    web::extract::{ForTenant, form, parameters_with_choice},
};

/// Asks what the client may do before the browser leaves for a provider.
pub(super) fn ask(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    request: &AuthorizationRequest,
    interaction: &Interaction,
    provider: &Provider,
) -> Result<Response> {
    let browser = Browser::of(app, tenant, headers);
    let asked = page::Asked::Stranger(&browser, provider);
    let page = page::Consent::new(app, tenant, request, asked, interaction)?;
    let mut response = app.pages.show(tenant, StatusCode::OK, &page)?;
    let cookie = browser.cookie.map(|cookie| (header::SET_COOKIE, cookie));
    response.headers_mut().extend(cookie);
    Ok(response)
}

/// Takes what was decided: a denial is the end of the request, with what is allowed the browser
/// leaves for the provider.
///
/// # Errors
/// As [`begin`](super::begin); 403 when the form was made for another browser, `not_found` for a
/// provider that there is none of.
pub async fn decide(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters_with_choice(&body, "scope")?;
    let browser = Browser::of(&app, &tenant, &headers);
    let holder = Holder::Browser(&browser);
    csrf::check(&app, &tenant, holder, &headers, params.get(csrf::FIELD))?;
    let provider = params.get("provider").and_then(|id| app.providers.get(id));
    let provider = provider.ok_or_else(|| OAuthError::not_found("There is no such provider."))?;
    let interaction = params.get("interaction").unwrap_or_default();
    let interaction = Interaction::open(&app, &tenant, interaction)?;
    let session = session::current(&app, &tenant, &headers).await?;
    let request = match authorize::read(&app, &tenant, &interaction.received()?).await {
        Ok(request) => request,
        Err(refusal) => return refused(&app, &tenant, refusal),
    };
    // Somebody may have signed in since the page was shown.
    let who = session.as_ref();
    let next = interaction::next(&app, &tenant, &request, who, &interaction, None).await;
    let Ok(Step::SignIn {
        authenticated_after,
    }) = next
    else {
        return go_on(&app, &tenant, session, &interaction, Back::default()).await;
    };
    let errand = errand(&app, &tenant, &request, &interaction, authenticated_after)?;
    let browser = Browser::leaving(&app, &tenant, &headers);
    let decided = match params.get("decision") {
        Some("allow") => {
            let chosen = chosen(&params);
            let decision = Decision::new(&app, &request, &interaction, &chosen, &browser.name);
            let sealed = decision.and_then(|decision| decision.seal(&app, &tenant));
            sealed.map_err(|error| Refusal::Redirect(request.to, error))
        }
        Some("deny") => Err(completion::deny(&app, &tenant, &request, None).await),
        _ => Err(Refusal::Page(OAuthError::invalid_request(
            "The form does not say what was decided.",
        ))),
    };
    match decided {
        Err(refusal) => refused(&app, &tenant, refusal),
        Ok(decision) => {
            let leaving = Leaving {
                browser,
                provider,
                errand: Some(errand),
                decision: Some(decision),
            };
            depart(&app, &tenant, &headers, leaving).await
        }
    }
}
