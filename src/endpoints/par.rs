//! `POST /par`: pushed authorization requests (RFC 9126).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use entity::pushed_request;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use writ_resource::dpop::Proof;

use crate::{
    app::{App, AppState},
    authorize::{self, Channel, Received, Refusal, interaction::PUSHED, request_object},
    clients::{self, Authenticated, digest_of},
    error::{OAuthError, Result},
    journal::Command,
    oauth::params::Params,
    registry::Tenant,
    store::{Change, authorization},
    tokens::{self, dpop},
    web::extract::{ForTenant, form, parameters},
};

/// What proves who the client is belongs to this request and not to the authorization request.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// Checks a request as the authorization endpoint will, and keeps it for a short while.
///
/// # Errors
/// What the authorization endpoint would say, as JSON (RFC 9126 §2.3).
pub async fn push(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let mut authenticated = clients::authenticate(&app, &tenant, &headers, &params).await?;
    let spent = authenticated.spent();
    let at = dpop::Request {
        method: "POST",
        path: "/par",
        headers: &headers,
        token: None,
    };
    let proof = dpop::presented(&app, &tenant, at)?;
    let proved = proof.as_ref().map(Proof::thumbprint);
    let pushed = match checked(&app, &tenant, &authenticated, &params, proved).await {
        Ok(pushed) => pushed,
        Err(refusal) => {
            if let Some(spent) = spent {
                tokens::spend(&app, spent).await?;
            }
            return Err(refusal);
        }
    };
    let uri = format!("{PUSHED}{}", app.entropy.secret(""));
    let lifetime = app.config.authorization.pushed_request_lifetime;
    let row = pushed_request::Model {
        tenant: tenant.name().to_owned(),
        digest: digest_of(&uri).to_vec(),
        client_id: authenticated.client.id().to_owned(),
        parameters: pushed,
        expires_at: app.clock.seconds() + lifetime,
    };
    let mut changes = vec![Change::Authorization(authorization::Change::Push(row))];
    changes.extend(spent);
    changes.extend(proof.iter().map(|proof| dpop::spend(&app, &tenant, proof)));
    write(&app, changes).await?;
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let body = Json(json!({ "request_uri": uri, "expires_in": lifetime }));
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// The request as it will be kept, once it has passed every check: what is in a signed one and
/// nothing beside it (RFC 9126 §3).
async fn checked(
    app: &App,
    tenant: &Tenant,
    authenticated: &Authenticated,
    params: &Params<'_>,
    proved: Option<&str>,
) -> Result<String> {
    let client = &authenticated.client;
    // RFC 9126 §2.1, beside a signed request too.
    if params.get("request_uri").is_some() {
        return Err(OAuthError::invalid_request(
            "request_uri cannot be pushed: it is what the answer to a pushed request holds.",
        ));
    }
    let unpacked = match params.get("request") {
        Some(object) => Some(request_object::unpack(app, tenant, client, object).await?),
        None => None,
    };
    let signed = unpacked.as_ref().map(|text| parameters(text.as_bytes()));
    let signed = signed.transpose()?;
    let pushed = pushed(authenticated, signed.as_ref().unwrap_or(params), proved)?;
    let mut received = Received::read(pushed.as_bytes(), Channel::Pushed)?;
    received.signed = signed.is_some();
    let read = authorize::read(app, tenant, &received).await;
    read.map_err(Refusal::into_error)?;
    Ok(pushed)
}

async fn write(app: &App, changes: Vec<Change>) -> Result<()> {
    let command = Command::new(changes, Vec::new());
    tokens::commit(app, command).await
}

/// The authorization request in a pushed one, as text: that of the client that has authenticated,
/// bound to the key that it has proved (RFC 9449 §10.1).
fn pushed(
    authenticated: &Authenticated,
    params: &Params<'_>,
    proved: Option<&str>,
) -> Result<String> {
    let mut text = form_urlencoded::Serializer::new(String::new());
    let kept = params.iter().filter(|(name, _)| {
        !CREDENTIALS.contains(name) && *name != "client_id" && *name != "dpop_jkt"
    });
    text.extend_pairs(kept);
    text.append_pair("client_id", authenticated.client.id());
    let named = params.get("dpop_jkt");
    match (named, proved) {
        (Some(named), Some(proved)) if named != proved => {
            return Err(OAuthError::invalid_request(
                "dpop_jkt names another key than the one that made the DPoP proof.",
            ));
        }
        (named, proved) => {
            if let Some(jkt) = proved.or(named) {
                text.append_pair("dpop_jkt", jkt);
            }
        }
    }
    Ok(text.finish())
}
