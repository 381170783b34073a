//! What people see: who asks for what, and the page that posts an answer.

use axum::response::Response;
use serde::Serialize;
use url::Url;

use crate::{
    app::App,
    authorize::{Answer, AuthorizationRequest, consent::Remembered},
    error::{OAuthError, Result},
    oauth::{openid::IdentityScope, redirect_uri, scope::tool_scope},
    registry::{Origin, Resource, Tenant},
    users::{Session, csrf},
    web::{Asset, Page, form_target},
};

/// One thing that is asked for.
#[derive(Debug, Serialize)]
struct Item {
    scope: String,
    /// In words.
    words: String,
    sensitive: bool,
    /// Whether it was allowed before.
    known: bool,
    /// Whether there is a choice.
    fixed: bool,
}

/// What is asked for at one place.
#[derive(Debug, Serialize)]
struct Group {
    /// The name of the resource; empty for what is about the person.
    name: String,
    /// Its URI.
    uri: String,
    items: Vec<Item>,
}

/// Asks a person.
#[derive(Debug, Serialize)]
pub(super) struct Consent {
    /// Who is asked.
    username: String,
    /// Who asks, in its own words.
    client_name: String,
    client_id: String,
    /// Whether nobody here answers for it.
    unknown: bool,
    /// The host that the client's document is at, if that is what it is known by.
    document_host: Option<String>,
    /// Where the answer goes.
    redirect_host: String,
    /// Whether that is a program on the person's own machine.
    local: bool,
    groups: Vec<Group>,
    interaction: String,
    csrf: String,
    #[serde(skip)]
    form_target: Option<String>,
}

impl Page for Consent {
    const TEMPLATE: &'static str = include_str!("consent.html");

    fn title(&self) -> &str {
        "Allow access?"
    }

    fn form_action(&self) -> Vec<String> {
        self.form_target.iter().cloned().collect()
    }
}

impl Consent {
    pub(super) fn new(
        app: &App,
        tenant: &Tenant,
        request: &AuthorizationRequest,
        session: &Session,
        remembered: &Remembered,
        interaction: String,
    ) -> Result<Self> {
        let client = &request.client;
        let document = client.document().map_err(OAuthError::server_error)?;
        let redirect_uri = Url::parse(&request.to.redirect_uri).ok();
        let document_host = Url::parse(client.id()).ok();
        let document_host = document_host.and_then(|url| url.host_str().map(str::to_owned));
        let client_name = Some(document.name).filter(|name| !name.is_empty());
        let redirect_host = redirect_uri.as_ref().map(|url| match url.host_str() {
            Some(host) => host.to_owned(),
            None => format!("{}:", url.scheme()),
        });
        Ok(Self {
            username: session.user.username.clone(),
            client_name: client_name.unwrap_or_else(|| client.id().to_owned()),
            client_id: client.id().to_owned(),
            unknown: !client.is_vouched_for() && client.origin() != Origin::Declared,
            document_host,
            redirect_host: redirect_host.unwrap_or_default(),
            local: redirect_uri::is_local(&request.to.redirect_uri),
            groups: groups(request, remembered),
            interaction,
            csrf: csrf::token(app, tenant, csrf::Holder::Session(session)),
            form_target: redirect_uri.as_ref().map(form_target),
        })
    }
}

fn groups(request: &AuthorizationRequest, remembered: &Remembered) -> Vec<Group> {
    let known = |reference: &str, scope: &str| {
        let held = remembered.allowed.0.get(reference);
        held.is_some_and(|held| held.contains(scope))
    };
    let about = request.ask.identity().map(|scope| Item {
        words: IdentityScope::parse(scope)
            .map(IdentityScope::description)
            .unwrap_or_default()
            .to_owned(),
        sensitive: false,
        known: known("", scope),
        fixed: scope == IdentityScope::OpenId.as_str(),
        scope: scope.to_owned(),
    });
    let about = Group {
        name: String::new(),
        uri: String::new(),
        items: about.collect(),
    };
    let at = request.ask.resources.iter().map(|resource| {
        let scopes = request.ask.scopes.0.get(resource.reference());
        let items = scopes.into_iter().flatten().map(|scope| Item {
            words: words(resource, scope),
            sensitive: resource.catalogue().get(scope).is_some_and(|f| f.sensitive),
            known: known(resource.reference(), scope),
            fixed: false,
            scope: scope.clone(),
        });
        let name = Some(&resource.document().name).filter(|name| !name.is_empty());
        Group {
            name: name.map_or(resource.id(), String::as_str).to_owned(),
            uri: resource.uri().to_owned(),
            items: items.collect(),
        }
    });
    let all = at.chain([about]);
    all.filter(|group| !group.items.is_empty()).collect()
}

/// What a scope allows, as its resource says it.
fn words(resource: &Resource, scope: &str) -> String {
    let document = resource.document();
    let tool = document.tools.iter().find(|t| tool_scope(&t.name) == scope);
    let declared = document.scopes.iter().find(|s| s.name == scope);
    let words = match (tool, declared) {
        (Some(tool), _) if tool.description.is_empty() => format!("Use the tool {}", tool.name),
        (Some(tool), _) => tool.description.clone(),
        (None, Some(declared)) => declared.description.clone(),
        (None, None) => String::new(),
    };
    if words.is_empty() {
        scope.to_owned()
    } else {
        words
    }
}

/// Posts an answer to the client (OAuth 2.0 Form Post Response Mode).
#[derive(Debug, Serialize)]
pub(super) struct FormPost {
    redirect_uri: String,
    parameters: Vec<(&'static str, String)>,
    #[serde(skip)]
    form_target: Option<String>,
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

    fn form_action(&self) -> Vec<String> {
        self.form_target.iter().cloned().collect()
    }

    fn script(&self) -> Option<&'static Asset> {
        Some(&SUBMIT)
    }
}

impl FormPost {
    pub(super) fn new(answer: &Answer) -> Self {
        let url = Url::parse(&answer.to.redirect_uri).ok();
        Self {
            redirect_uri: answer.to.redirect_uri.clone(),
            parameters: answer.parameters.clone(),
            form_target: url.as_ref().map(form_target),
        }
    }
}
