//! The place of the last signal. One row: whoever adds signals moves it, and holds it until the
//! transaction ends.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signal_head")]
pub struct Model {
    /// Always `signal`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// The place of the last one.
    pub seq: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
