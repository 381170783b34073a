//! What people see: who asks for what, and the page that posts an answer.

use axum::response::Response;
use serde::Serialize;
use url::Url;

use crate::{
    app::{App, providers::Provider},
    authorize::{Answer, AuthorizationRequest, Interaction, consent::Remembered},
    endpoints::described::{Group, groups},
    error::{OAuthError, Result},
    oauth::redirect_uri,
    policy::person::Allowed,
    registry::{Origin, Tenant},
    users::{
        Session,
        browser::Browser,
        csrf::{self, Holder},
        errand::Sender,
    },
    web::{Asset, Page},
};

/// Who is asked.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Somebody who has signed in, and what they have allowed before.
    Person(&'a Session, &'a Remembered),
    /// Whoever is about to sign in with another provider.
    Stranger(&'a Browser, &'a Provider),
}

/// The provider that somebody goes on to.
#[derive(Serialize)]
struct Next {
    id: String,
    name: String,
}

/// Asks a person.
#[derive(Serialize)]
pub(super) struct Consent {
    /// Who is asked, if they have signed in.
    username: Option<String>,
    provider: Option<Next>,
    /// Who asks.
    #[serde(flatten)]
    sender: Sender,
    groups: Vec<Group>,
    interaction: String,
    csrf: String,
}

impl Page for Consent {
    const TEMPLATE: &'static str = include_str!("consent.html");

    fn title(&self) -> &str {
        "Allow access?"
    }

    fn leads_away(&self) -> bool {
        true
    }
}

impl Consent {
    pub(super) fn new(
        app: &App,
        tenant: &Tenant,
        request: &AuthorizationRequest,
        asked: Asked<'_>,
        interaction: &Interaction,
    ) -> Result<Self> {
        let nothing = Allowed::default();
        let (username, provider, known, holder) = match asked {
            Asked::Person(session, remembered) => {
                let name = session.user.username.clone();
                let known = &remembered.allowed;
                (Some(name), None, known, Holder::Session(session))
            }
            Asked::Stranger(browser, provider) => {
                let next = Next {
                    id: provider.id.clone(),
                    name: provider.name().to_owned(),
                };
                (None, Some(next), &nothing, Holder::Browser(browser))
            }
        };
        Ok(Self {
            username,
            provider,
            sender: sender(request)?,
            groups: groups(&request.ask.scopes, known, &tenant.resources()),
            interaction: interaction.seal(app, tenant)?,
            csrf: csrf::token(app, tenant, holder),
        })
    }
}

/// Who sends the person, as they are told.
///
/// # Errors
/// When what is stored of the client cannot be read.
pub(super) fn sender(request: &AuthorizationRequest) -> Result<Sender> {
    let client = &request.client;
    let document = client.document().map_err(OAuthError::server_error)?;
    let client_name = Some(document.name).filter(|name| !name.is_empty());
    let document_host = Url::parse(client.id()).ok();
    let redirect_uri = Url::parse(&request.to.redirect_uri).ok();
    let redirect_host = redirect_uri.map(|url| match url.host_str() {
        Some(host) => host.to_owned(),
        None => format!("{}:", url.scheme()),
    });
    Ok(Sender {
        client_name: client_name.unwrap_or_else(|| client.id().to_owned()),
        unknown: !client.is_vouched_for() && client.origin() != Origin::Declared,
        document_host: document_host.and_then(|url| url.host_str().map(str::to_owned)),
        redirect_host: redirect_host.unwrap_or_default(),
        local: redirect_uri::is_local(&request.to.redirect_uri),
        policy_uri: document.metadata.policy_uri,
        tos_uri: document.metadata.tos_uri,
    })
}

/// Posts an answer to the client (OAuth 2.0 Form Post Response Mode).
#[derive(Debug, Serialize)]
pub(super) struct FormPost {
    redirect_uri: String,
    parameters: Vec<(&'static str, String)>,
}

/// Presses the button; whoever runs no scripts presses it themselves.
static SUBMIT: Asset = Asset::script("submit.js", include_str!("submit.js"));

/// Answers with that script.
pub async fn submit() -> Response {
    SUBMIT.answer()
}

impl Page for FormPost {
    const TEMPLATE: &'static str = include_str!("form_post.html");

    fn title(&self) -> &str {
        "Back to the application"
    }

    fn leads_away(&self) -> bool {
        true
    }

    fn script(&self) -> Option<&'static Asset> {
        Some(&SUBMIT)
    }
}

impl FormPost {
    pub(super) fn new(answer: &Answer) -> Self {
        Self {
            redirect_uri: answer.to.redirect_uri.clone(),
            parameters: answer.parameters.clone(),
        }
    }
}
