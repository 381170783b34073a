//! A client (RFC 6749 §2), declared or registered.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "client")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The `client_id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: String,
    /// How it came: `declared`, `registered` (RFC 7591), `resource` (a self-registered MCP server)
    /// or `document` (its id is the URL of its metadata).
    pub origin: String,
    /// SHA-256 of the client secret.
    pub secret_digest: Option<Vec<u8>>,
    /// When the secret stops to hold; 0 means never (RFC 7591 §3.2.1).
    pub secret_expires_at: i64,
    /// SHA-256 of the registration access token (RFC 7592 §3).
    pub registration_digest: Option<Vec<u8>>,
    /// Metadata and rights, as JSON.
    #[sea_orm(column_type = "Text")]
    pub document: String,
    /// Whether it may get nothing until an administrator says so.
    pub disabled: bool,
    /// When it was created.
    pub created_at: i64,
    /// When it last changed; of a document, when it was last read, to a few hours.
    pub updated_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
