//! Signed authorization requests, by value (RFC 9101; OpenID Connect Core §6.1).

use serde::Deserialize;
use serde_json::{Map, Value};
use writ_resource::{
    claims::numeric_date,
    jws::{Unverified, Verified},
};

use crate::{
    app::App,
    clients::keys,
    error::{OAuthError, Result},
    oauth::{claims::Audience, error_code::ErrorCode},
    registry::{Client, Profile, Tenant},
};

/// Longest one, bytes.
const LONGEST: usize = 16 * 1024;
/// Claims of the JWT that are no parameters.
const OF_JWT: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    client_id: String,
    #[serde(default, deserialize_with = "optional_date")]
    exp: Option<i64>,
    #[serde(default, deserialize_with = "optional_date")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "optional_date")]
    iat: Option<i64>,
}

fn optional_date<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    numeric_date(d).map(Some)
}

/// The parameters that a client has signed, as a form. Whatever came beside them does not count
/// (RFC 9101 §6.3).
///
/// # Errors
/// `invalid_request_object`, with the rule that says no.
pub async fn unpack(app: &App, tenant: &Tenant, client: &Client, object: &str) -> Result<String> {
    let verified = verify(app, client, object).await?;
    let claims: Claims = verified
        .claims()
        .map_err(|_| refuse("iss, aud and client_id have to be in it, and no claim twice"))?;
    check(app, tenant, client, &claims)?;
    let parameters: Map<String, Value> = verified
        .claims()
        .map_err(|_| refuse("it holds no JSON object"))?;
    form(&parameters)
}

/// RFC 9101 §6.2: signed with a key of the client's, and with nothing that is shared.
async fn verify(app: &App, client: &Client, object: &str) -> Result<Verified> {
    let unverified = Unverified::parse_within(object, LONGEST)
        .map_err(|_| refuse("it is no JWS that is signed with EdDSA, ES256, PS256 or RS256"))?;
    let rights = client.rights();
    let asked = rights.authorization.request_object_signing_alg;
    let fits = asked.is_none_or(|asked| asked.is(unverified.alg()));
    if !fits
        || !rights
            .profile
            .rules()
            .algorithms
            .contains(&unverified.alg())
    {
        return Err(refuse("alg is not one that this client may sign with"));
    }
    // RFC 9101 §10.8.
    let typ = unverified.typ().is_none()
        || unverified.is_typ("oauth-authz-req+jwt")
        || unverified.is_typ("JWT");
    if !typ {
        return Err(refuse("typ must be oauth-authz-req+jwt"));
    }
    let keys = keys::candidates(app, client, &unverified).await;
    let mut verified = keys.iter().map(|key| unverified.clone().verify(key));
    verified
        .find_map(Result::ok)
        .ok_or_else(|| refuse("no key of this client has made its signature"))
}

/// RFC 9101 §4 and §10.8, RFC 7519 §4.1.
fn check(app: &App, tenant: &Tenant, client: &Client, claims: &Claims) -> Result<()> {
    if claims.client_id != client.id() || claims.iss != client.id() {
        return Err(refuse("client_id and iss must be the client_id beside it"));
    }
    if !claims.aud.contains(tenant.issuer()) {
        return Err(refuse("aud must be the issuer"));
    }
    let (now, leeway) = (app.clock.seconds(), app.config.clients.assertion_leeway);
    if claims
        .exp
        .is_some_and(|exp| exp.saturating_add(leeway) <= now)
    {
        return Err(refuse("it has expired"));
    }
    if claims
        .nbf
        .into_iter()
        .chain(claims.iat)
        .any(|at| at > now + leeway)
    {
        return Err(refuse("it is not valid yet"));
    }
    // FAPI 2.0 Message Signing §5.3.1.
    let bounded = claims.exp.is_some() && claims.nbf.is_some();
    if client.rights().profile == Profile::Fapi2 && !bounded {
        return Err(refuse(
            "exp and nbf have to be in it under the profile fapi2",
        ));
    }
    Ok(())
}

fn form(parameters: &Map<String, Value>) -> Result<String> {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        match (name.as_str(), value) {
            // RFC 9101 §4; and a client assertion, which has a sub, is no request (§10.8).
            ("request" | "request_uri" | "sub", _) => {
                return Err(refuse("request, request_uri and sub have no place in it"));
            }
            (name, _) if OF_JWT.contains(&name) => {}
            (_, Value::String(value)) => {
                text.append_pair(name, value);
            }
            (_, Value::Number(number)) => {
                text.append_pair(name, &number.to_string());
            }
            ("resource", Value::Array(all)) => {
                for one in all {
                    let one = one.as_str();
                    let one =
                        one.ok_or_else(|| refuse("resource must be text, or a list of it"))?;
                    text.append_pair(name, one);
                }
            }
            ("claims" | "authorization_details", value) => {
                text.append_pair(name, &value.to_string());
            }
            _ => return Err(refuse("its parameters must be text or numbers")),
        }
    }
    Ok(text.finish())
}

fn refuse(why: &'static str) -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidRequestObject,
        format!("request: {why} (RFC 9101)."),
    )
}
