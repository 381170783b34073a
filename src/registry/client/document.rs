//! A client's document as the database holds it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use writ_resource::jws::Algorithm;

use super::{super::SubjectStyle, profile::Profile};
use crate::{
    keys::SigningAlgorithm,
    oauth::{
        grant_type::AuthMethod,
        redirect_uri::{self, ApplicationType},
    },
};

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
    /// What answers of the userinfo endpoint are signed with; without it they are plain JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<SigningAlgorithm>,
    /// Whether it has to sign its requests (RFC 9101 §10.5).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_signed_request_object: bool,
    /// What it signs them with; without it whatever its keys are for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object_signing_alg: Option<RequestAlgorithm>,
    /// Whether it knows people by names that no other client knows (OpenID Connect Core §8).
    #[serde(skip_serializing_if = "SubjectType::is_public")]
    pub subject_type: SubjectType,
    /// Where the redirect URIs of all clients are listed that share these names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uri)]
    pub sector_identifier_uri: Option<String>,
    /// Where it is told that a session has ended (OpenID Connect Back-Channel Logout §2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uri)]
    pub backchannel_logout_uri: Option<String>,
    /// Whether it needs to be told which one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub backchannel_logout_session_required: bool,
}

impl AuthorizationSettings {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a client may sign its requests with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum RequestAlgorithm {
    /// Ed25519.
    #[serde(alias = "Ed25519")]
    EdDSA,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
}

impl RequestAlgorithm {
    /// Whether a signature is made with it.
    #[must_use]
    pub fn is(self, algorithm: Algorithm) -> bool {
        algorithm
            == match self {
                Self::EdDSA => Algorithm::EdDSA,
                Self::ES256 => Algorithm::ES256,
                Self::PS256 => Algorithm::PS256,
                Self::RS256 => Algorithm::RS256,
            }
    }
}

/// By which names a client knows people (OpenID Connect Core §8).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SubjectType {
    /// The same as all others.
    #[default]
    Public,
    /// Names of its own, or of its sector.
    Pairwise,
}

impl SubjectType {
    /// Both, in the order metadata lists them.
    pub const ALL: [Self; 2] = [Self::Public, Self::Pairwise];

    /// The registered word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Pairwise => "pairwise",
        }
    }

    fn is_public(&self) -> bool {
        *self == Self::Public
    }
}

/// Metadata that matters to clients and pages but not to the token path (RFC 7591 §2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegisteredMetadata {
    /// Redirect URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// Where a browser may be sent after logout (OpenID Connect RP-Initiated Logout §3.1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<String>,
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

impl ClientDocument {
    /// Whom the client shares its names for people with; none when it knows them as everybody
    /// does (OpenID Connect Core §8.1).
    #[must_use]
    pub fn sector(&self) -> Option<String> {
        if self.authorization.subject_type == SubjectType::Public {
            return None;
        }
        match &self.authorization.sector_identifier_uri {
            Some(uri) => Url::parse(uri).ok()?.host_str().map(str::to_owned),
            None => self.own_sector(),
        }
    }

    /// The one host of its redirect URIs, if there is one. Whatever runs on people's own devices
    /// has none: all of that is one host.
    #[must_use]
    pub fn own_sector(&self) -> Option<String> {
        let hosts: Option<BTreeSet<String>> = self
            .metadata
            .redirect_uris
            .iter()
            .map(|uri| {
                let url = Url::parse(uri)
                    .ok()
                    .filter(|_| !redirect_uri::is_local(uri))?;
                url.host_str().map(str::to_owned)
            })
            .collect();
        hosts.filter(|hosts| hosts.len() == 1)?.pop_first()
    }
}
