//! What is said of a token to whoever may know (RFC 7662), signed when that is asked for
//! (RFC 9701).
//!
//! | who asks | what is told |
//! |---|---|
//! | the client the token was issued to; an administrator | all of it |
//! | a client that serves a resource the token is for | what concerns this resource |
//! | everyone else | that it is not active |
//!
//! A token that does not hold is not active to anyone, and nothing says why (RFC 7662 §2.2). Asking
//! writes nothing, and reads the database for refresh tokens alone, of which only their holders
//! are told.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{refresh_token, verify};
use crate::{
    app::{App, VerifiedToken},
    error::{OAuthError, Result},
    keys::SigningAlgorithm,
    oauth::claims::{AccessClaims, Actor, Audience, Confirmation},
    policy::person::Given,
    registry::{Client, Resource, Tenant},
};

/// The media type of a signed answer, and with `+jwt` its `typ` (RFC 9701 §5).
pub const SIGNED: &str = "application/token-introspection+jwt";

/// Who asks.
#[derive(Debug)]
pub enum Caller {
    /// A client that has authenticated.
    Client(Arc<Client>),
    /// The holder of a token with the scope to ask about every token, by its `client_id`.
    Administrator(String),
}

impl Caller {
    fn id(&self) -> &str {
        match self {
            Self::Client(client) => client.id(),
            Self::Administrator(client_id) => client_id,
        }
    }

    /// The resource whose server asks.
    fn resource(&self, tenant: &Tenant) -> Option<Arc<Resource>> {
        let Self::Client(client) = self else {
            return None;
        };
        let reference = client.rights().serves.as_deref()?;
        tenant.resources().by_uri(reference).cloned()
    }
}

/// The answer to one question.
#[derive(Debug)]
pub struct Introspection {
    told: Option<Told>,
    /// What the resource that asks has its tokens signed with.
    algorithm: SigningAlgorithm,
}

/// A token that holds, as the caller may see it.
#[derive(Debug)]
struct Told {
    token: Arc<VerifiedToken>,
    /// In place of what the token says, for one of several resources.
    narrowed: Option<Narrowed>,
    /// Whether it is a refresh token, which no resource takes.
    refreshes: bool,
}

#[derive(Debug)]
struct Narrowed {
    aud: Audience,
    scope: String,
    authorization_details: Option<Vec<Value>>,
}

/// Says whether a token is active, and what this caller may know of it.
#[must_use]
pub async fn introspect(app: &App, tenant: &Tenant, caller: &Caller, token: &str) -> Introspection {
    let resource = caller.resource(tenant);
    let algorithm = resource.as_ref().map(|r| r.document().signing_algorithm);
    let told = match verify::seen_before(app, tenant, token).await {
        Ok(token) => tell(caller, resource.as_deref(), token),
        Err(why) => {
            tracing::debug!(%why, "introspected token");
            refresh(app, tenant, caller, token).await
        }
    };
    Introspection {
        told,
        algorithm: algorithm.unwrap_or_default(),
    }
}

/// What a refresh token stands for, as if it were an access token without a type.
async fn refresh(app: &App, tenant: &Tenant, caller: &Caller, token: &str) -> Option<Told> {
    let (line, place) = refresh_token::any_line(app, tenant, token).await.ok()?;
    let may_know = match caller {
        Caller::Administrator(_) => true,
        Caller::Client(client) => client.id() == line.client_id,
    };
    if !may_know || place.generation != line.generation {
        return None;
    }
    let given: Given = serde_json::from_str(&line.document).ok()?;
    let resources = tenant.resources();
    let uris = given.authorized.allowed.places();
    let uris = uris.filter_map(|reference| Some(resources.by_uri(reference)?.uri().to_owned()));
    let claims = AccessClaims {
        iss: tenant.issuer().to_owned(),
        sub: given.authorized.subject,
        aud: uris.collect(),
        exp: line.expires_at,
        iat: line.created_at,
        nbf: None,
        jti: line.id,
        client_id: line.client_id,
        scope: Some(given.authorized.allowed.to_scope().ok()?.to_string()),
        grant_id: Some(line.grant_id),
        act: None,
        may_act: None,
        cnf: line.bound_to.as_deref().map(Confirmation::to_key),
        authorization_details: None,
        tenant: (!tenant.is_default()).then(|| tenant.name().to_owned()),
        extra: std::collections::BTreeMap::new(),
    };
    Some(Told {
        token: Arc::new(VerifiedToken {
            claims,
            kid: "".into(),
            length: token.len(),
        }),
        narrowed: None,
        refreshes: true,
    })
}

fn tell(caller: &Caller, resource: Option<&Resource>, token: Arc<VerifiedToken>) -> Option<Told> {
    let everything = match caller {
        Caller::Administrator(_) => true,
        Caller::Client(client) => client.id() == token.claims.client_id,
    };
    if everything {
        return Some(Told {
            token,
            narrowed: None,
            refreshes: false,
        });
    }
    // RFC 9701 §5: not active to a resource server that it is not meant for.
    let resource = resource.filter(|resource| token.claims.aud.contains(resource.uri()))?;
    let narrowed = Some(narrow(&token.claims, resource));
    Some(Told {
        token,
        narrowed,
        refreshes: false,
    })
}

/// What one resource need know of a token that may be for others too (RFC 7662 §2.2 and §5,
/// RFC 9701 §5, RFC 9396 §9.2).
fn narrow(claims: &AccessClaims, resource: &Resource) -> Narrowed {
    let known: Vec<&str> = claims
        .scopes()
        .filter(|scope| resource.catalogue().contains_key(*scope))
        .collect();
    let is_here = |detail: &&Value| {
        detail["locations"]
            .as_array()
            .is_none_or(|places| places.iter().any(|place| place == resource.uri()))
    };
    let details = claims.authorization_details.as_ref();
    Narrowed {
        aud: resource.uri().into(),
        scope: known.join(" "),
        authorization_details: details
            .map(|details| details.iter().filter(is_here).cloned().collect()),
    }
}

impl Introspection {
    /// The answer as a signed JWT for this caller (RFC 9701 §5).
    ///
    /// # Errors
    /// `server_error` when there is no key or no signature.
    pub fn sign(&self, app: &App, tenant: &Tenant, caller: &Caller) -> Result<String> {
        let claims = Signed {
            iss: tenant.issuer(),
            aud: caller.id(),
            iat: app.clock.seconds(),
            token_introspection: self,
        };
        let claims = serde_json::to_vec(&claims).map_err(OAuthError::server_error)?;
        let signer = tenant.keys();
        let signer = signer.signer(self.algorithm)?;
        Ok(signer.sign("token-introspection+jwt", &claims)?)
    }
}

/// Without `sub` and `exp`, so that nobody takes it for an access token (RFC 9701 §5).
#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: &'a Introspection,
}

/// The members of an answer (RFC 7662 §2.2, RFC 8693 §4, RFC 9396 §9.2, RFC 9449 §6.2).
#[derive(Default, Serialize)]
struct Members<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Actor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    may_act: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<&'a Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<&'a [Value]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
}

impl Serialize for Introspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = self.told.as_ref().map_or_else(Members::default, members);
        members.serialize(serializer)
    }
}

fn members(told: &Told) -> Members<'_> {
    let (claims, narrowed) = (&told.token.claims, told.narrowed.as_ref());
    let details = narrowed.map_or(&claims.authorization_details, |n| &n.authorization_details);
    let bound = claims.cnf.as_ref().is_some_and(|cnf| cnf.jkt.is_some());
    Members {
        active: true,
        scope: narrowed.map_or(claims.scope.as_deref(), |n| Some(&n.scope)),
        client_id: Some(&claims.client_id),
        token_type: (!told.refreshes).then_some(if bound { "DPoP" } else { "Bearer" }),
        exp: Some(claims.exp),
        iat: Some(claims.iat),
        nbf: claims.nbf,
        sub: Some(&claims.sub),
        aud: Some(narrowed.map_or(&claims.aud, |n| &n.aud)),
        iss: Some(&claims.iss),
        jti: Some(&claims.jti),
        act: claims.act.as_ref(),
        may_act: claims.may_act.as_ref(),
        cnf: claims.cnf.as_ref(),
        authorization_details: details.as_deref(),
        grant_id: claims.grant_id.as_deref(),
        tenant: claims.tenant.as_deref(),
    }
}
