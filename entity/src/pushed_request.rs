//! An authorization request that was pushed (RFC 9126), until it is completed.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pushed_request")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// SHA-256 of the `request_uri`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: Vec<u8>,
    /// The client that pushed it.
    pub client_id: String,
    /// Its parameters, as `application/x-www-form-urlencoded`.
    #[sea_orm(column_type = "Text")]
    pub parameters: String,
    /// When it stops to hold.
    pub expires_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
