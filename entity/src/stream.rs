//! Streams of security events: who is told what, and how.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stream")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// `stream_id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The receiver that owns it.
    pub client_id: String,
    /// What was agreed, JSON.
    pub document: String,
    /// The `Authorization` header of pushes, sealed.
    pub authorization: Option<Vec<u8>>,
    /// `enabled`, `paused` or `disabled`.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was created.
    pub created_at: i64,
    /// When it last changed, Unix milliseconds.
    pub updated_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
