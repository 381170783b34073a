//! Changes that other parts and nodes must hear of, in the order they were committed.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// Order of commitment on this database.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// Tenant.
    pub tenant: String,
    /// What changed, for example `client`.
    pub kind: String,
    /// Which one.
    pub subject: String,
    /// Unix milliseconds.
    pub at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
