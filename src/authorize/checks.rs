//! The checks of an authorization request whose client and redirect URI are known to be good, in
//! their order.
//!
//! To add one: a function here under its clause, and a row in [`CHECKS`].

use std::sync::Arc;

use super::request::{Channel, Details, Received, ResponseMode};
use crate::{
    error::{OAuthError, Result},
    oauth::{
        error_code::ErrorCode, grant_type::AUTHORIZATION_CODE, openid::Wanted, pkce::Challenge,
    },
    registry::{Client, Tenant},
    tokens::id_token,
};

/// Longest `nonce`, `login_hint` and other text that is carried along, bytes.
const MAX_TEXT: usize = 512;
/// Longest `state`, bytes: it comes back with every answer.
const MAX_STATE: usize = 4096;
/// Longest `claims`, bytes: the code holds them.
const MAX_CLAIMS: usize = 2048;

/// What a check looks at.
pub(super) struct Asked<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) received: &'a Received<'a>,
    pub(super) client: &'a Arc<Client>,
}

impl Asked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.received.params.get(name)
    }
}

/// Which requests a check is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// All.
    Both,
    /// Those that come from a browser.
    Front,
    /// Those that the client pushes.
    Pushed,
}

type Check = fn(&Asked<'_>, &mut Details) -> Result<()>;

/// What is checked, of which requests, in this order. How to answer comes first: refusals are
/// answered that way.
#[rustfmt::skip]
pub(super) const CHECKS: &[(&str, For, Check)] = &[
    ("response_mode",               For::Both,   response_mode),
    ("nothing twice",               For::Both,   once),
    ("state",                       For::Both,   state),
    ("the client may use codes",    For::Both,   grant_type),
    ("request_uri",                 For::Front,  request_uri),
    ("request_uri",                 For::Pushed, no_request_uri),
    ("request",                     For::Both,   request_object),
    ("pushed where it has to be",   For::Front,  pushed),
    ("authorization_details",       For::Both,   authorization_details),
    ("code_challenge",              For::Both,   pkce),
    ("dpop_jkt",                    For::Both,   dpop_jkt),
    ("nonce",                       For::Both,   nonce),
    ("prompt",                      For::Both,   prompt),
    ("max_age",                     For::Both,   max_age),
    ("login_hint",                  For::Both,   login_hint),
    ("id_token_hint",               For::Both,   id_token_hint),
    ("claims",                      For::Both,   claims),
    ("acr_values",                  For::Both,   acr_values),
];

/// Runs the table.
///
/// # Errors
/// That of the first check that says no.
pub(super) fn run(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let channel = match asked.received.channel {
        Channel::Front => For::Front,
        Channel::Pushed => For::Pushed,
    };
    let mine = |of: For| of == For::Both || of == channel;
    CHECKS
        .iter()
        .filter(|(_, of, _)| mine(*of))
        .try_for_each(|(_, _, check)| check(asked, details))
}

/// OAuth 2.0 Multiple Response Types §2.1. A code does not belong into a fragment.
fn response_mode(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    details.mode = mode(asked)
        .ok_or_else(|| OAuthError::invalid_request("response_mode must be query or form_post."))?;
    Ok(())
}

/// How to answer; none when that is said in words that nobody knows.
pub(super) fn mode(asked: &Asked<'_>) -> Option<ResponseMode> {
    let Some(word) = asked.get("response_mode") else {
        return Some(ResponseMode::default());
    };
    ResponseMode::ALL.into_iter().find(|m| m.as_str() == word)
}

/// RFC 6749 §3.1.
fn once(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    match &asked.received.repeated {
        None => Ok(()),
        Some(name) => Err(OAuthError::invalid_request(format!(
            "{name} is given more than once."
        ))),
    }
}

fn state(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    match asked.get("state") {
        Some(state) if state.len() > MAX_STATE => Err(OAuthError::invalid_request(format!(
            "state is limited to {MAX_STATE} bytes."
        ))),
        _ => Ok(()),
    }
}

/// RFC 6749 §4.1.2.1.
fn grant_type(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    if asked.client.rights().may_use(AUTHORIZATION_CODE) {
        return Ok(());
    }
    Err(OAuthError::unauthorized_client(
        "This client is not registered for the grant type authorization_code.",
    ))
}

/// A pushed request has been put in the place of its `request_uri` by now; nothing is fetched
/// (RFC 9101 §5.2.2).
fn request_uri(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    if asked.received.pushed.is_some() || asked.get("request_uri").is_none() {
        return Ok(());
    }
    Err(OAuthError::new(
        ErrorCode::RequestUriNotSupported,
        "request_uri must be one of this server (RFC 9126): others are not fetched.",
    ))
}

/// RFC 9126 §2.1.
fn no_request_uri(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    match asked.get("request_uri") {
        None => Ok(()),
        Some(_) => Err(OAuthError::invalid_request(
            "request_uri does not belong into a pushed request.",
        )),
    }
}

/// What was signed has been put in the place of `request` by now (RFC 9101 §6.3). Whether a pushed
/// request was signed has been checked when it was pushed (RFC 9101 §10.5).
fn request_object(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    let settings = &asked.client.rights().authorization;
    let (received, required) = (asked.received, settings.require_signed_request_object);
    if received.signed || received.pushed.is_some() || !required {
        return Ok(());
    }
    Err(OAuthError::invalid_request(
        "This client has to sign its requests (RFC 9101).",
    ))
}

/// RFC 9126 §6; FAPI 2.0 Security Profile §5.3.2.2.
fn pushed(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    let rights = asked.client.rights();
    let has_to_be =
        rights.authorization.require_pushed_authorization_requests || rights.profile.rules().pushed;
    if asked.received.pushed.is_some() || !has_to_be {
        return Ok(());
    }
    Err(OAuthError::invalid_request(
        "This client has to push its requests (RFC 9126).",
    ))
}

/// RFC 9396 §5: no type is known.
fn authorization_details(asked: &Asked<'_>, _: &mut Details) -> Result<()> {
    match asked.get("authorization_details") {
        None => Ok(()),
        Some(_) => Err(OAuthError::new(
            ErrorCode::InvalidAuthorizationDetails,
            "authorization_details: no type is supported.",
        )),
    }
}

/// OAuth 2.1 §4.1.1, RFC 7636 §4.4.1.
fn pkce(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let method = asked.get("code_challenge_method");
    details.challenge = Challenge::read(asked.get("code_challenge"), method)
        .map_err(OAuthError::invalid_request)?;
    let rights = asked.client.rights();
    let may_do_without = rights.profile.rules().pkce_optional
        && rights.token_endpoint_auth_method != crate::oauth::grant_type::AuthMethod::None;
    if details.challenge.is_some() || may_do_without {
        return Ok(());
    }
    Err(OAuthError::invalid_request(
        "code_challenge is missing: PKCE with S256 is required (RFC 7636).",
    ))
}

/// RFC 9449 §10.
fn dpop_jkt(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let Some(jkt) = asked.get("dpop_jkt") else {
        return Ok(());
    };
    let is_digest = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if jkt.len() != 43 || !jkt.bytes().all(is_digest) {
        return Err(OAuthError::invalid_request(
            "dpop_jkt must be a SHA-256 thumbprint in base64url (RFC 7638).",
        ));
    }
    details.dpop_jkt = Some(jkt.to_owned());
    Ok(())
}

/// OpenID Connect Core §3.1.2.1.
fn nonce(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    details.nonce = text(asked, "nonce")?;
    Ok(())
}

/// OpenID Connect Core §3.1.2.1.
fn prompt(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let prompt = asked.get("prompt").unwrap_or_default();
    details.prompt = prompt.parse().map_err(OAuthError::invalid_request)?;
    Ok(())
}

/// OpenID Connect Core §3.1.2.1.
fn max_age(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let Some(text) = asked.get("max_age") else {
        return Ok(());
    };
    let seconds = text.parse().ok().filter(|seconds: &i64| *seconds >= 0);
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    details.max_age = seconds.filter(|_| digits);
    match details.max_age {
        Some(_) => Ok(()),
        None => Err(OAuthError::invalid_request(
            "max_age must be a whole number of seconds.",
        )),
    }
}

/// OpenID Connect Core §3.1.2.1.
fn login_hint(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    details.login_hint = text(asked, "login_hint")?;
    Ok(())
}

/// OpenID Connect Core §3.1.2.1: an ID token of ours, which may have expired.
fn id_token_hint(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let Some(token) = asked.get("id_token_hint") else {
        return Ok(());
    };
    let hint = id_token::hint(asked.tenant, token);
    let hint = hint.filter(|hint| hint.aud.contains(asked.client.id()));
    details.subject = Some(hint.map(|hint| hint.sub).ok_or_else(|| {
        OAuthError::invalid_request(
            "id_token_hint is not an ID token that this server has issued to this client.",
        )
    })?);
    Ok(())
}

/// OpenID Connect Core §5.5.
fn claims(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let Some(text) = asked.get("claims") else {
        return Ok(());
    };
    if text.len() > MAX_CLAIMS {
        return Err(OAuthError::invalid_request(format!(
            "claims is limited to {MAX_CLAIMS} bytes."
        )));
    }
    details.claims = text.parse().map_err(OAuthError::invalid_request)?;
    let of_id_token = |name: &str| details.claims.id_token.get(name);
    let wanted = of_id_token("sub").and_then(Option::as_ref);
    let sub = wanted.and_then(|wanted| wanted.value.as_ref()?.as_str());
    match (&details.subject, sub) {
        (Some(hinted), Some(sub)) if hinted != sub => Err(OAuthError::invalid_request(
            "claims and id_token_hint name two people.",
        )),
        (_, Some(sub)) => {
            details.subject = Some(sub.to_owned());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// OpenID Connect Core §3.1.2.1, and §5.5.1.1: what is essential comes before what would be nice.
fn acr_values(asked: &Asked<'_>, details: &mut Details) -> Result<()> {
    let wanted = text(asked, "acr_values")?.unwrap_or_default();
    let claim = details.claims.id_token.get("acr").and_then(Option::as_ref);
    details.acr = claim.map(Wanted::texts).unwrap_or_default();
    // Essential without a value: there is always one.
    details.acr_is_essential = claim.is_some_and(|acr| acr.essential) && !details.acr.is_empty();
    let nice = wanted.split(' ').filter(|name| !name.is_empty());
    if !details.acr_is_essential {
        details.acr.extend(nice.map(str::to_owned));
    }
    Ok(())
}

fn text(asked: &Asked<'_>, name: &'static str) -> Result<Option<String>> {
    match asked.get(name) {
        Some(text) if text.len() > MAX_TEXT => Err(OAuthError::invalid_request(format!(
            "{name} is limited to {MAX_TEXT} bytes."
        ))),
        text => Ok(text.map(str::to_owned)),
    }
}
