//! A client as an administrator declares it, and what has to change for it to be so.

use entity::client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    cimd, digest_of, given,
    metadata::{check_fetched, check_jwks},
    settings,
};
use crate::{
    entropy::Entropy,
    error::{OAuthError, Result},
    grant_types,
    oauth::{
        grant_type::{AUTHORIZATION_CODE, AuthMethod, CLIENT_CREDENTIALS, REFRESH_TOKEN},
        redirect_uri::{self, ApplicationType},
        scope::is_scope_token,
    },
    registry::{
        Access, AuthorizationSettings, Client, ClientDocument, Origin, Profile, Receiver,
        Resources, SubjectStyle, Tenant,
    },
    store::Change,
};

/// Shortest secret that may be declared: it is stored as one SHA-256.
const MIN_SECRET: usize = 16;

/// A declared client.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientDeclaration {
    /// 1 to 128 of A-Z, a-z, 0-9, '.', '_', '~' and '-'; or the URL of a client that came by its
    /// metadata document, to be given something.
    #[schema(pattern = "^([A-Za-z0-9._~-]{1,128}|https?://[^#@]{1,992})$")]
    pub client_id: String,
    /// A name for people.
    #[serde(default)]
    pub name: String,
    /// Its set of rules.
    #[serde(default)]
    pub profile: Profile,
    /// How it authenticates; without it `private_key_jwt` when there are keys, else
    /// `client_secret_basic`.
    #[serde(default)]
    pub token_endpoint_auth_method: Option<AuthMethod>,
    /// Its secret; generated and shown once when it needs one and none is given. With '%' or '+'
    /// in it, only clients that form-encode it in HTTP Basic (RFC 6749 section 2.3.1) get in.
    #[serde(default)]
    #[schema(min_length = 16)]
    pub client_secret: Option<String>,
    /// When its secret stops to hold, Unix seconds; 0 means never.
    #[serde(default)]
    pub client_secret_expires_at: i64,
    /// Its public keys.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// Where its public keys are.
    #[serde(default)]
    #[schema(format = Uri, pattern = "^https?://[^/?#]+")]
    pub jwks_uri: Option<String>,
    /// Grant types it may use; without it the code grant and refresh tokens when it has redirect
    /// URIs, else client credentials.
    #[serde(default)]
    pub grant_types: Option<Vec<String>>,
    /// Where the answers to its authorization requests may go; http on loopback only, where the
    /// port may differ.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where a browser may be sent after logout.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// What kind of program it is.
    #[serde(default)]
    pub application_type: ApplicationType,
    /// What holds of its authorization requests.
    #[serde(default)]
    pub authorization: AuthorizationSettings,
    /// What it may ask for itself.
    #[serde(default)]
    pub access: Vec<Access>,
    /// What it may reach by token exchange.
    #[serde(default)]
    pub exchange: Vec<Access>,
    /// Clients that may act for it.
    #[serde(default)]
    pub delegates: Vec<String>,
    /// The resource whose server this client is: id or URI.
    #[serde(default)]
    pub serves: Option<String>,
    /// How it gets security events.
    #[serde(default)]
    pub receiver: Option<Receiver>,
    /// Whether one token may name several resources.
    #[serde(default)]
    pub multiple_resources: bool,
    /// Whether it is kept from authenticating, and its grants have ended; without it that stays
    /// as it is.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// Whether it gets only tokens that are bound to a key (RFC 9449 section 5.2).
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
}

impl ClientDeclaration {
    /// The grant types it may use.
    fn grants(&self) -> Vec<String> {
        let names: &[&str] = match &self.grant_types {
            Some(names) => return names.clone(),
            None if self.redirect_uris.is_empty() => &[CLIENT_CREDENTIALS],
            None => &[AUTHORIZATION_CODE, REFRESH_TOKEN],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// What has to be done for a declaration to be true.
#[derive(Debug)]
pub struct Plan {
    /// The row to write; `None` when it is so already.
    pub change: Option<Change>,
    /// A secret that was generated: shown once.
    pub secret: Option<String>,
}

/// The row that makes the declaration true. `resources` are those it may name, with the ones
/// that are declared beside it.
///
/// # Errors
/// `invalid_request` with the rule that says no.
pub fn plan(
    tenant: &Tenant,
    resources: &Resources,
    declaration: &ClientDeclaration,
    entropy: &Entropy,
    private_addresses: bool,
    now: i64,
) -> Result<Plan> {
    let id = &declaration.client_id;
    let refuse = |why: String| {
        OAuthError::invalid_request(format!("client '{id}': {}.", why.trim_end_matches('.')))
    };
    let known = tenant.client(id);
    let document = match known.as_deref() {
        Some(known) if known.origin() == Origin::Document => {
            given::document(resources, declaration, known)
        }
        known => document(resources, declaration, known, private_addresses),
    };
    let document = document.map_err(refuse)?;
    let before = known.map(|client| client.row(tenant.name()));
    let stored = before.as_ref().and_then(|row| row.secret_digest.clone());
    let mut generated = None;
    let secret_digest = match (&declaration.client_secret, stored) {
        _ if !document.token_endpoint_auth_method.uses_secret() => None,
        (Some(secret), _) => Some(digest_of(secret).to_vec()),
        (None, Some(stored)) => Some(stored),
        (None, None) => {
            let secret = generated.insert(entropy.secret("writ_cs_"));
            Some(digest_of(secret).to_vec())
        }
    };
    let row = client::Model {
        tenant: tenant.name().to_owned(),
        client_id: id.clone(),
        origin: before
            .as_ref()
            .map_or(Origin::Declared.as_str(), |row| row.origin.as_str())
            .into(),
        secret_digest,
        secret_expires_at: declaration.client_secret_expires_at,
        registration_digest: before
            .as_ref()
            .and_then(|row| row.registration_digest.clone()),
        document: serde_json::to_string(&document).map_err(OAuthError::server_error)?,
        disabled: declaration
            .disabled
            .unwrap_or_else(|| before.as_ref().is_some_and(|row| row.disabled)),
        created_at: before.as_ref().map_or(now, |row| row.created_at),
        updated_at: now,
    };
    let same = before.as_ref().is_some_and(|before| {
        before.document == row.document
            && before.secret_digest == row.secret_digest
            && before.secret_expires_at == row.secret_expires_at
            && before.origin == row.origin
            && before.disabled == row.disabled
    });
    let before = before.map(Box::new);
    let change = (!same).then_some(Change::PutClient { row, before });
    Ok(Plan {
        change,
        secret: generated,
    })
}

fn document(
    resources: &Resources,
    declaration: &ClientDeclaration,
    before: Option<&Client>,
    private_addresses: bool,
) -> Result<ClientDocument, String> {
    check_id(&declaration.client_id)?;
    let has_keys = declaration.jwks.is_some() || declaration.jwks_uri.is_some();
    let method = declaration
        .token_endpoint_auth_method
        .unwrap_or(if has_keys {
            AuthMethod::PrivateKeyJwt
        } else {
            AuthMethod::ClientSecretBasic
        });
    check_credentials(declaration, method, private_addresses)?;
    // A client that registered itself keeps what it said of itself, and its code flow.
    let registered = before.filter(|client| client.origin() == Origin::Registered);
    let grants = declaration.grants();
    for name in &grants {
        if registered.is_some_and(|client| client.rights().may_use(name)) {
            continue;
        }
        if grant_types::find(name).is_none() {
            return Err(format!(
                "grant_types: '{name}' is not one of {}",
                grant_types::names().join(", ")
            ));
        }
        let of_public = matches!(name.as_str(), AUTHORIZATION_CODE | REFRESH_TOKEN);
        if method == AuthMethod::None && !of_public {
            return Err(format!(
                "grant_types: '{name}' is for clients that authenticate"
            ));
        }
    }
    for delegate in &declaration.delegates {
        check_id(delegate)?;
    }
    let stored = registered.map(Client::document).transpose();
    let stored = stored.map_err(|error| error.to_string())?;
    let mut metadata = stored.map(|stored| stored.metadata).unwrap_or_default();
    if registered.is_none() || !declaration.redirect_uris.is_empty() {
        metadata.redirect_uris = redirect_uris(declaration, &grants)?;
        metadata.application_type = declaration.application_type;
    }
    if registered.is_none() || !declaration.post_logout_redirect_uris.is_empty() {
        metadata
            .post_logout_redirect_uris
            .clone_from(&declaration.post_logout_redirect_uris);
    }
    let serves = match &declaration.serves {
        None => None,
        Some(name) => Some(reference(resources, name)?),
    };
    let subjects = declaration.receiver.and_then(|receiver| receiver.subjects);
    if subjects == Some(SubjectStyle::Oauth) && serves.is_none() {
        return Err("receiver: subjects 'oauth' is for a client that serves a resource".to_owned());
    }
    let document = ClientDocument {
        name: declaration.name.clone(),
        profile: declaration.profile,
        token_endpoint_auth_method: method,
        jwks: declaration.jwks.clone(),
        jwks_uri: declaration.jwks_uri.clone(),
        grant_types: grants,
        access: resolve(resources, "access", &declaration.access)?,
        exchange: resolve(resources, "exchange", &declaration.exchange)?,
        delegates: declaration.delegates.clone(),
        serves,
        receiver: declaration.receiver,
        multiple_resources: declaration.multiple_resources,
        dpop_bound_access_tokens: declaration.dpop_bound_access_tokens,
        authorization: declaration.authorization.clone(),
        metadata,
    };
    settings::check(&document, private_addresses)?;
    Ok(document)
}

fn redirect_uris(
    declaration: &ClientDeclaration,
    grants: &[String],
) -> Result<Vec<String>, String> {
    for uri in &declaration.redirect_uris {
        redirect_uri::check(uri, declaration.application_type)
            .map_err(|why| format!("redirect_uris: {why}"))?;
    }
    let uses_codes = grants.iter().any(|name| name == AUTHORIZATION_CODE);
    if uses_codes == declaration.redirect_uris.is_empty() {
        return Err(format!(
            "redirect_uris and the grant type {AUTHORIZATION_CODE} go together: give both or none"
        ));
    }
    Ok(declaration.redirect_uris.clone())
}

fn check_id(id: &str) -> Result<(), String> {
    if cimd::is_meant(id) {
        return Err(
            "a URL as client_id is not declared: the client is here once a person has allowed it \
             something, and can be given more then"
                .to_owned(),
        );
    }
    let fits = (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
    if fits {
        return Ok(());
    }
    Err(format!(
        "client_id '{id}': 1 to 128 of A-Z, a-z, 0-9, '.', '_', '~' and '-'"
    ))
}

fn check_credentials(
    declaration: &ClientDeclaration,
    method: AuthMethod,
    private_addresses: bool,
) -> Result<(), String> {
    if let Some(secret) = &declaration.client_secret {
        if !method.uses_secret() {
            return Err(format!("client_secret has no use with {}", method.as_str()));
        }
        if secret.chars().any(char::is_control) {
            return Err("client_secret must not hold control characters".to_owned());
        }
        if secret.len() < MIN_SECRET {
            return Err(format!(
                "client_secret: at least {MIN_SECRET} characters, random; leave it out to have \
                 one generated"
            ));
        }
    }
    if declaration.jwks.is_some() && declaration.jwks_uri.is_some() {
        return Err("jwks and jwks_uri must not both be present".to_owned());
    }
    if let Some(jwks) = &declaration.jwks {
        check_jwks(jwks, method).map_err(|why| why.description().into_owned())?;
    }
    if let Some(uri) = &declaration.jwks_uri {
        check_fetched("jwks_uri", uri, private_addresses)?;
    }
    let has_keys = declaration.jwks.is_some() || declaration.jwks_uri.is_some();
    if method == AuthMethod::PrivateKeyJwt && !has_keys {
        return Err("private_key_jwt needs jwks or jwks_uri".to_owned());
    }
    Ok(())
}

/// Access entries with their resources' references in place of whatever name was used.
pub(super) fn resolve(
    resources: &Resources,
    list: &str,
    entries: &[Access],
) -> Result<Vec<Access>, String> {
    let mut resolved: Vec<Access> = Vec::with_capacity(entries.len());
    for entry in entries {
        let resource = resources
            .by_name(&entry.resource)
            .ok_or_else(|| format!("{list}: resource '{}' is not declared", entry.resource))?;
        let names = entry
            .scopes
            .iter()
            .chain(entry.translate.values().flatten());
        for name in names.filter(|name| *name != "*") {
            if !resource.catalogue().contains_key(name) {
                return Err(format!(
                    "{list}: '{}' has no scope '{name}'; a tool's scope is tool:NAME",
                    entry.resource
                ));
            }
        }
        if let Some(bad) = entry.translate.keys().find(|name| !is_scope_token(name)) {
            return Err(format!("{list}: translate: '{bad}' is not a scope"));
        }
        if resolved
            .iter()
            .any(|known| known.resource == resource.reference())
        {
            return Err(format!(
                "{list}: resource '{}' is named twice",
                entry.resource
            ));
        }
        resolved.push(Access {
            resource: resource.reference().to_owned(),
            scopes: entry.scopes.clone(),
            translate: entry.translate.clone(),
        });
    }
    Ok(resolved)
}

fn reference(resources: &Resources, name: &str) -> Result<String, String> {
    resources
        .by_name(name)
        .filter(|resource| !resource.is_builtin())
        .map(|resource| resource.reference().to_owned())
        .ok_or_else(|| format!("serves: resource '{name}' is not declared"))
}

/// A client as the admin API and the command line show it: no secret, no digest.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ClientView {
    /// The identifier.
    pub client_id: String,
    /// A name for people.
    pub name: String,
    /// How it came to be known.
    pub origin: Origin,
    /// Its set of rules.
    pub profile: Profile,
    /// How it authenticates.
    pub token_endpoint_auth_method: AuthMethod,
    /// Its public keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// Where its public keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Grant types it may use.
    pub grant_types: Vec<String>,
    /// Where the answers to its authorization requests may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// Where a browser may be sent after logout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<String>,
    /// What kind of program it is.
    pub application_type: ApplicationType,
    /// What holds of its authorization requests.
    #[serde(skip_serializing_if = "AuthorizationSettings::is_default")]
    pub authorization: AuthorizationSettings,
    /// What it may ask for itself.
    pub access: Vec<Access>,
    /// What it may reach by token exchange.
    pub exchange: Vec<Access>,
    /// Clients that may act for it.
    pub delegates: Vec<String>,
    /// The resource whose server it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
    /// How it gets security events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
    /// Whether one token may name several resources.
    pub multiple_resources: bool,
    /// Whether it is kept from authenticating.
    pub disabled: bool,
    /// Whether it gets only tokens that are bound to a key.
    pub dpop_bound_access_tokens: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

impl ClientView {
    /// Shows a client.
    ///
    /// # Errors
    /// None that starting would not have met.
    pub fn of(client: &Client) -> Result<Self> {
        let document = client.document().map_err(OAuthError::server_error)?;
        Ok(Self {
            client_id: client.id().to_owned(),
            name: document.name,
            origin: client.origin(),
            profile: document.profile,
            token_endpoint_auth_method: document.token_endpoint_auth_method,
            jwks: document.jwks,
            jwks_uri: document.jwks_uri,
            grant_types: document.grant_types,
            redirect_uris: document.metadata.redirect_uris,
            post_logout_redirect_uris: document.metadata.post_logout_redirect_uris,
            application_type: document.metadata.application_type,
            authorization: document.authorization,
            access: document.access,
            exchange: document.exchange,
            delegates: document.delegates,
            serves: document.serves,
            receiver: document.receiver,
            multiple_resources: document.multiple_resources,
            disabled: client.is_disabled(),
            dpop_bound_access_tokens: document.dpop_bound_access_tokens,
            created_at: client.created_at(),
            updated_at: client.updated_at(),
        })
    }
}
