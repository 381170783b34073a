//! A protected resource: an MCP server, its tools and its scopes.

use std::collections::{BTreeMap, BTreeSet};

use entity::resource as row;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use writ_resource::dpop;

use super::RegistryError;
use crate::{
    keys::SigningAlgorithm,
    oauth::{
        claims::LONGEST_LIFETIME,
        openid::IdentityScope,
        resource::normalise,
        scope::{Scope, is_scope_token, tool_scope},
        uri,
    },
};

/// The id of the built-in resource: the admin API itself.
pub const ADMIN_ID: &str = "writ-admin";

/// The id of the other built-in resource: the streams of security events.
pub const EVENTS_ID: &str = "writ-events";

/// The id of the third built-in resource: the userinfo endpoint.
pub const USERINFO_ID: &str = "writ-userinfo";

/// Most tools, scopes and inclusions of one resource, taken together.
const MAX_ENTRIES: usize = 5000;

/// Shortest and longest access-token lifetime, seconds.
const LIFETIME: std::ops::RangeInclusive<i64> = 60..=LONGEST_LIFETIME;

/// One tool of an MCP server; calling it asks for the scope `tool:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The name in `tools/list`.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What it does, in words a person can decide on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether a person should decide who may call it. Never granted by default or by `*`.
    #[serde(default)]
    pub sensitive: bool,
}

/// A scope that is not a tool's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeDeclaration {
    /// The scope token.
    #[schema(pattern = "^[!#-\\[\\]-~]+$")]
    pub name: String,
    /// What it allows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Scopes that come with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<String>,
    /// As for a tool. A scope that includes a sensitive one is sensitive too.
    #[serde(default)]
    pub sensitive: bool,
}

/// A resource's stored document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceDocument {
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where people read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// Its tools.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// Its other scopes.
    #[serde(default)]
    pub scopes: Vec<ScopeDeclaration>,
    /// Granted when a client asks for none.
    #[serde(default)]
    pub default_scopes: Vec<String>,
    /// What a client that registered itself may obtain.
    #[serde(default)]
    pub open_scopes: Vec<String>,
    /// Seconds an access token lives: 60 to 3600.
    #[serde(default = "default_lifetime")]
    #[schema(minimum = 60, maximum = 3600)]
    pub access_token_lifetime: i64,
    /// What its access tokens are signed with.
    #[serde(default)]
    pub signing_algorithm: SigningAlgorithm,
    /// Whether only sender-constrained tokens are accepted (RFC 9449).
    #[serde(default)]
    pub dpop_required: bool,
}

const fn default_lifetime() -> i64 {
    300
}

impl ResourceDocument {
    /// Every scope with what it includes and whether it is sensitive.
    ///
    /// # Errors
    /// A sentence for the person who declares the resource.
    pub fn catalogue(&self) -> Result<BTreeMap<String, ScopeFacts>, String> {
        let mut declared: BTreeMap<String, (&[String], bool)> = BTreeMap::new();
        for tool in &self.tools {
            if tool.name.is_empty() || tool.name.len() > 128 {
                return Err(format!("tool name '{}': 1 to 128 characters", tool.name));
            }
            if declared
                .insert(tool_scope(&tool.name), (&[], tool.sensitive))
                .is_some()
            {
                return Err(format!("tool '{}' is declared twice", tool.name));
            }
        }
        for scope in &self.scopes {
            if !is_scope_token(&scope.name) || scope.name == "*" {
                return Err(format!(
                    "scope '{}': printable ASCII without space, quote and backslash, and not '*'",
                    scope.name
                ));
            }
            if declared
                .insert(scope.name.clone(), (&scope.includes, scope.sensitive))
                .is_some()
            {
                return Err(format!("scope '{}' is declared twice", scope.name));
            }
        }
        let mut catalogue = BTreeMap::new();
        let mut entries = 0;
        for name in declared.keys() {
            let mut closure = BTreeSet::new();
            let mut open = vec![name.as_str()];
            while let Some(scope) = open.pop() {
                let (includes, _) = declared
                    .get(scope)
                    .ok_or_else(|| format!("scope '{name}' includes unknown scope '{scope}'"))?;
                entries += 1;
                if entries > MAX_ENTRIES {
                    return Err(format!(
                        "tools, scopes and what they include come to more than {MAX_ENTRIES} entries"
                    ));
                }
                if closure.insert(scope.to_owned()) {
                    open.extend(includes.iter().map(String::as_str));
                }
            }
            let sensitive = closure.iter().any(|s| declared.get(s).is_some_and(|d| d.1));
            catalogue.insert(name.clone(), ScopeFacts { closure, sensitive });
        }
        let words = [("name", &self.name)]
            .into_iter()
            .chain(
                self.tools
                    .iter()
                    .map(|tool| ("description", &tool.description)),
            )
            .chain(
                self.scopes
                    .iter()
                    .map(|scope| ("description", &scope.description)),
            );
        for (member, text) in words {
            if text.len() > 2000 || text.chars().any(|c| c.is_control() && c != '\n') {
                return Err(format!(
                    "{member}: at most 2000 bytes without control characters"
                ));
            }
        }
        if let Some(url) = &self.documentation
            && !uri::parse(url).is_some_and(|url| matches!(url.scheme(), "https" | "http"))
        {
            return Err(format!(
                "documentation '{url}' is not the URL of a web page"
            ));
        }
        for (list, scopes) in [
            ("default_scopes", &self.default_scopes),
            ("open_scopes", &self.open_scopes),
        ] {
            for scope in scopes {
                match catalogue.get(scope) {
                    None => return Err(format!("{list} names unknown scope '{scope}'")),
                    Some(facts) if facts.sensitive => {
                        return Err(format!("{list} must not name '{scope}': it is sensitive"));
                    }
                    Some(_) => {}
                }
            }
        }
        if !LIFETIME.contains(&self.access_token_lifetime) {
            return Err(format!(
                "access_token_lifetime {}: 60 to 3600 seconds",
                self.access_token_lifetime
            ));
        }
        Ok(catalogue)
    }
}

/// What is known of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeFacts {
    /// The scope and everything it includes.
    pub closure: BTreeSet<String>,
    /// Whether it, or one it includes, is sensitive.
    pub sensitive: bool,
}

/// The scopes of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminScope {
    /// Read everything but secrets.
    Read,
    /// Manage resources.
    Resources,
    /// Manage clients.
    Clients,
    /// Rotate keys.
    Keys,
    /// Read the audit trail.
    Audit,
    /// Read the metrics; only of use at the default tenant.
    Metrics,
    /// Manage tenants; only of use at the default tenant.
    Tenants,
    /// Register an MCP server.
    ResourceRegister,
    /// Register a client where registration asks for a token.
    ClientRegister,
    /// Revoke tokens and end grants.
    Revocations,
    /// Tell receivers something, and manage their streams.
    Events,
    /// Introspect every token (RFC 7662).
    TokenIntrospect,
    /// Manage people's accounts; reading them takes it too.
    Users,
    /// All of the above.
    Admin,
}

impl AdminScope {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Read,
        Self::Resources,
        Self::Clients,
        Self::Keys,
        Self::Audit,
        Self::Metrics,
        Self::Tenants,
        Self::ResourceRegister,
        Self::ClientRegister,
        Self::Revocations,
        Self::Events,
        Self::TokenIntrospect,
        Self::Users,
        Self::Admin,
    ];

    /// The scope token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "writ:read",
            Self::Resources => "writ:resources",
            Self::Clients => "writ:clients",
            Self::Keys => "writ:keys",
            Self::Audit => "writ:audit",
            Self::Metrics => "writ:metrics",
            Self::Tenants => "writ:tenants",
            Self::ResourceRegister => "resource:register",
            Self::ClientRegister => "client:register",
            Self::Revocations => "writ:revocations",
            Self::Events => "writ:events",
            Self::TokenIntrospect => "token:introspect",
            Self::Users => "writ:users",
            Self::Admin => "writ:admin",
        }
    }

    /// Whoever changes a thing may read it.
    const fn includes(self) -> &'static [Self] {
        match self {
            Self::Resources | Self::Clients | Self::Keys | Self::Tenants | Self::Events => {
                &[Self::Read]
            }
            Self::Admin => &[
                Self::Resources,
                Self::Clients,
                Self::Keys,
                Self::Audit,
                Self::Metrics,
                Self::Tenants,
                Self::ResourceRegister,
                Self::ClientRegister,
                Self::Revocations,
                Self::Events,
                Self::TokenIntrospect,
                Self::Users,
            ],
            Self::Read
            | Self::Audit
            | Self::Metrics
            | Self::ResourceRegister
            | Self::ClientRegister
            | Self::Revocations
            | Self::TokenIntrospect
            | Self::Users => &[],
        }
    }

    /// What it allows.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Read => "Read resources, clients, keys and tenants",
            Self::Resources => "Declare, change and remove resources",
            Self::Clients => "Declare, change and remove clients",
            Self::Keys => "Rotate signing keys",
            Self::Audit => "Read and verify the audit trail",
            Self::Metrics => "Read the metrics",
            Self::Tenants => "Create, configure and remove tenants",
            Self::ResourceRegister => "Register an MCP server",
            Self::ClientRegister => "Register a client",
            Self::Revocations => "Revoke tokens and end grants",
            Self::Events => "Tell receivers of security events, and manage their streams",
            Self::TokenIntrospect => "Introspect every token",
            Self::Users => "Read, make, change and remove people's accounts",
            Self::Admin => "Everything an administrator may do",
        }
    }
}

/// The admin API as a resource like any other.
#[must_use]
pub fn builtin_document() -> ResourceDocument {
    let scopes = AdminScope::ALL
        .into_iter()
        .map(|scope| ScopeDeclaration {
            name: scope.as_str().into(),
            description: scope.description().into(),
            includes: scope.includes().iter().map(|s| s.as_str().into()).collect(),
            sensitive: true,
        })
        .collect();
    ResourceDocument {
        name: "Writ administration".into(),
        documentation: None,
        tools: Vec::new(),
        scopes,
        default_scopes: Vec::new(),
        open_scopes: Vec::new(),
        access_token_lifetime: default_lifetime(),
        signing_algorithm: SigningAlgorithm::EdDSA,
        dpop_required: false,
    }
}

/// The scopes of the stream API (CAEP interoperability profile §2.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsScope {
    /// Read streams and their status.
    Read,
    /// Do everything with them.
    Manage,
}

impl EventsScope {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Manage];

    /// The scope token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "ssf.read",
            Self::Manage => "ssf.manage",
        }
    }

    const fn includes(self) -> &'static [&'static str] {
        match self {
            Self::Read => &[],
            Self::Manage => &["ssf.read"],
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Read => "Read its streams of security events",
            Self::Manage => "Manage its streams of security events",
        }
    }
}

/// The stream API as a resource like any other.
fn events_document() -> ResourceDocument {
    let scopes = EventsScope::ALL.into_iter().map(|scope| ScopeDeclaration {
        name: scope.as_str().into(),
        description: scope.description().into(),
        includes: scope.includes().iter().map(|s| (*s).into()).collect(),
        sensitive: true,
    });
    ResourceDocument {
        name: "Security events".into(),
        scopes: scopes.collect(),
        ..builtin_document()
    }
}

/// The userinfo endpoint as a resource like any other.
fn userinfo_document() -> ResourceDocument {
    let scopes = IdentityScope::ALL
        .into_iter()
        .filter(|scope| *scope != IdentityScope::OfflineAccess)
        .map(|scope| ScopeDeclaration {
            name: scope.as_str().into(),
            description: scope.description().into(),
            includes: Vec::new(),
            sensitive: false,
        });
    ResourceDocument {
        name: "Userinfo".into(),
        scopes: scopes.collect(),
        ..builtin_document()
    }
}

/// A resource, with what follows from its declaration worked out once.
#[derive(Debug)]
pub struct Resource {
    row: row::Model,
    document: ResourceDocument,
    catalogue: BTreeMap<String, ScopeFacts>,
}

impl Resource {
    /// Reads a stored resource.
    ///
    /// # Errors
    /// When the document cannot be read.
    pub fn from_row(row: &row::Model) -> Result<std::sync::Arc<Self>, RegistryError> {
        let broken = |why| RegistryError::Row("resource", row.id.clone(), row.tenant.clone(), why);
        let document: ResourceDocument =
            serde_json::from_str(&row.document).map_err(|e| broken(e.to_string()))?;
        let catalogue = document.catalogue().map_err(broken)?;
        Ok(std::sync::Arc::new(Self {
            row: row.clone(),
            document,
            catalogue,
        }))
    }

    /// The admin API of an issuer.
    pub(super) fn admin(issuer: &str) -> Self {
        Self::builtin(ADMIN_ID, format!("{issuer}/admin"), builtin_document())
    }

    /// The stream API of an issuer.
    pub(super) fn events(issuer: &str) -> Self {
        Self::builtin(EVENTS_ID, format!("{issuer}/ssf"), events_document())
    }

    /// What an issuer tells of the person (OpenID Connect Core §5.3).
    pub(super) fn userinfo(issuer: &str) -> Self {
        Self::builtin(
            USERINFO_ID,
            format!("{issuer}/userinfo"),
            userinfo_document(),
        )
    }

    /// It has no row: its URI follows the issuer.
    fn builtin(id: &str, uri: String, document: ResourceDocument) -> Self {
        let catalogue = document.catalogue().unwrap_or_default();
        let row = row::Model {
            tenant: String::new(),
            id: id.into(),
            normalised: normalise(&uri).unwrap_or_else(|| uri.clone()),
            uri,
            registered_by: None,
            document: String::new(),
            created_at: 0,
            updated_at: 0,
        };
        Self {
            row,
            document,
            catalogue,
        }
    }

    /// Its short name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.row.id
    }

    /// Its URI as registered: what goes into `aud`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.row.uri
    }

    /// Its URI in the form it is compared in.
    #[must_use]
    pub fn normalised(&self) -> &str {
        &self.row.normalised
    }

    /// What a client's access entry calls it. Its URI, so that another server which takes the id
    /// later does not inherit anyone's access; the built-in one moves with the issuer.
    #[must_use]
    pub fn reference(&self) -> &str {
        if self.is_builtin() {
            &self.row.id
        } else {
            &self.row.normalised
        }
    }

    /// Whether it is one of the server's own.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        matches!(self.row.id.as_str(), ADMIN_ID | EVENTS_ID | USERINFO_ID)
    }

    /// Whether it is the stream API.
    #[must_use]
    pub fn is_events(&self) -> bool {
        self.row.id == EVENTS_ID
    }

    /// Whether it is the userinfo endpoint.
    #[must_use]
    pub fn is_userinfo(&self) -> bool {
        self.row.id == USERINFO_ID
    }

    /// The stored row.
    #[must_use]
    pub fn row(&self) -> &row::Model {
        &self.row
    }

    /// What was declared.
    #[must_use]
    pub fn document(&self) -> &ResourceDocument {
        &self.document
    }

    /// Its scopes.
    #[must_use]
    pub fn catalogue(&self) -> &BTreeMap<String, ScopeFacts> {
        &self.catalogue
    }

    /// These scopes and everything they include; unknown ones are left out.
    #[must_use]
    pub fn expand<'a>(&'a self, scopes: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        scopes
            .into_iter()
            .filter_map(|name| self.catalogue.get(name))
            .flat_map(|facts| facts.closure.iter().map(String::as_str))
            .collect()
    }

    /// Whether it knows all of these.
    #[must_use]
    pub fn knows(&self, scope: &Scope) -> bool {
        scope.iter().all(|name| self.catalogue.contains_key(name))
    }

    /// Its RFC 9728 document.
    #[must_use]
    pub fn metadata(&self, issuer: &str) -> Value {
        let mut document = json!({
            "resource": self.uri(),
            "authorization_servers": [issuer],
            "bearer_methods_supported": ["header"],
        });
        if !self.catalogue.is_empty() {
            document["scopes_supported"] = json!(self.catalogue.keys().collect::<Vec<_>>());
        }
        if !self.document.name.is_empty() {
            document["resource_name"] = json!(self.document.name);
        }
        if let Some(url) = &self.document.documentation {
            document["resource_documentation"] = json!(url);
        }
        // Of other servers nobody here knows whether they read proofs.
        if self.document.dpop_required || self.is_builtin() {
            document["dpop_signing_alg_values_supported"] = json!(dpop::ALGORITHMS);
        }
        if self.document.dpop_required {
            document["dpop_bound_access_tokens_required"] = json!(true);
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> ResourceDocument {
        serde_json::from_value(json!({
            "tools": [{ "name": "read" }, { "name": "delete", "sensitive": true }],
            "scopes": [
                { "name": "all", "includes": ["tool:read", "tool:delete"] },
                { "name": "look", "includes": ["tool:read"] },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn sensitivity_rises_through_the_hierarchy() {
        let catalogue = document().catalogue().unwrap();
        assert!(catalogue["all"].sensitive);
        assert!(!catalogue["look"].sensitive);
        assert_eq!(catalogue["look"].closure.len(), 2);
    }

    #[test]
    fn circles_end() {
        let mut document = document();
        document.scopes[1].includes = vec!["all".into()];
        document.scopes[0].includes = vec!["look".into()];
        assert_eq!(document.catalogue().unwrap()["all"].closure.len(), 2);
    }

    #[test]
    fn a_sensitive_scope_is_never_a_default_nor_open() {
        let mut defaults = document();
        defaults.default_scopes = vec!["all".into()];
        assert!(defaults.catalogue().unwrap_err().contains("sensitive"));
        let mut open = document();
        open.open_scopes = vec!["tool:delete".into()];
        assert!(open.catalogue().unwrap_err().contains("sensitive"));
    }
}
