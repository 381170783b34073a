//! A client (RFC 6749 §2) as the registry knows it.
//!
//! There may be a million of them, so one takes little: what it alone has, and a share of a
//! document, which others may have too. The token path asks its [`Rights`]; whoever shows or
//! changes a client reads the document again.

mod document;
mod profile;
mod shared;

use std::{fmt, sync::Arc};

use entity::client as row;
use serde::{Deserialize, Serialize};

pub(super) use self::shared::Documents;
use self::shared::Text;
pub use self::{
    document::{
        Access, AuthorizationSettings, ClientDocument, Receiver, RegisteredMetadata,
        RequestAlgorithm, SubjectType,
    },
    profile::{Profile, Rules},
    shared::{Keys, Rights},
};
use super::RegistryError;

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
    /// Its `client_id` is the URL of its metadata (OAuth Client ID Metadata Document).
    Document,
}

impl Origin {
    const ALL: [Self; 4] = [
        Self::Declared,
        Self::Registered,
        Self::Resource,
        Self::Document,
    ];

    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Registered => "registered",
            Self::Resource => "resource",
            Self::Document => "document",
        }
    }

    /// Whether it came by itself: whoever likes may have such a client, and as many as they like.
    #[must_use]
    pub const fn is_by_itself(self) -> bool {
        matches!(self, Self::Registered | Self::Document)
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// A client.
pub struct Client {
    id: Arc<str>,
    document: Text,
    secret: Option<[u8; 32]>,
    secret_expires_at: i64,
    /// Few have one.
    registration: Option<Box<[u8; 32]>>,
    created_at: i64,
    updated_at: i64,
    origin: Origin,
    disabled: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.id)
    }
}

impl Client {
    /// Reads a stored client that shares nothing.
    ///
    /// # Errors
    /// When the document, the keys or a digest cannot be read.
    pub fn from_row(row: &row::Model) -> Result<Self, RegistryError> {
        Self::among(row, &mut Documents::default())
    }

    /// Reads a stored client that shares what others have too.
    pub(super) fn among(
        row: &row::Model,
        documents: &mut Documents,
    ) -> Result<Self, RegistryError> {
        let broken = |why: String| {
            RegistryError::Row("client", row.client_id.clone(), row.tenant.clone(), why)
        };
        let digest = |stored: &Option<Vec<u8>>| {
            let digest = stored.as_deref().map(<[u8; 32]>::try_from).transpose();
            digest.map_err(|_| broken("a digest is not of SHA-256".to_owned()))
        };
        let origin = Origin::parse(&row.origin)
            .ok_or_else(|| broken(format!("origin '{}' is not known", row.origin)))?;
        Ok(Self {
            id: row.client_id.as_str().into(),
            document: documents.read(&row.document).map_err(broken)?,
            secret: digest(&row.secret_digest)?,
            secret_expires_at: row.secret_expires_at,
            registration: digest(&row.registration_digest)?.map(Box::new),
            created_at: row.created_at,
            updated_at: row.updated_at,
            origin,
            disabled: row.disabled,
        })
    }

    /// The row it was read from, which is this tenant's.
    #[must_use]
    pub fn row(&self, tenant: &str) -> row::Model {
        row::Model {
            tenant: tenant.to_owned(),
            client_id: self.id().to_owned(),
            origin: self.origin.as_str().to_owned(),
            secret_digest: self.secret.map(|digest| digest.to_vec()),
            secret_expires_at: self.secret_expires_at,
            registration_digest: self.registration.as_deref().map(|d| d.to_vec()),
            document: self.document.whole(),
            disabled: self.disabled,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The length of its stored document, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.document.len()
    }

    /// The stored document, read anew: not for the token path.
    ///
    /// # Errors
    /// None that [`Client::from_row`] would not have met.
    pub fn document(&self) -> Result<ClientDocument, serde_json::Error> {
        serde_json::from_str(&self.document.whole())
    }

    /// The `client_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `client_id`, to be kept.
    #[must_use]
    pub fn shared_id(&self) -> Arc<str> {
        self.id.clone()
    }

    /// How it came.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether anybody answers for it.
    #[must_use]
    pub const fn is_vouched_for(&self) -> bool {
        !self.origin.is_by_itself()
    }

    /// What it may do, and how it proves who it is.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        self.document.rest().rights()
    }

    /// Its public keys, or where they are.
    #[must_use]
    pub fn keys(&self) -> Option<&Keys> {
        self.document.rest().keys()
    }

    /// Whether an administrator keeps it from authenticating.
    #[must_use]
    pub const fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// SHA-256 of its secret, while that holds.
    #[must_use]
    pub fn secret_digest(&self, now: i64) -> Option<&[u8; 32]> {
        let holds = self.secret_expires_at == 0 || now < self.secret_expires_at;
        self.secret.as_ref().filter(|_| holds)
    }

    /// SHA-256 of its registration access token (RFC 7592 §3).
    #[must_use]
    pub fn registration_digest(&self) -> Option<&[u8; 32]> {
        self.registration.as_deref()
    }

    /// When it was created, Unix seconds.
    #[must_use]
    pub const fn created_at(&self) -> i64 {
        self.created_at
    }

    /// When it last changed, Unix seconds.
    #[must_use]
    pub const fn updated_at(&self) -> i64 {
        self.updated_at
    }
}
