//! Client authentication at the token endpoint (RFC 6749 §2.3): exactly one method, the right
//! one, and it holds.
//!
//! Whatever fails, the answer is the same and costs the same, whether the client exists or not:
//! a secret is hashed and compared with a digest of nothing, an assertion is checked against a
//! key of ours.

use std::{borrow::Cow, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;
use writ_resource::jws::Unverified;

use super::{assertion, cimd, digest_of, find::claimed};
use crate::{
    app::App,
    audit::{Event, Kind, refusals::printable},
    context,
    error::{OAuthError, Result},
    oauth::{
        error_code::ErrorCode,
        grant_type::{AuthMethod, JWT_BEARER_ASSERTION},
        params::{Params, decode_component},
    },
    registry::{Client, Tenant},
    store::Change,
};

/// For those who came with Basic.
const CHALLENGE: &str = "Basic realm=\"token\"";

/// A client that has proved who it is.
#[derive(Debug)]
pub struct Authenticated {
    /// The client.
    pub client: Arc<Client>,
    /// How it proved it.
    pub method: AuthMethod,
    /// What uses up the assertion, in the commit that answers this request.
    pub once: Option<Change>,
}

impl Authenticated {
    /// Takes the client as it is now.
    ///
    /// # Errors
    /// `invalid_client` when it has been removed or disabled since.
    pub fn look_again(&mut self, tenant: &Tenant) -> Result<()> {
        let now = tenant.client(self.client.id());
        self.client = now.filter(|now| !now.is_disabled()).ok_or_else(failed)?;
        Ok(())
    }

    /// Adds the challenge that goes with the scheme it used, should it be a client no more
    /// (RFC 6749 §5.2).
    #[must_use]
    pub fn challenged(&self, refusal: OAuthError) -> OAuthError {
        if refusal.code == ErrorCode::InvalidClient && self.method == AuthMethod::ClientSecretBasic
        {
            return refusal.challenge(CHALLENGE);
        }
        refusal
    }

    /// The change that uses up what the client presented, if that holds only once.
    pub fn spent(&mut self) -> Option<Change> {
        self.once.take()
    }
}

/// What a request presents.
enum Credentials<'a> {
    Secret {
        client_id: Cow<'a, str>,
        secret: Cow<'a, str>,
    },
    Assertion(&'a str),
    Public(&'a str),
}

/// Authenticates the client of a request to one of the tenant's endpoints, and counts the request.
///
/// # Errors
/// `invalid_request` when the request presents none or several methods, `invalid_client` when
/// what it presents does not hold, 429 when its address has failed, or the client has asked, too
/// often.
pub async fn authenticate(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    params: &Params<'_>,
) -> Result<Authenticated> {
    app.vouch()?;
    let address = context::address();
    app.limits.authentication(address)?;
    let mut proved = prove(app, tenant, headers, params).await;
    // Another node may have registered the client, or given it a new secret, a moment ago. What a
    // document says no node knows better.
    let by_document = || presented(headers, params).is_some_and(|id| cimd::is_meant(&id));
    if is_refused(&proved) && !by_document() && app.feed.catch_up().await {
        proved = prove(app, tenant, headers, params).await;
    }
    if let Err(refusal) = &proved {
        if refusal.code == ErrorCode::InvalidClient {
            app.limits.failed(address);
        }
        remember(app, tenant, presented(headers, params), refusal).await?;
    }
    let authenticated = proved?;
    context::asked_by(&authenticated.client);
    let unproved = address.filter(|_| authenticated.method == AuthMethod::None);
    app.limits
        .client(tenant.name(), authenticated.client.id(), unproved)?;
    Ok(authenticated)
}

fn is_refused(proved: &Result<Authenticated>) -> bool {
    matches!(proved, Err(refusal) if refusal.code == ErrorCode::InvalidClient)
}

/// Remembers that somebody did not prove to be the client they named, or none; it is written
/// before the answer, and costs the same whether there is such a client or not.
///
/// # Errors
/// `temporarily_unavailable` or `server_error` when it cannot be written.
pub async fn remember(
    app: &App,
    tenant: &Tenant,
    client_id: Option<String>,
    refusal: &OAuthError,
) -> Result<()> {
    let client_id = client_id.as_deref().map(printable);
    let reason = refusal.said().to_string();
    let event = Event {
        client_id: client_id.as_deref(),
        reason: Some(&reason),
        ..Event::default()
    };
    let kind = Kind::ClientRefused;
    Ok(app
        .remember_stranger(tenant, kind, &event, Vec::new())
        .await?)
}

/// The client that a request says it comes from, whether or not that is true.
fn presented(headers: &HeaderMap, params: &Params<'_>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: String,
    }
    if let Ok(Some((client_id, _))) = basic(headers) {
        return Some(client_id.into_owned());
    }
    let stated = params.get("client_id").map(str::to_owned);
    stated.or_else(|| {
        let assertion = Unverified::parse(params.get("client_assertion")?).ok()?;
        let claims: Claims = assertion.unverified_claims().ok()?;
        Some(claims.sub)
    })
}

async fn prove(
    app: &App,
    tenant: &Tenant,
    headers: &HeaderMap,
    params: &Params<'_>,
) -> Result<Authenticated> {
    let in_header = headers.contains_key(header::AUTHORIZATION);
    let authenticated = match read(headers, params)? {
        Credentials::Secret { client_id, secret } => {
            by_secret(app, tenant, &client_id, &secret, in_header)
        }
        Credentials::Assertion(token) => {
            assertion::check(app, tenant, token, params.get("client_id")).await
        }
        Credentials::Public(client_id) => public(app, tenant, client_id).await,
    };
    authenticated.map_err(|error| {
        // RFC 6749 §5.2: the challenge matches the scheme the client used.
        if in_header {
            error.challenge(CHALLENGE)
        } else {
            error
        }
    })
}

fn read<'a>(headers: &'a HeaderMap, params: &'a Params<'a>) -> Result<Credentials<'a>> {
    let basic = basic(headers)?;
    let body_id = params.get("client_id");
    let secret = params.get("client_secret");
    let assertion = params.get("client_assertion");
    let methods = usize::from(basic.is_some())
        + usize::from(secret.is_some())
        + usize::from(assertion.is_some());
    if methods > 1 {
        return Err(OAuthError::invalid_request(
            "Use one client authentication method, not several (RFC 6749 section 2.3).",
        ));
    }
    if let Some((client_id, secret)) = basic {
        if body_id.is_some_and(|id| id != client_id) {
            return Err(OAuthError::invalid_request(
                "client_id in the body differs from the one in the Authorization header.",
            ));
        }
        return Ok(Credentials::Secret { client_id, secret });
    }
    match (params.get("client_assertion_type"), assertion) {
        (Some(JWT_BEARER_ASSERTION), Some(token)) => return Ok(Credentials::Assertion(token)),
        (None, None) => {}
        (Some(_), None) => {
            return Err(OAuthError::invalid_request("client_assertion is missing."));
        }
        (_, Some(_)) => {
            return Err(OAuthError::invalid_request(format!(
                "client_assertion_type must be {JWT_BEARER_ASSERTION}."
            )));
        }
    }
    match (body_id, secret) {
        (Some(id), Some(secret)) => Ok(Credentials::Secret {
            client_id: Cow::Borrowed(id),
            secret: Cow::Borrowed(secret),
        }),
        (Some(id), None) => Ok(Credentials::Public(id)),
        (None, _) => Err(OAuthError::invalid_client(
            "The client must authenticate: client_secret_basic, client_secret_post or \
             private_key_jwt.",
        )),
    }
}

/// Identifier and secret of an `Authorization: Basic` header. Both are form-urlencoded inside
/// (RFC 6749 §2.3.1); ours hold only characters that look the same either way.
fn basic(headers: &HeaderMap) -> Result<Option<(Cow<'static, str>, Cow<'static, str>)>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(OAuthError::invalid_request(
            "More than one Authorization header.",
        ));
    }
    let refuse = || {
        OAuthError::invalid_client("The Authorization header does not hold Basic credentials.")
            .challenge(CHALLENGE)
    };
    let text = value.to_str().map_err(|_| refuse())?;
    let (scheme, encoded) = text.split_once(' ').ok_or_else(refuse)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(refuse());
    }
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| refuse())?;
    let pair = String::from_utf8(bytes).map_err(|_| refuse())?;
    let (id, secret) = pair.split_once(':').ok_or_else(refuse)?;
    let decode = |text| decode_component(text).map(|t| Cow::Owned(t.into_owned()));
    Ok(Some((
        decode(id).ok_or_else(refuse)?,
        decode(secret).ok_or_else(refuse)?,
    )))
}

fn by_secret(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    secret: &str,
    in_header: bool,
) -> Result<Authenticated> {
    let client = enabled(tenant, client_id);
    let presented = digest_of(secret);
    let stored = client
        .as_deref()
        .filter(|c| c.rights().token_endpoint_auth_method.uses_secret())
        .and_then(|c| c.secret_digest(app.clock.seconds()));
    let holds = bool::from(presented.ct_eq(stored.unwrap_or(&[0; 32])));
    match client {
        // Libraries choose header or body by habit, not by registration: a secret holds in both.
        Some(client) if stored.is_some() && holds => Ok(Authenticated {
            client,
            method: if in_header {
                AuthMethod::ClientSecretBasic
            } else {
                AuthMethod::ClientSecretPost
            },
            once: None,
        }),
        _ => Err(failed()),
    }
}

async fn public(app: &App, tenant: &Tenant, client_id: &str) -> Result<Authenticated> {
    match claimed(app, tenant, client_id).await? {
        Some(client) if client.rights().token_endpoint_auth_method == AuthMethod::None => {
            Ok(Authenticated {
                client,
                method: AuthMethod::None,
                once: None,
            })
        }
        _ => Err(failed()),
    }
}

/// The client of this name, unless it is disabled: then it is as good as unknown.
pub(super) fn enabled(tenant: &Tenant, client_id: &str) -> Option<Arc<Client>> {
    tenant
        .client(client_id)
        .filter(|client| !client.is_disabled())
}

/// The one answer to every failure: it says neither whether the client exists nor what was wrong.
pub fn failed() -> OAuthError {
    OAuthError::invalid_client(
        "Client authentication failed: unknown client, wrong credentials, or not the method this \
         client is registered with.",
    )
}
