//! Client metadata as a client sends it (RFC 7591 §2), and the rules it has to meet.

use serde_json::{Map, Value};
use writ_resource::jws::KeySet;

use super::settings;
use crate::{
    error::{OAuthError, Result},
    grant_types,
    oauth::{
        grant_type::{AUTHORIZATION_CODE, AuthMethod, CLIENT_CREDENTIALS, REFRESH_TOKEN},
        redirect_uri::{self, ApplicationType},
        resource::is_loopback,
        scope::Scope,
        unseen::is_unseen,
        uri,
    },
    registry::{AdminScope, ClientDocument, Profile, RegisteredMetadata, SubjectType},
};

/// Longest text member, and most entries of a list.
const MAX_TEXT: usize = 2048;
const MAX_LIST: usize = 50;

/// Makes a client of the metadata a registration request sends.
///
/// Unknown members are ignored (RFC 7591 §2); `null` and empty text count as left out, because
/// several SDKs send them. `private_addresses` lets a `jwks_uri` use http on loopback, for tests.
///
/// # Errors
/// `invalid_client_metadata` or `invalid_redirect_uri`, naming the member.
pub fn read(body: &[u8], private_addresses: bool) -> Result<ClientDocument> {
    let members = Members::parse(body)
        .ok_or_else(|| refuse("The body must be a JSON object (RFC 7591 section 3.1)."))?;
    let method = auth_method(&members)?;
    client(&members, method, Unsupported::Refused, private_addresses)
}

/// What becomes of a flow that this server does not have, or a redirect URI that it does not go
/// to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsupported {
    /// The client is told: it has registered here and nowhere else.
    Refused,
    /// Nothing: its metadata are for every server there is.
    LeftOut,
}

/// Makes a client of metadata that has settled on this method.
///
/// # Errors
/// As [`read`].
pub(super) fn client(
    members: &Members,
    method: AuthMethod,
    unsupported: Unsupported,
    private_addresses: bool,
) -> Result<ClientDocument> {
    let application_type = match members.text("application_type")?.as_deref() {
        None | Some("web") => ApplicationType::Web,
        Some("native") => ApplicationType::Native,
        Some(other) => return Err(refuse(format!("application_type '{other}' is not known."))),
    };
    let (grant_types, response_types) = flows(members, method, unsupported)?;
    let mut redirect_uris = members.list("redirect_uris")?.unwrap_or_default();
    let usable = |uri: &String| redirect_uri::check(uri, application_type);
    if unsupported == Unsupported::LeftOut && redirect_uris.iter().any(|uri| usable(uri).is_ok()) {
        redirect_uris.retain(|uri| usable(uri).is_ok());
    }
    for uri in &redirect_uris {
        usable(uri).map_err(|why| OAuthError::invalid_redirect_uri(format!("{why}.")))?;
    }
    if redirect_uris.is_empty() && grant_types.iter().any(|g| g == AUTHORIZATION_CODE) {
        return Err(OAuthError::invalid_redirect_uri(
            "redirect_uris: a client of the authorization code grant needs at least one.",
        ));
    }
    let (jwks, jwks_uri) = keys(members, method, private_addresses)?;
    let scope = members.text("scope")?;
    let scope = scope.map(|scope| own_words(&scope)).transpose()?.flatten();
    let mut document = ClientDocument {
        name: members.name("client_name")?,
        profile: Profile::Strict,
        token_endpoint_auth_method: method,
        jwks,
        jwks_uri,
        grant_types,
        access: Vec::new(),
        exchange: Vec::new(),
        delegates: Vec::new(),
        serves: None,
        receiver: None,
        multiple_resources: false,
        dpop_bound_access_tokens: members.flag("dpop_bound_access_tokens")?,
        authorization: settings::read(members, unsupported)?,
        metadata: RegisteredMetadata {
            redirect_uris,
            post_logout_redirect_uris: members
                .list("post_logout_redirect_uris")?
                .unwrap_or_default(),
            response_types,
            application_type,
            scope,
            client_uri: members.web_page("client_uri")?,
            logo_uri: members.web_page("logo_uri")?,
            tos_uri: members.web_page("tos_uri")?,
            policy_uri: members.web_page("policy_uri")?,
            contacts: members.list("contacts")?.unwrap_or_default(),
            software_id: members.text("software_id")?,
            software_version: members.text("software_version")?,
        },
    };
    if unsupported == Unsupported::LeftOut && document.own_sector().is_none() {
        document.authorization.subject_type = SubjectType::Public;
    }
    settings::check(&document, private_addresses).map_err(|why| refuse(format!("{why}.")))?;
    Ok(document)
}

/// The scope a client registers as its default, without the words of the admin API: the answer
/// shows what was really registered.
fn own_words(scope: &str) -> Result<Option<String>> {
    let scope: Scope = scope
        .parse()
        .map_err(|why| refuse(format!("scope: {why}.")))?;
    let own = scope.sorted().into_iter().filter(|word| {
        AdminScope::ALL
            .iter()
            .all(|reserved| reserved.as_str() != *word)
    });
    let own = own.collect::<Vec<_>>().join(" ");
    Ok((!own.is_empty()).then_some(own))
}

fn auth_method(members: &Members) -> Result<AuthMethod> {
    let Some(name) = members.text("token_endpoint_auth_method")? else {
        // RFC 7591 §2 says client_secret_basic; a client with keys of its own means them.
        return Ok(if members.has("jwks") || members.has("jwks_uri") {
            AuthMethod::PrivateKeyJwt
        } else {
            AuthMethod::ClientSecretBasic
        });
    };
    AuthMethod::ALL
        .into_iter()
        .find(|method| method.as_str() == name)
        .ok_or_else(|| {
            let known: Vec<_> = AuthMethod::ALL
                .iter()
                .map(|method| method.as_str())
                .collect();
            refuse(format!(
                "token_endpoint_auth_method '{name}' is not one of {}.",
                known.join(", ")
            ))
        })
}

/// Grant and response types that fit each other (RFC 7591 §2.1). A grant that is not for clients
/// nobody knows is left out, and the answer shows it.
fn flows(
    members: &Members,
    method: AuthMethod,
    unsupported: Unsupported,
) -> Result<(Vec<String>, Vec<String>)> {
    let lenient = unsupported == Unsupported::LeftOut;
    let asked = members.list("grant_types")?;
    let responses = members.list("response_types")?;
    let mut grant_types = Vec::new();
    for name in asked.unwrap_or_else(|| vec![AUTHORIZATION_CODE.to_owned()]) {
        let known = matches!(name.as_str(), AUTHORIZATION_CODE | REFRESH_TOKEN);
        match grant_types::find(&name) {
            Some(grant_type) if !grant_type.self_service => continue,
            None if !known && lenient => continue,
            None if !known => {
                return Err(refuse(format!("grant_types: '{name}' is not supported.")));
            }
            _ => {}
        }
        if name == CLIENT_CREDENTIALS && method == AuthMethod::None {
            if lenient {
                continue;
            }
            return Err(refuse(
                "grant_types: client_credentials needs a token_endpoint_auth_method other than \
                 none.",
            ));
        }
        if !grant_types.contains(&name) {
            grant_types.push(name);
        }
    }
    if grant_types.is_empty() {
        return Err(refuse(
            "grant_types: none of the requested ones is open to clients that register \
             themselves.",
        ));
    }
    let code_flow = grant_types.iter().any(|g| g == AUTHORIZATION_CODE);
    let response_types = match responses {
        None if code_flow => vec!["code".to_owned()],
        None => Vec::new(),
        Some(types) if lenient => {
            let code = types.into_iter().find(|name| name == "code");
            if code_flow && code.is_none() {
                return Err(refuse("response_types: 'code' is missing."));
            }
            code.filter(|_| code_flow).into_iter().collect()
        }
        Some(types) => {
            if let Some(other) = types.iter().find(|t| *t != "code") {
                return Err(refuse(format!(
                    "response_types: '{other}' is not supported."
                )));
            }
            if types.is_empty() == code_flow {
                return Err(refuse(
                    "response_types and grant_types do not fit each other: 'code' goes with \
                     'authorization_code' (RFC 7591 section 2.1).",
                ));
            }
            types
        }
    };
    Ok((grant_types, response_types))
}

fn keys(
    members: &Members,
    method: AuthMethod,
    private_addresses: bool,
) -> Result<(Option<Value>, Option<String>)> {
    let jwks = members.0.get("jwks").filter(|v| !v.is_null()).cloned();
    let jwks_uri = members.text("jwks_uri")?;
    if jwks.is_some() && jwks_uri.is_some() {
        return Err(refuse(
            "jwks and jwks_uri must not both be present (RFC 7591 section 2).",
        ));
    }
    if let Some(jwks) = &jwks {
        check_jwks(jwks, method)?;
    }
    if let Some(uri) = &jwks_uri {
        check_fetched("jwks_uri", uri, private_addresses)
            .map_err(|why| refuse(format!("{why}.")))?;
    }
    if method == AuthMethod::PrivateKeyJwt && jwks.is_none() && jwks_uri.is_none() {
        return Err(refuse("private_key_jwt needs jwks or jwks_uri."));
    }
    Ok((jwks, jwks_uri))
}

/// A JWK Set of public keys of which at least one can be used.
///
/// # Errors
/// `invalid_client_metadata`
pub fn check_jwks(jwks: &Value, method: AuthMethod) -> Result<()> {
    let keys = KeySet::from_jwks(jwks.to_string().as_bytes())
        .map_err(|why| refuse(format!("jwks: {why}.")))?;
    if method == AuthMethod::PrivateKeyJwt && keys.keys().is_empty() {
        return Err(refuse(
            "jwks holds no key that can be used: Ed25519, P-256 or RSA of 2048 bits or more, for \
             signatures.",
        ));
    }
    Ok(())
}

/// Where something may be that is fetched for a client, or brought to it.
///
/// # Errors
/// A sentence for the client's developer, without its full stop.
pub fn check_fetched(name: &str, uri: &str, private_addresses: bool) -> Result<(), String> {
    let url = uri::parse(uri).ok_or_else(|| format!("{name} is not an absolute URL"))?;
    let test = private_addresses && url.scheme() == "http" && is_loopback(&url);
    if (url.scheme() == "https" || test) && url.fragment().is_none() {
        return Ok(());
    }
    Err(format!("{name} must be an https URL without a fragment"))
}

fn refuse(why: impl Into<std::borrow::Cow<'static, str>>) -> OAuthError {
    OAuthError::invalid_client_metadata(why)
}

/// The members of a metadata document, read by name and kind.
#[derive(Debug)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// Those of a JSON object, or nothing.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().map(Self)
    }

    /// Whether there is one of this name; `null` counts as left out.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// Text, unless it is left out or empty.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text))
                if text.len() <= MAX_TEXT && !text.chars().any(char::is_control) =>
            {
                Ok(Some(text.clone()))
            }
            Some(_) => Err(refuse(format!(
                "{name} must be text of at most {MAX_TEXT} bytes."
            ))),
        }
    }

    /// What people are shown, without what turns other words round or shows nothing at all.
    fn name(&self, name: &'static str) -> Result<String> {
        let text = self.text(name)?.unwrap_or_default();
        let seen: String = text.chars().filter(|c| !is_unseen(*c)).collect();
        Ok(seen.trim().to_owned())
    }

    /// Whether it is said; left out, it is not.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(refuse(format!("{name} must be true or false."))),
        }
    }

    fn web_page(&self, name: &'static str) -> Result<Option<String>> {
        let text = self.text(name)?;
        match text.as_deref().map(uri::parse) {
            Some(Some(url)) if matches!(url.scheme(), "https" | "http") => Ok(text),
            None => Ok(None),
            Some(_) => Err(refuse(format!("{name} must be the URL of a web page."))),
        }
    }

    /// A list of texts, unless it is left out.
    pub(super) fn list(&self, name: &'static str) -> Result<Option<Vec<String>>> {
        let refuse = || {
            refuse(format!(
                "{name} must be a list of at most {MAX_LIST} texts."
            ))
        };
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) if items.len() <= MAX_LIST => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .filter(|s| s.len() <= MAX_TEXT)
                        .map(str::to_owned)
                })
                .collect::<Option<Vec<_>>>()
                .map(Some)
                .ok_or_else(refuse),
            Some(_) => Err(refuse()),
        }
    }
}
