//! A client's document as the database holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::SubjectStyle;
use crate::{
    keys::SigningAlgorithm,
    oauth::{grant_type::AuthMethod, redirect_uri::ApplicationType},
};

/// Which set of rules a client lives under.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
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

/// What holds of a client's authorization requests and what comes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationSettings {
    /// Whether it has to push its requests (RFC 9126 §6).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed_authorization_requests: bool,
    /// Whether each use of a refresh token gives a new one; without a word, for public clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_refresh_tokens: Option<bool>,
    /// What its ID tokens are signed with (OpenID Connect Registration §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<SigningAlgorithm>,
}

impl AuthorizationSettings {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
    /// What holds of its authorization requests.
    #[serde(default, skip_serializing_if = "AuthorizationSettings::is_default")]
    pub authorization: AuthorizationSettings,
    /// The rest of its metadata.
    pub metadata: RegisteredMetadata,
}
