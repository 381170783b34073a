//! Endpoints of ours that take an access token of ours: the admin API, registration, the streams of
//! security events, and what is told of a person.
//!
//! | check | |
//! |---|---|
//! | one `Authorization` header, `Bearer` or `DPoP` | 401 |
//! | the token is ours, stands, and is for this API | 401 |
//! | a bound token comes with a proof by its key, and no other token does (RFC 9449 §7) | 401 |
//! | the proof was not used before | 401 |
//! | the token has the scope | 403 |

use axum::extract::{FromRequestParts, OriginalUri};
use http::{HeaderMap, Method, Uri, header, request::Parts};
use writ_resource::dpop::{ALGORITHMS, HEADER};

use crate::{
    app::App,
    context,
    error::{OAuthError, Result},
    oauth::{claims::AccessClaims, openid::IdentityScope},
    registry::{ADMIN_ID, AdminScope, EVENTS_ID, EventsScope, Tenant, USERINFO_ID},
    tokens::{self, dpop, verify},
};

/// What a request shows to be let in, and what a proof in it has to be for.
#[derive(Clone, Debug)]
pub struct Presented {
    method: Method,
    /// Below the issuer, as the router found it.
    uri: Uri,
    headers: HeaderMap,
    /// The token in a form (RFC 6750 §2.2), where the endpoint reads one.
    in_form: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Presented {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        // Inside a nested router the path lacks what led there.
        let original = parts.extensions.get::<OriginalUri>();
        let mut headers = HeaderMap::new();
        for name in [header::AUTHORIZATION, HEADER] {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(Self {
            method: parts.method.clone(),
            uri: original.map_or_else(|| parts.uri.clone(), |original| original.0.clone()),
            headers,
            in_form: None,
        })
    }
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// RFC 6750 §2.1
    Bearer,
    /// RFC 9449 §7.1
    Dpop,
}

impl Scheme {
    /// Names of schemes are case-insensitive (RFC 9110 §11.1).
    fn of(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer)
        } else if name.eq_ignore_ascii_case("dpop") {
            Some(Self::Dpop)
        } else {
            None
        }
    }
}

impl Presented {
    /// Whether an access token is presented, rather than a client's own credentials or nothing.
    #[must_use]
    pub fn holds_token(&self) -> bool {
        let value = self.headers.get(header::AUTHORIZATION);
        value
            .and_then(|value| value.to_str().ok())
            .and_then(|text| Scheme::of(text.split(' ').next()?))
            .is_some()
    }

    /// The same with the token of a form.
    ///
    /// # Errors
    /// `invalid_request` when there is one in the header too (RFC 6750 §2).
    pub fn with_form(mut self, token: Option<&str>) -> Result<Self> {
        if token.is_some() && self.headers.contains_key(header::AUTHORIZATION) {
            return Err(OAuthError::invalid_request(
                "Present the access token once: in the Authorization header or in the form.",
            ));
        }
        self.in_form = token.map(str::to_owned);
        Ok(self)
    }

    fn token(&self) -> Option<(Scheme, &str)> {
        let in_form = self.in_form.as_deref();
        let in_form = in_form.map(|token| (Scheme::Bearer, token));
        in_form.or_else(|| token(&self.headers))
    }
}

/// Scheme and token of the only `Authorization` header.
fn token(headers: &HeaderMap) -> Option<(Scheme, &str)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    Some((Scheme::of(scheme)?, token.trim()))
}

/// The access token that a request shows, under whichever scheme.
#[must_use]
pub fn shown(headers: &HeaderMap) -> Option<&str> {
    token(headers).map(|(_, token)| token)
}

/// What a call of one of our own resources needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A scope of the admin API.
    Admin(AdminScope),
    /// A scope of the stream API.
    Events(EventsScope),
    /// That the token is of an authentication.
    Userinfo,
}

impl Needs {
    const fn resource(self) -> &'static str {
        match self {
            Self::Admin(_) => ADMIN_ID,
            Self::Events(_) => EVENTS_ID,
            Self::Userinfo => USERINFO_ID,
        }
    }

    const fn scope(self) -> &'static str {
        match self {
            Self::Admin(scope) => scope.as_str(),
            Self::Events(scope) => scope.as_str(),
            Self::Userinfo => IdentityScope::OpenId.as_str(),
        }
    }

    const fn api(self) -> &'static str {
        match self {
            Self::Admin(_) => "admin API",
            Self::Events(_) => "stream API",
            Self::Userinfo => "userinfo endpoint",
        }
    }
}

/// The claims of a token for the tenant's admin API that has this scope.
///
/// # Errors
/// As [`let_in`].
pub async fn administrator(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    scope: AdminScope,
) -> Result<AccessClaims> {
    let_in(app, tenant, credentials, Needs::Admin(scope)).await
}

/// The claims of a token for one of the tenant's own resources that has the scope. A proof that
/// comes with it is used up.
///
/// # Errors
/// 401 or 403 with the challenges of RFC 6750 §3, RFC 9449 §7.1 and RFC 9728 §5.1.
pub async fn let_in(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    needs: Needs,
) -> Result<AccessClaims> {
    app.vouch()?;
    let challenge = Challenge { tenant, needs };
    let Some((scheme, token)) = credentials.token() else {
        let needed = format!("An access token for the {} is needed.", needs.api());
        return Err(challenge.both(OAuthError::invalid_token(needed), ""));
    };
    let refuse = |error| challenge.on(scheme, error);
    let claims = verify::access_token(app, tenant, token)
        .await
        .map_err(|why| {
            refuse(OAuthError::invalid_token(format!(
                "The access token {why}."
            )))
        })?;
    let resources = tenant.resources();
    let ours = resources
        .by_id(needs.resource())
        .is_some_and(|resource| claims.aud.contains(resource.uri()));
    if !ours {
        let error = OAuthError::invalid_token("The access token is for another resource.");
        return Err(refuse(error));
    }
    check_binding(app, tenant, credentials, &claims)
        .await
        .map_err(refuse)?;
    if let Some(client) = tenant.client(&claims.client_id) {
        context::asked_by(&client);
    }
    allows(tenant, &claims, needs)?;
    Ok(claims)
}

/// Whether a token that was let in has this scope too.
///
/// # Errors
/// 403 with a challenge.
pub fn allows(tenant: &Tenant, claims: &AccessClaims, needs: Needs) -> Result<()> {
    let scope = needs.scope();
    if claims.has_scope(scope) {
        return Ok(());
    }
    let error = OAuthError::insufficient_scope(format!("This needs the scope '{scope}'."));
    Err(turn_away(tenant, claims, needs, error))
}

/// The refusal of a token that was let in, with a challenge.
#[must_use]
pub fn turn_away(
    tenant: &Tenant,
    claims: &AccessClaims,
    needs: Needs,
    error: OAuthError,
) -> OAuthError {
    let scheme = if claims.cnf.is_some() {
        Scheme::Dpop
    } else {
        Scheme::Bearer
    };
    Challenge { tenant, needs }.on(scheme, error)
}

/// A bound token comes with a proof by its key and under its scheme (RFC 9449 §7.1, §7.2).
async fn check_binding(
    app: &App,
    tenant: &Tenant,
    credentials: &Presented,
    claims: &AccessClaims,
) -> Result<()> {
    let refuse = |why: &'static str| Err(OAuthError::invalid_token(why));
    let Some((scheme, token)) = credentials.token() else {
        return refuse("An access token is needed.");
    };
    let bound_to = match (scheme, &claims.cnf) {
        (Scheme::Bearer, None) => return Ok(()),
        (Scheme::Bearer, Some(_)) => {
            return refuse(
                "The access token is bound to a key: present it as 'Authorization: DPoP', with a \
                 proof.",
            );
        }
        (Scheme::Dpop, None) => {
            return refuse("The access token is not bound to a key: present it as Bearer.");
        }
        (Scheme::Dpop, Some(confirmation)) => confirmation.jkt.as_deref(),
    };
    let request = dpop::Request {
        method: credentials.method.as_str(),
        path: credentials.uri.path(),
        headers: &credentials.headers,
        token: Some(token),
    };
    let proof = dpop::presented(app, tenant, request)?
        .ok_or_else(|| OAuthError::invalid_dpop_proof("A DPoP header with a proof is needed."))?;
    if bound_to != Some(proof.thumbprint()) {
        return refuse("The access token is bound to another key than the one of the DPoP proof.");
    }
    tokens::spend(app, dpop::spend(app, tenant, &proof)).await
}

/// What a refusal tells about getting in.
struct Challenge<'a> {
    tenant: &'a Tenant,
    needs: Needs,
}

impl Challenge<'_> {
    /// To somebody who used this scheme.
    fn on(&self, scheme: Scheme, error: OAuthError) -> OAuthError {
        if error.is_ours() {
            return error;
        }
        let code = format!(", error=\"{}\"", error.code.as_str());
        match scheme {
            Scheme::Bearer => self.both(error, &code),
            Scheme::Dpop => error.challenge(&self.dpop(&code)),
        }
    }

    /// Bearer first, which is all that most clients read.
    fn both(&self, error: OAuthError, code: &str) -> OAuthError {
        error
            .challenge(&format!("Bearer {}{code}", self.parameters()))
            .challenge(&self.dpop(""))
    }

    fn dpop(&self, code: &str) -> String {
        let algorithms = ALGORITHMS.join(" ");
        format!("DPoP {}, algs=\"{algorithms}\"{code}", self.parameters())
    }

    fn parameters(&self) -> String {
        let metadata = resource_metadata(self.tenant, self.needs);
        format!(
            "resource_metadata=\"{metadata}\", scope=\"{}\"",
            self.needs.scope()
        )
    }
}

/// Where the RFC 9728 document of one of the tenant's own resources is: the well-known segment
/// goes between host and path (RFC 9728 §3.1).
fn resource_metadata(tenant: &Tenant, needs: Needs) -> String {
    let issuer = tenant.issuer();
    let host = issuer.strip_suffix(tenant.path()).unwrap_or(issuer);
    let path = match needs {
        Needs::Admin(_) => "admin",
        Needs::Events(_) => "ssf",
        Needs::Userinfo => "userinfo",
    };
    format!(
        "{host}/.well-known/oauth-protected-resource{}/{path}",
        tenant.path()
    )
}
