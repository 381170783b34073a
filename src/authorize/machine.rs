//! Drives oxide-auth's authorization machine, which keeps the one order that matters most: client
//! and redirect URI first, and no redirect until both are known to be good (RFC 6749 §4.1.2.1).
//!
//! The machine asks three questions. Bind: which client, which redirect URI. Extend: the table of
//! [`checks`]. Negotiate: what it all comes to, which is `policy::person`.

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
    clients,
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
    let mut machine = Authorization::new(&Seen(received));
    let client_id = match machine.advance(Input::None) {
        Output::Bind { client_id, .. } => client_id,
        Output::Err(error) => return Err(Refusal::Page(translated(&error, received))),
        _ => return Err(Refusal::Page(out_of_step())),
    };
    let bound = bind(app, tenant, &client_id, &received.params).await;
    let Bound { client, mut to } = bound.map_err(Refusal::Page)?;
    let mut details = Details::default();
    let asked = checks::Asked {
        tenant,
        received,
        client: &client,
    };
    let answered = answer(app, machine, &asked, &to, &mut details);
    to.mode = details.mode;
    match answered {
        Ok(ask) => Ok(AuthorizationRequest {
            ask,
            details,
            pushed: received.pushed,
            client,
            to,
        }),
        Err(error) => Err(Refusal::Redirect(to, error)),
    }
}

/// Answers the machine's other questions.
fn answer(
    app: &App,
    mut machine: Authorization,
    asked: &checks::Asked<'_>,
    to: &Destination,
    details: &mut Details,
) -> Result<person::Ask, OAuthError> {
    let seen = Seen(asked.received);
    let mut ask = None;
    let mut input = Input::Bound {
        request: &seen,
        bound_client: for_machine(asked.client, to)?,
    };
    loop {
        input = match machine.advance(input) {
            Output::Extend => {
                checks::run(asked, details)?;
                Input::Extended(Extensions::new())
            }
            Output::Negotiate { bound_client, .. } => {
                let BoundClient {
                    client_id,
                    redirect_uri,
                } = bound_client.clone();
                let asked = ask.insert(negotiate(app, asked, details)?);
                let pre_grant = PreGrant {
                    client_id: client_id.into_owned(),
                    redirect_uri: redirect_uri.into_owned(),
                    scope: asked.scopes.to_scope()?.into_inner(),
                };
                Input::Negotiated {
                    pre_grant,
                    state: None,
                }
            }
            Output::Ok { .. } => return ask.ok_or_else(out_of_step),
            Output::Err(error) => {
                // How to answer is said by a check that has not been reached.
                details.mode = checks::mode(asked).unwrap_or_default();
                return Err(translated(&error, asked.received));
            }
            Output::Bind { .. } => return Err(out_of_step()),
        };
    }
}

fn out_of_step() -> OAuthError {
    OAuthError::server_error("the authorization machine asks what it has asked before")
}

fn for_machine(client: &Client, to: &Destination) -> Result<BoundClient<'static>, OAuthError> {
    let url = ExactUrl::new(to.redirect_uri.clone())
        .map_err(|why| OAuthError::invalid_request(UNUSABLE).because(why))?;
    Ok(BoundClient {
        client_id: Cow::Owned(client.id().to_owned()),
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
    let client = clients::find(app, tenant, client_id).await?;
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
        // FAPI 2.0 Security Profile §5.3.2.2.
        None if client.rights().profile.rules().pushed => Err("redirect_uri is missing."),
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

fn negotiate(
    app: &App,
    asked: &checks::Asked<'_>,
    details: &Details,
) -> Result<person::Ask, OAuthError> {
    let params = &asked.received.params;
    let scope = params.get("scope").map(str::parse::<Scope>);
    let scope = scope
        .transpose()
        .map_err(|why| OAuthError::invalid_scope(format!("{why}.")))?;
    let targets: Vec<&str> = params.all("resource").collect();
    person::ask(
        asked.client,
        &targets,
        scope.as_ref(),
        &details.claims,
        &asked.tenant.resources(),
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
