//! `POST /token` (RFC 6749 §3.2).

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use writ_resource::dpop::{NONCE_HEADER, Proof};

use crate::{
    app::{App, AppState},
    clients::{self, Authenticated},
    context,
    error::{OAuthError, Result},
    grant_types::{self, GrantType, TokenRequest},
    oauth::{error_code::ErrorCode, grant_type::AuthMethod},
    registry::Tenant,
    store::Change,
    tokens::{self, Issue, Issued, TokenResponse, dpop},
    web::extract::{ForTenant, form, parameters},
};

/// How often a token is made whose ground is taken away meanwhile.
const ATTEMPTS: usize = 3;

/// Authenticates the client, looks at its proof, has the grant type decide, issues.
///
/// # Errors
/// The registered code of whatever says no.
pub async fn token(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<TokenResponse> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let mut authenticated = clients::authenticate(&app, &tenant, &headers, &params).await?;
    let mut spent: Vec<Change> = authenticated.spent().into_iter().collect();
    let proof = match dpop::presented(&app, &tenant, at_token_endpoint(&headers)) {
        Ok(proof) => proof,
        Err(refusal) => return Err(refused(&app, &tenant, &authenticated, refusal, spent).await),
    };
    spent.extend(proof.iter().map(|proof| dpop::spend(&app, &tenant, proof)));
    let proved_key = proof.as_ref().map(Proof::thumbprint);
    for _ in 0..ATTEMPTS {
        let request = TokenRequest {
            app: &app,
            tenant: &tenant,
            authenticated: &authenticated,
            params: &params,
            proved_key,
        };
        match issue(request, &spent).await {
            Ok(Issued::Token(response)) => {
                let nonce = proof.and_then(|proof| dpop::next_nonce(&app, &tenant, &proof));
                return Ok(response.with_dpop_nonce(nonce));
            }
            // Its rights are others now, or what it had was revoked.
            Ok(Issued::GroundGone) => spent.clear(),
            Ok(Issued::Overtaken) => {}
            Err(refusal) => {
                return Err(refused(&app, &tenant, &authenticated, refusal, spent).await);
            }
        }
        if let Err(refusal) = authenticated.look_again(&tenant) {
            return Err(refused(&app, &tenant, &authenticated, refusal, spent).await);
        }
    }
    Err(OAuthError::new(
        ErrorCode::TemporarilyUnavailable,
        "What this token rests on was revoked or changed each time it was made: ask again, with a \
         new assertion and a new proof.",
    ))
}

/// A token, unless what it rests on ended while it was made.
async fn issue(request: TokenRequest<'_>, spent: &[Change]) -> Result<Issued> {
    let (app, tenant, params) = (request.app, request.tenant, request.params);
    let (grant_type, wanted) = decide(request).await?;
    let issued = tokens::issue(app, tenant, wanted, spent.to_vec()).await?;
    Ok(match (issued, (grant_type.issues)(params)) {
        (Issued::Token(response), Some(token_type)) => {
            Issued::Token(Box::new(response.issued_as(token_type)))
        }
        (other, _) => other,
    })
}

const fn at_token_endpoint(headers: &HeaderMap) -> dpop::Request<'_> {
    dpop::Request {
        method: "POST",
        path: "/token",
        headers,
        token: None,
    }
}

/// Remembers that no token was issued, uses up what the request presented, and gives the answer.
async fn refused(
    app: &App,
    tenant: &Tenant,
    authenticated: &Authenticated,
    refusal: OAuthError,
    spent: Vec<Change>,
) -> OAuthError {
    let client_id = authenticated.client.id();
    // Whom nobody answers for must not be able to fill the disk.
    let public = authenticated.method == AuthMethod::None;
    let stranger = public || !authenticated.client.is_vouched_for();
    let spent = match refusal.code {
        // The same assertion may come again with a better proof.
        ErrorCode::InvalidDpopProof => Vec::new(),
        _ if public => Vec::new(),
        _ => spent,
    };
    let remembered = match refusal.code {
        // What fails inside is in the log; a nonce is only a step on the way to a token.
        ErrorCode::ServerError | ErrorCode::TemporarilyUnavailable | ErrorCode::UseDpopNonce => {
            Ok(())
        }
        // The assertion had been used before.
        ErrorCode::InvalidClient => {
            clients::remember(app, tenant, Some(client_id.to_owned()), &refusal).await
        }
        _ if stranger => tokens::refuse_stranger(app, tenant, client_id, &refusal, spent).await,
        _ => tokens::refuse(app, tenant, client_id, &refusal, spent).await,
    };
    match remembered {
        Ok(()) => authenticated.challenged(refusal),
        Err(instead) => authenticated.challenged(instead),
    }
}

async fn decide(request: TokenRequest<'_>) -> Result<(&'static GrantType, Issue)> {
    let name = request
        .params
        .get("grant_type")
        .ok_or_else(|| OAuthError::invalid_request("grant_type is missing."))?;
    let grant_type = grant_types::find(name).ok_or_else(|| {
        OAuthError::unsupported_grant_type(format!(
            "grant_type must be one of {}.",
            grant_types::names().join(", ")
        ))
    })?;
    context::asked_for(grant_type.name);
    if !request
        .authenticated
        .client
        .rights()
        .may_use(grant_type.name)
    {
        return Err(OAuthError::unauthorized_client(format!(
            "This client is not registered for the grant type '{name}'."
        )));
    }
    let wanted = (grant_type.decide)(request).await?;
    Ok((grant_type, wanted))
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        let nonce = self.dpop_nonce().map(HeaderValue::from_str);
        let mut response = Json(self).into_response();
        let headers = response.headers_mut();
        if let Some(Ok(nonce)) = nonce {
            headers.insert(NONCE_HEADER, nonce);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}
