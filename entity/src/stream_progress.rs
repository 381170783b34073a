//! How far a stream has been delivered, and which node pushes it.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stream_progress")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// `stream_id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub stream: String,
    /// Every signal up to this place is done with.
    pub position: i64,
    /// Places behind it that are done with too: numbers separated by spaces.
    pub settled: String,
    /// The node that pushes it; empty for none.
    pub node: String,
    /// Until when, Unix milliseconds.
    pub held_until: i64,
    /// When its receiver last asked for something, Unix seconds, or a few minutes earlier.
    pub active_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
