//! How far each audit chain has been exported, for each sink.

use sea_orm::entity::prelude::*;

/// One row for each sink and chain.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_cursor")]
pub struct Model {
    /// `file`, `webhook` or `syslog`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sink: String,
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The node that writes the chain.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    /// Position of the last row that the sink has.
    pub seq: i64,
}

/// No relations: a row is found by its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
