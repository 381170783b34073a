//! Drives oxide-auth's authorization machine, which keeps the one order that matters most: client
//! and redirect URI first, and no redirect until both are known to be good (RFC 6749 §4.1.2.1).
//!
//! The machine asks three questions. Bind: which client, which redirect URI. Extend: the table of
//! [`checks`](super::checks). Negotiate: what it all comes to, which is `policy::person`.

use std::{borrow::Cow, sync::Arc};

use oxide_auth::{
    code_grant::authorization::{Authorization, Error, Input, Output, Request},
    primitives::{
        grant::Extensions,
        registrar::{BoundClient, ExactUrl, PreGrant, RegisteredUrl},
    },
};

use super::{
    checks,
    request::{AuthorizationRequest, Destination, Details, Received, Refusal},
};
use crate::{
    app::App,
    error::OAuthError,
    oauth::{error_code::ErrorCode, params::Params, redirect_uri, scope::Scope},
    policy::person,
    registry::{Client, Tenant},
};

/// What the machine sees of a request.
struct Seen<'r>(&'r Received<'r>);

impl Seen<'_> {
    fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.params.get(name).map(Cow::Borrowed)
    }
}

impl Request for Seen<'_> {
    /// Of two clients or redirect URIs there is no telling which one is meant.
    fn valid(&self) -> bool {
        let repeated = self.0.repeated.as_deref();
        !matches!(repeated, Some("client_id" | "redirect_uri"))
    }

    fn client_id(&self) -> Option<Cow<'_, str>> {
        self.get("client_id")
    }

    fn scope(&self) -> Option<Cow<'_, str>> {
        self.get("scope")
    }

    fn redirect_uri(&self) -> Option<Cow<'_, str>> {
        self.get("redirect_uri")
    }

    fn state(&self) -> Option<Cow<'_, str>> {
        self.get("state")
    }

    fn response_type(&self) -> Option<Cow<'_, str>> {
        self.get("response_type")
    }

    fn extension(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key)
    }
}

/// Who asks, and where answers go.
struct Bound {
    client: Arc<Client>,
    to: Destination,
}

/// Reads a request and checks all of it.
///
/// # Errors
/// [`Refusal`]
pub async fn read(
    app: &App,
    tenant: &Tenant,
    received: &Received<'_>,
) -> Result<AuthorizationRequest, Refusal> {
    let seen = Seen(received);
    let mut machine = Authorization::new(&seen);
    let mut bound: Option<Bound> = None;
    let mut details = Details::default();
    let mut ask = None;
    let mut input = Input::None;
    loop {
        let refuse = |bound: &Option<Bound>, error| match bound {
            Some(Bound { to, .. }) => Refusal::Redirect(to.clone(), error),
            None => Refusal::Page(error),
        };
        input = match machine.advance(input) {
            Output::Bind { client_id, .. } => {
                let found = bind(app, tenant, &client_id, &received.params).await;
                let found = bound.insert(found.map_err(Refusal::Page)?);
                Input::Bound {
                    request: &seen,
                    bound_client: for_machine(found)?,
                }
            }
            Output::Extend => {
                let client = bound.as_ref().map(|bound| &bound.client);
                let read = client.map_or(Ok(()), |client| {
                    let asked = checks::Asked {
                        app,
                        tenant,
                        received,
                        client,
                    };
                    checks::run(&asked, &mut details)
                });
                if let Some(bound) = &mut bound {
                    bound.to.mode = details.mode;
                }
                read.map_err(|error| refuse(&bound, error))?;
                Input::Extended(Extensions::new())
            }
            Output::Negotiate { bound_client, .. } => {
                let asked = negotiate(app, tenant, received, bound.as_ref());
                let asked = asked.map_err(|error| refuse(&bound, error))?;
                let scope = asked.scopes.to_scope();
                let pre_grant = PreGrant {
                    client_id: bound_client.client_id.clone().into_owned(),
                    redirect_uri: bound_client.redirect_uri.clone().into_owned(),
                    scope: scope.map_err(|error| refuse(&bound, error))?.into_inner(),
                };
                ask = Some(asked);
                Input::Negotiated {
                    pre_grant,
                    state: None,
                }
            }
            Output::Ok { .. } => break,
            Output::Err(error) => {
                return Err(refuse(&bound, translated(&error, received)));
            }
        };
    }
    let (Some(Bound { client, to }), Some(ask)) = (bound, ask) else {
        return Err(Refusal::Page(OAuthError::server_error(
            "the authorization machine has left out a step",
        )));
    };
    Ok(AuthorizationRequest {
        client,
        to,
        ask,
        details,
        pushed: received.pushed,
    })
}

fn for_machine(bound: &Bound) -> Result<BoundClient<'static>, Refusal> {
    let url = ExactUrl::new(bound.to.redirect_uri.clone())
        .map_err(|why| Refusal::Page(OAuthError::invalid_request(UNUSABLE).because(why)))?;
    Ok(BoundClient {
        client_id: Cow::Owned(bound.client.id().to_owned()),
        redirect_uri: Cow::Owned(RegisteredUrl::Exact(url)),
    })
}

const UNUSABLE: &str = "redirect_uri is not a URL.";

/// The client of this id, and the redirect URI that it has registered and the request names.
///
/// # Errors
/// For a page: `invalid_request`, which does not say what exists.
async fn bind(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    params: &Params<'_>,
) -> Result<Bound, OAuthError> {
    let client = find(app, tenant, client_id).await?;
    let document = client.document().map_err(OAuthError::server_error)?;
    let registered = document.metadata.redirect_uris;
    let redirect_uri = match params.get("redirect_uri") {
        Some(sent) => registered
            .iter()
            .any(|known| redirect_uri::matches(known, sent))
            .then(|| sent.to_owned())
            .ok_or(
                "redirect_uri is not one that this client has registered: it has to be the same \
                 text (of http://127.0.0.1, http://[::1] and http://localhost the port may \
                 differ).",
            ),
        None => match registered.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err("This client has registered no redirect_uri."),
            _ => Err("redirect_uri is missing: this client has registered several."),
        },
    };
    Ok(Bound {
        client,
        to: Destination {
            redirect_uri: redirect_uri.map_err(OAuthError::invalid_request)?,
            mode: super::ResponseMode::default(),
            state: params.get("state").map(str::to_owned),
        },
    })
}

async fn find(app: &App, tenant: &Tenant, client_id: &str) -> Result<Arc<Client>, OAuthError> {
    let known = || tenant.client(client_id).filter(|c| !c.is_disabled());
    if let Some(client) = known() {
        return Ok(client);
    }
    // Another node may have registered it a moment ago.
    app.feed.catch_up().await;
    known().ok_or_else(|| {
        OAuthError::invalid_request(
            "client_id: there is no such client here. It may have been removed: then the program \
             has to register again.",
        )
    })
}

fn negotiate(
    app: &App,
    tenant: &Tenant,
    received: &Received<'_>,
    bound: Option<&Bound>,
) -> Result<person::Ask, OAuthError> {
    let client = bound.map(|bound| &*bound.client);
    let client = client.ok_or_else(|| OAuthError::server_error("nothing is bound"))?;
    let scope = received.params.get("scope").map(str::parse::<Scope>);
    let scope = scope
        .transpose()
        .map_err(|why| OAuthError::invalid_scope(format!("{why}.")))?;
    let targets: Vec<&str> = received.params.all("resource").collect();
    person::ask(
        client,
        &targets,
        scope.as_ref(),
        &tenant.resources(),
        &app.config.authorization.default_resource,
    )
}

/// What the machine says, in our words: its own names of parameters are not the registered ones.
fn translated(error: &Error, received: &Received<'_>) -> OAuthError {
    use oxide_auth::code_grant::error::AuthorizationErrorType as Kind;
    let Error::Redirect(redirect) = error else {
        return match &received.repeated {
            Some(name) => OAuthError::invalid_request(format!("{name} is given more than once.")),
            None if received.params.get("client_id").is_none() => {
                OAuthError::invalid_request("client_id is missing.")
            }
            None => OAuthError::invalid_request(UNUSABLE),
        };
    };
    let mut redirect = redirect.clone();
    match redirect.description().kind() {
        Kind::UnsupportedResponseType => match received.params.get("response_type") {
            None => OAuthError::invalid_request("response_type is missing."),
            Some(_) => OAuthError::new(
                ErrorCode::UnsupportedResponseType,
                "response_type must be code.",
            ),
        },
        Kind::InvalidScope => OAuthError::invalid_scope(
            "scope may hold only printable ASCII without quote and backslash.",
        ),
        _ => OAuthError::invalid_request("The request cannot be read."),
    }
}
