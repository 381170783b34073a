//! Changes that other parts and nodes must hear of, in the order each node committed them.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// The node that committed it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    /// Order of commitment on that node, from 1, without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
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

/// No relations: a row is found by its node and position.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
