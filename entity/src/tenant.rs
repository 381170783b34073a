//! A tenant: one issuer with its own keys, clients, resources and audit chain.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant")]
pub struct Model {
    /// `default`, or what stands in the path: `/t/{name}`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// Who may register clients: `open`, `token` or `off`; empty means as configured.
    pub registration: String,
    /// When it was created.
    pub created_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
