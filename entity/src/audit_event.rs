//! The audit trail: a hash chain for each tenant and node.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_event")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The node that wrote it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    /// Position in the chain, from 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// Unix milliseconds.
    pub at: i64,
    /// What happened, for example `token.issued`.
    pub kind: String,
    /// The event, as JSON.
    #[sea_orm(column_type = "Text")]
    pub event: String,
    /// Hash of this row and the one before.
    pub hash: Vec<u8>,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
