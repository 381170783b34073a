//! What a person signs in with: a password, a passkey, an identity at another provider, a second
//! factor, a recovery code.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "credential")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// Of a passkey its credential ID, base64url; of the others their kind and their person, or of
    /// an identity at another provider the SHA-256 of issuer and subject.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whose.
    pub user_id: String,
    /// `password`, `passkey`, `upstream`, `totp` or `recovery`.
    pub kind: String,
    /// What the person calls it.
    pub name: String,
    /// Of a password its hash, of a passkey its COSE key, of a second factor its sealed key, of a
    /// recovery code its SHA-256.
    pub secret: Vec<u8>,
    /// Of a passkey its signature counter, of a second factor the last time step that was used.
    pub counter: i64,
    /// What else is known of it, as a JSON object.
    #[sea_orm(column_type = "Text")]
    pub document: String,
    /// When it was created.
    pub created_at: i64,
    /// When somebody last signed in with it.
    pub last_used_at: Option<i64>,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
