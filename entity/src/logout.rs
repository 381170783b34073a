//! A client that has had an ID token in a session, and is told when that ends.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "logout")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The session's public id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sid: String,
    /// The client.
    #[sea_orm(primary_key, auto_increment = false)]
    pub client_id: String,
    /// Whose session it is or was.
    pub user_id: String,
    /// When the client is to be told next; none while the session goes on.
    pub due_at: Option<i64>,
    /// How often that was tried.
    pub attempts: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
