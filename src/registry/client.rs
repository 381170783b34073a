//! A client (RFC 6749 §2) as the registry knows it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use entity::client as row;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_resource::jws::KeySet;

use super::{RegistryError, SubjectStyle};
use crate::{
    keys::SigningAlgorithm,
    oauth::{grant_type::AuthMethod, redirect_uri::ApplicationType},
};

/// How a client came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// An administrator declared it.
    Declared,
    /// It registered itself (RFC 7591).
    Registered,
    /// It belongs to an MCP server that registered itself.
    Resource,
}

impl Origin {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Registered => "registered",
            Self::Resource => "resource",
        }
    }
}

/// Which set of rules a client lives under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// OAuth 2.1 and MCP.
    #[default]
    Strict,
    /// FAPI 2.0 security profile.
    Fapi2,
    /// What older OpenID Connect libraries do: assertions may name the token endpoint as `aud`.
    OidcCompat,
}

/// What a client may have at one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// The resource: its id or its URI.
    pub resource: String,
    /// Scope names; `*` stands for every scope that is not sensitive.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// For token exchange: what a scope of the token that is handed in becomes at this resource,
    /// where the two resources use different names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub translate: BTreeMap<String, Vec<String>>,
}

/// How a client that receives security events gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Receiver {
    /// Which names for people and tokens it understands: `oauth` for who serves a resource, unless
    /// it says otherwise, and `plain` for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<SubjectStyle>,
    /// What they are signed with.
    pub signing_algorithm: SigningAlgorithm,
}

/// Metadata that matters to clients and pages but not to the token path (RFC 7591 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisteredMetadata {
    /// Redirect URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// Response types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_types: Vec<String>,
    /// What kind of program it is.
    pub application_type: ApplicationType,
    /// Scopes asked for when a request names none; a default, never a ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Home page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Logo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Terms of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Privacy policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// People in charge.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// Which software.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Which version of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
}

/// A client's stored document: everything but identifiers and digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientDocument {
    /// A name for people.
    pub name: String,
    /// Its set of rules.
    pub profile: Profile,
    /// The one method it authenticates with.
    pub token_endpoint_auth_method: AuthMethod,
    /// Its keys, inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Where its keys are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Grant types it may use.
    pub grant_types: Vec<String>,
    /// What it may ask for itself. `resource` holds the resource's reference.
    pub access: Vec<Access>,
    /// What it may reach by token exchange.
    pub exchange: Vec<Access>,
    /// Clients that may act for it.
    pub delegates: Vec<String>,
    /// The resource whose server this client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
    /// How it gets security events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
    /// Whether one token may name several resources.
    pub multiple_resources: bool,
    /// Whether it gets only tokens that are bound to a key (RFC 9449 §5.2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens: bool,
    /// The rest of its metadata.
    pub metadata: RegisteredMetadata,
}

/// A client.
pub struct Client {
    row: row::Model,
    document: ClientDocument,
    origin: Origin,
    keys: Option<Arc<KeySet>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.row.client_id)
    }
}

impl Client {
    /// Reads a stored client.
    ///
    /// # Errors
    /// When the document or the keys cannot be read.
    pub fn from_row(row: &row::Model) -> Result<Self, RegistryError> {
        let broken = |why: String| {
            RegistryError::Row("client", row.client_id.clone(), row.tenant.clone(), why)
        };
        let document: ClientDocument =
            serde_json::from_str(&row.document).map_err(|e| broken(e.to_string()))?;
        let keys = match &document.jwks {
            Some(jwks) => {
                let keys = KeySet::from_jwks(jwks.to_string().as_bytes());
                Some(Arc::new(keys.map_err(|e| broken(e.to_string()))?))
            }
            None => None,
        };
        let origin = match row.origin.as_str() {
            "declared" => Origin::Declared,
            "registered" => Origin::Registered,
            "resource" => Origin::Resource,
            other => return Err(broken(format!("origin '{other}' is not known"))),
        };
        Ok(Self {
            row: row.clone(),
            document,
            origin,
            keys,
        })
    }

    /// The `client_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.row.client_id
    }

    /// The stored row.
    #[must_use]
    pub fn row(&self) -> &row::Model {
        &self.row
    }

    /// The stored document.
    #[must_use]
    pub fn document(&self) -> &ClientDocument {
        &self.document
    }

    /// How it came.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its inline keys.
    #[must_use]
    pub fn keys(&self) -> Option<&Arc<KeySet>> {
        self.keys.as_ref()
    }

    /// Whether an administrator keeps it from authenticating.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.row.disabled
    }

    /// SHA-256 of its secret, while that holds.
    #[must_use]
    pub fn secret_digest(&self, now: i64) -> Option<&[u8]> {
        let expires = self.row.secret_expires_at;
        self.row
            .secret_digest
            .as_deref()
            .filter(|_| expires == 0 || now < expires)
    }

    /// Whether it may use this grant type.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.document.grant_types.iter().any(|g| g == grant_type)
    }

    /// What it may ask for itself at the resource with this reference.
    #[must_use]
    pub fn access(&self, reference: &str) -> Option<&Access> {
        entry(&self.document.access, reference)
    }

    /// What it may reach by token exchange at the resource with this reference.
    #[must_use]
    pub fn exchange(&self, reference: &str) -> Option<&Access> {
        entry(&self.document.exchange, reference)
    }
}

fn entry<'a>(list: &'a [Access], reference: &str) -> Option<&'a Access> {
    list.iter().find(|a| a.resource == reference)
}
