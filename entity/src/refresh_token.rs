//! A line of refresh tokens: each takes the place of the one before (RFC 6749 §6).

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_token")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The name of the line, which every token of it holds.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The grant it belongs to.
    pub grant_id: String,
    /// The client that holds it.
    pub client_id: String,
    /// Which token of the line holds: the first one is 0.
    pub generation: i64,
    /// When those before it were used that were used of late: Unix seconds, the last one last.
    #[sea_orm(column_type = "Text")]
    pub rotations: String,
    /// Thumbprint of the key that its holder has to prove (RFC 9449 §5).
    pub bound_to: Option<String>,
    /// What was granted, as JSON.
    #[sea_orm(column_type = "Text")]
    pub document: String,
    /// When it began.
    pub created_at: i64,
    /// When one of its tokens was last used.
    pub used_at: i64,
    /// When it ends unless it is used again.
    pub expires_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
