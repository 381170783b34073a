//! A protected resource: an MCP server with its tools and scopes.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "resource")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// Short name, used in URLs and by the command line.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The canonical resource URI, as it is printed in `aud`.
    pub uri: String,
    /// The URI in the form it is compared in; unique within the tenant.
    pub normalised: String,
    /// The client that registered it, when it came by self-registration.
    pub registered_by: Option<String>,
    /// Tools, scopes and token rules, as JSON.
    #[sea_orm(column_type = "Text")]
    pub document: String,
    /// When it was created.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
