//! A signing key; the private part is sealed.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_key")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// RFC 7638 thumbprint of the public key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// `EdDSA`, `ES256` or `RS256`.
    pub algorithm: String,
    /// `next` (published), `active` (signs), `retired` (still verifies) or `past` (is known).
    pub state: String,
    /// PKCS#8, sealed.
    pub sealed: Vec<u8>,
    /// When it was published.
    pub published_at: i64,
    /// When it began to sign.
    pub activated_at: Option<i64>,
    /// When the last token it signed has expired, and it leaves the JWKS; a past one goes then.
    pub remove_at: Option<i64>,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
