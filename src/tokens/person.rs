//! What is told of a person: the claims of their account that a client was given (OpenID Connect
//! Core §5), in ID tokens and at the userinfo endpoint.

use entity::user;
use serde_json::{Map, Value, json};

use super::subject;
use crate::{
    app::App,
    error::{OAuthError, Result},
    oauth::{claims::AccessClaims, openid::IdentityScope},
    registry::Tenant,
    store::people,
};

/// The claims that the scopes about a person stand for (OpenID Connect Core §5.4).
pub fn of_scopes<'a>(scopes: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    scopes
        .filter_map(IdentityScope::parse)
        .flat_map(|scope| scope.claims().iter().map(|name| -> &'a str { name }))
}

/// What the userinfo endpoint answers.
#[derive(Debug)]
pub enum Userinfo {
    /// As JSON.
    Plain(Map<String, Value>),
    /// As a signed JWT, which the client has registered for (OpenID Connect Core §5.3.2).
    Signed(String),
}

/// What the holder of an access token is told.
///
/// # Errors
/// `invalid_token` when it speaks for nobody who has an account, `server_error` when the database
/// or a key fails.
pub async fn userinfo(app: &App, tenant: &Tenant, token: &AccessClaims) -> Result<Userinfo> {
    let nobody = || OAuthError::invalid_token("The access token speaks for no person.");
    let client = tenant.client(&token.client_id).ok_or_else(nobody)?;
    let named = token.extra.get(super::USERINFO_CLAIMS);
    let named = named.and_then(Value::as_array).into_iter().flatten();
    let mut names: Vec<&str> = named.filter_map(Value::as_str).collect();
    names.extend(of_scopes(token.scopes()));
    let row = account(app, tenant, &token.sub).await?.ok_or_else(nobody)?;
    let mut claims = told(&row, &names);
    let sub = subject::known_as(app, tenant, &client, &token.sub);
    claims.insert("sub".into(), json!(sub));
    let Some(algorithm) = client.rights().authorization.userinfo_signed_response_alg else {
        return Ok(Userinfo::Plain(claims));
    };
    claims.insert("iss".into(), json!(tenant.issuer()));
    claims.insert("aud".into(), json!(client.id()));
    claims.insert("iat".into(), json!(app.clock.seconds()));
    let payload = serde_json::to_vec(&claims).map_err(OAuthError::server_error)?;
    let keys = tenant.keys();
    let signed = keys.signer(algorithm)?.sign(SIGNED, &payload)?;
    Ok(Userinfo::Signed(signed))
}

/// The `typ` of signed answers: nobody takes one for an ID token (RFC 8725 §3.11).
const SIGNED: &str = "userinfo+jwt";

/// An account, unless it is disabled.
async fn account(app: &App, tenant: &Tenant, id: &str) -> Result<Option<user::Model>> {
    let row = people::user(&app.db, tenant.name(), id).await;
    let row = row.map_err(OAuthError::server_error)?;
    Ok(row.filter(|row| !row.disabled))
}

/// These claims of a person, as far as their account has them. It is not read for none.
///
/// # Errors
/// `invalid_grant` when the account is gone or disabled, `server_error` when the database fails.
pub async fn claims(
    app: &App,
    tenant: &Tenant,
    id: &str,
    names: &[&str],
) -> Result<Map<String, Value>> {
    if names.is_empty() {
        return Ok(Map::new());
    }
    let row = account(app, tenant, id).await?;
    let row =
        row.ok_or_else(|| OAuthError::invalid_grant("The person's account is gone or disabled."))?;
    Ok(told(&row, names))
}

/// Of what an account does not say, nothing is told (OpenID Connect Core §5.3.2).
fn told(row: &user::Model, names: &[&str]) -> Map<String, Value> {
    let stored: Map<String, Value> = serde_json::from_str(&row.claims).unwrap_or_default();
    let claim = |name: &str| match name {
        "email" => row.email.as_ref().map(|email| json!(email)),
        "email_verified" => row.email.as_ref().map(|_| json!(row.email_verified)),
        "updated_at" => Some(json!(row.updated_at)),
        "preferred_username" => {
            let stored = stored.get(name).cloned();
            stored.or_else(|| Some(json!(row.username)))
        }
        // What a token says of itself is not the account's to say.
        _ if IdentityScope::of_claim(name).is_none() => None,
        _ => stored.get(name).cloned(),
    };
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), claim(name)?)))
        .filter(|(_, value)| !value.is_null() && *value != "")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(claims: &Value) -> user::Model {
        user::Model {
            tenant: "default".into(),
            id: "1".into(),
            username: "alice".into(),
            username_key: "alice".into(),
            email: Some("alice@example.com".into()),
            email_verified: true,
            email_key: None,
            claims: claims.to_string(),
            disabled: false,
            created_at: 1,
            updated_at: 2,
        }
    }

    #[test]
    fn nothing_is_told_but_what_was_asked_and_is_there() {
        let claims = json!({
            "name": "Alice", "nickname": "", "website": null, "iss": "https://evil.example",
            "address": { "country": "DE" },
        });
        let row = account(&claims);
        let names = [
            "name",
            "nickname",
            "website",
            "iss",
            "email",
            "email_verified",
            "address",
        ];
        let expected = json!({
            "name": "Alice", "email": "alice@example.com", "email_verified": true,
            "address": { "country": "DE" },
        });
        assert_eq!(Value::Object(told(&row, &names)), expected);
        let profile: Vec<&str> = of_scopes(["openid", "profile", "tool:x"].into_iter()).collect();
        let expected = json!({ "name": "Alice", "preferred_username": "alice", "updated_at": 2 });
        assert_eq!(Value::Object(told(&row, &profile)), expected);
    }
}
