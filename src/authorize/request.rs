//! An authorization request (RFC 6749 §4.1.1): as received, and as it is after all checks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{OAuthError, Result},
    oauth::{
        openid::{ClaimsRequest, Prompt},
        params::Params,
        pkce::Challenge,
    },
    policy::person::Ask,
    registry::{Client, Tenant},
};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A browser.
    Front,
    /// The client itself (RFC 9126).
    Pushed,
}

/// A request as received.
#[derive(Debug)]
pub struct Received<'a> {
    /// Its parameters; of those that repeat, the first.
    pub params: Params<'a>,
    /// A parameter that repeats and may not.
    pub repeated: Option<String>,
    /// Where it comes from.
    pub channel: Channel,
    /// SHA-256 of the `request_uri` that it was pushed under.
    pub pushed: Option<[u8; 32]>,
    /// Whether the client has signed it (RFC 9101).
    pub signed: bool,
}

/// Longest request, bytes: a browser carries it, sealed, from page to page.
const LONGEST: usize = 12 * 1024;

impl<'a> Received<'a> {
    /// Reads a query or a form.
    ///
    /// # Errors
    /// `invalid_request` when it is neither.
    pub fn read(text: &'a [u8], channel: Channel) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(OAuthError::invalid_request(format!(
                "An authorization request is limited to {LONGEST} bytes: browsers have to carry it."
            )));
        }
        let (params, repeated) = Params::parse_with_repeats(text)
            .map_err(|why| OAuthError::invalid_request(format!("The request is broken: {why}.")))?;
        Ok(Self {
            params,
            repeated,
            channel,
            pushed: None,
            signed: false,
        })
    }
}

/// How the answer gets to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of the redirect URI.
    #[default]
    Query,
    /// As a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

impl ResponseMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Query, Self::FormPost];

    /// The registered word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::FormPost => "form_post",
        }
    }
}

/// Where answers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The redirect URI, as the client has sent or registered it.
    pub redirect_uri: String,
    /// How.
    pub mode: ResponseMode,
    /// What the client wants back (RFC 6749 §4.1.2).
    pub state: Option<String>,
}

/// An authorization response (RFC 6749 §4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where it goes.
    pub to: Destination,
    /// Its parameters.
    pub parameters: Vec<(&'static str, String)>,
}

impl Answer {
    /// An answer of this tenant's issuer (RFC 9207 §2).
    #[must_use]
    pub fn new(tenant: &Tenant, to: Destination, parameters: Vec<(&'static str, String)>) -> Self {
        let mut parameters = parameters;
        parameters.extend(to.state.clone().map(|state| ("state", state)));
        parameters.push(("iss", tenant.issuer().to_owned()));
        Self { to, parameters }
    }

    /// A refusal.
    #[must_use]
    pub fn refusal(tenant: &Tenant, to: Destination, error: &OAuthError) -> Self {
        let parameters = vec![
            ("error", error.code.as_str().to_owned()),
            ("error_description", error.description().into_owned()),
        ];
        Self::new(tenant, to, parameters)
    }

    /// The URL that holds it. What the client has registered stays as it is, its query too.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = self.to.redirect_uri.clone();
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(&self.parameters);
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(&text.finish());
        url
    }
}

/// Why a request gets no further.
#[derive(Debug)]
pub enum Refusal {
    /// Nobody knows where an answer may go: the person is told (RFC 6749 §4.1.2.1).
    Page(OAuthError),
    /// The client is told.
    Redirect(Destination, OAuthError),
}

impl Refusal {
    /// What went wrong.
    #[must_use]
    pub const fn error(&self) -> &OAuthError {
        match self {
            Self::Page(error) | Self::Redirect(_, error) => error,
        }
    }

    /// The same for who pushed the request, and is there to be told (RFC 9126 §2.3).
    #[must_use]
    pub fn into_error(self) -> OAuthError {
        match self {
            Self::Page(error) | Self::Redirect(_, error) => error,
        }
    }
}

/// A request after all checks.
#[derive(Debug)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: Arc<Client>,
    /// Where answers go.
    pub to: Destination,
    /// What is asked of the person.
    pub ask: Ask,
    /// The rest.
    pub details: Details,
    /// SHA-256 of the `request_uri` that it was pushed under.
    pub pushed: Option<[u8; 32]>,
}

/// What the checks have read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// How the answer gets to the client.
    pub mode: ResponseMode,
    /// The challenge that the code is bound to (RFC 7636).
    pub challenge: Option<Challenge>,
    /// Thumbprint of the key that the code is bound to (RFC 9449 §10).
    pub dpop_jkt: Option<String>,
    /// Goes into the ID token (OpenID Connect Core §3.1.2.1).
    pub nonce: Option<String>,
    /// What the person is to be shown.
    pub prompt: Prompt,
    /// Seconds since the person authenticated, at most.
    pub max_age: Option<i64>,
    /// Who the client thinks the person is, for the sign-in page.
    pub login_hint: Option<String>,
    /// Who it has to be: the `sub` of an earlier ID token, or of a claims request.
    pub subject: Option<String>,
    /// Claims that are asked for by name.
    pub claims: ClaimsRequest,
    /// Authentication context classes, the preferred first.
    pub acr: Vec<String>,
    /// Whether one of them has to be met (OpenID Connect Core §5.5.1.1).
    pub acr_is_essential: bool,
}
