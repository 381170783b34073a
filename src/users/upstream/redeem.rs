//! From a code to what the provider says of a person (OpenID Connect Core §3.1.3).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use form_urlencoded::Serializer;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::json;

use super::{Claims, Departure, Failure, departure::redirect_uri, id_token, provider};
use crate::{
    app::{
        App,
        providers::{Proof, Provider, ProviderMetadata},
    },
    oauth::params::Params,
    registry::Tenant,
};

/// Seconds that an assertion of ours holds.
const ASSERTION: i64 = 60;

/// What the token endpoint answers, as far as we use it.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
    token_type: Option<String>,
}

/// What the token endpoint refuses with (RFC 6749 §5.2).
#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
}

/// What the provider says of the person who has come back with this answer.
///
/// # Errors
/// [`Failure`]: when the answer is none or another's, or what the code brings does not hold.
pub async fn redeem(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    departure: &Departure,
    answer: &Params<'_>,
) -> Result<Claims, Failure> {
    // All together, so that the browser which waits is answered in any case.
    let patience = Duration::from_secs(app.config.fetch.timeout);
    let asked = ask(app, tenant, provider, departure, answer);
    let asked: Result<_, _> = tokio::time::timeout(patience, asked).await;
    asked.unwrap_or_else(|_| Err(Failure::away("it has taken too long")))
}

async fn ask(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    departure: &Departure,
    answer: &Params<'_>,
) -> Result<Claims, Failure> {
    let metadata = provider::metadata(app, provider).await?;
    let code = code(provider, &metadata, answer)?;
    let tokens = tokens(app, tenant, provider, &metadata, departure, code).await?;
    let id_token = tokens.id_token.as_deref();
    let id_token = id_token.ok_or_else(|| Failure::wrong("there is no ID token"))?;
    let access_token = tokens.access_token.as_deref();
    let shown = (id_token, access_token);
    let claims = id_token::verified(app, provider, &metadata, departure, shown).await?;
    let bearer = tokens.token_type.as_deref();
    let bearer = bearer.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    match (&metadata.userinfo_endpoint, access_token) {
        (Some(url), Some(token)) if bearer && claims.email.is_none() => {
            more(provider, url, token, claims).await
        }
        _ => Ok(claims),
    }
}

/// The code of an authorization response that is this provider's.
fn code<'p>(
    provider: &Provider,
    metadata: &ProviderMetadata,
    answer: &'p Params<'_>,
) -> Result<&'p str, Failure> {
    // RFC 9207 §2.4
    match answer.get("iss") {
        Some(iss) if iss != provider.config.issuer => {
            return Err(Failure::wrong("iss of the answer is another"));
        }
        None if metadata.authorization_response_iss_parameter_supported => {
            return Err(Failure::wrong("iss of the answer is missing"));
        }
        _ => {}
    }
    if let Some(error) = answer.get("error") {
        let words = match error {
            "access_denied" => "It says that you do not want to, or may not.",
            _ => "It has refused.",
        };
        return Err(Failure::refused(words, format!("error {error}")));
    }
    let code = answer.get("code");
    code.ok_or_else(|| Failure::wrong("the answer holds neither code nor error"))
}

async fn tokens(
    app: &App,
    tenant: &Tenant,
    provider: &Provider,
    metadata: &ProviderMetadata,
    departure: &Departure,
    code: &str,
) -> Result<Tokens, Failure> {
    let (authorization, form) = {
        let mut form = Serializer::new(String::new());
        form.extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect_uri(tenant, provider)),
            ("code_verifier", &departure.verifier),
        ]);
        (prove(app, provider, metadata, &mut form)?, form.finish())
    };
    let url = &metadata.token_endpoint;
    let answer = provider.fetch.post_form(url, authorization, form);
    let answer = answer
        .await
        .map_err(|why| Failure::away(format!("the token endpoint: {why}")))?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::wrong("the token endpoint's answer is no token response")),
        400..500 => {
            let refused: Refused = serde_json::from_slice(&answer.body).unwrap_or_default();
            let status = answer.status;
            let why = format!("the token endpoint refuses with {status} {}", refused.error);
            Err(Failure::wrong(why))
        }
        status => Err(Failure::away(format!(
            "the token endpoint answers {status}"
        ))),
    }
}

/// Says who we are (OpenID Connect Core §9): in the form, or in the header that is returned.
fn prove(
    app: &App,
    provider: &Provider,
    metadata: &ProviderMetadata,
    form: &mut Serializer<'_, String>,
) -> Result<Option<HeaderValue>, Failure> {
    let client_id = &provider.config.client_id;
    let broken = |why: &dyn std::fmt::Display| Failure::away(format!("our own proof: {why}"));
    match &provider.proof {
        Proof::None => {
            form.append_pair("client_id", client_id);
            Ok(None)
        }
        Proof::Secret(secret) => {
            let taken = metadata.token_endpoint_auth_methods_supported.as_deref();
            let takes = |method: &str| taken.is_some_and(|all| all.iter().any(|one| one == method));
            if takes("client_secret_post") && !takes("client_secret_basic") {
                form.extend_pairs([("client_id", client_id), ("client_secret", &secret.0)]);
                return Ok(None);
            }
            // RFC 6749 §2.3.1: each part is encoded as a form would be.
            let encode = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let pair = STANDARD.encode(format!("{}:{}", encode(client_id), encode(&secret.0)));
            let header = HeaderValue::from_str(&format!("Basic {pair}"));
            header.map(Some).map_err(|why| broken(&why))
        }
        Proof::Key(signer) => {
            let now = app.clock.seconds();
            // RFC 7523 §3
            let claims = json!({
                "iss": client_id, "sub": client_id, "aud": provider.config.issuer,
                "iat": now, "exp": now + ASSERTION, "jti": app.entropy.id(),
            });
            let signed = signer.sign("JWT", claims.to_string().as_bytes());
            let assertion = signed.map_err(|why| broken(&why))?;
            form.extend_pairs([
                ("client_id", client_id.as_str()),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion),
            ]);
            Ok(None)
        }
    }
}

/// Asks the userinfo endpoint for what the ID token leaves out.
async fn more(
    provider: &Provider,
    url: &str,
    token: &str,
    claims: Claims,
) -> Result<Claims, Failure> {
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let header = header.map_err(|_| Failure::wrong("its access token is no token"))?;
    let answer = provider.fetch.get_with(url, header).await;
    let answer = answer.map_err(|why| Failure::away(format!("the userinfo endpoint: {why}")))?;
    if answer.status != 200 {
        let status = answer.status;
        return Err(Failure::away(format!(
            "the userinfo endpoint answers {status}"
        )));
    }
    let more: Claims = serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::wrong("the userinfo endpoint's answer is not JSON"))?;
    // OpenID Connect Core §5.3.2
    if more.sub != claims.sub {
        return Err(Failure::wrong(
            "the userinfo endpoint speaks of another person",
        ));
    }
    Ok(claims.completed(more))
}
