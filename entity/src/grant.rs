//! A grant: the continuing authorization that access tokens hang from.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "grant")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The `grant_id` claim.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What makes it one: kind, client, resources and parent; unique within the tenant.
    pub identity: String,
    /// The client that holds it.
    pub client_id: String,
    /// Whom its tokens speak for.
    pub subject: String,
    /// References of the resources its tokens are for, separated by spaces.
    pub resources: String,
    /// The grant it was derived from by token exchange.
    pub parent: Option<String>,
    /// When it was created.
    pub created_at: i64,
    /// The session of a person that it ends with; none for one that goes on without (OpenID
    /// Connect Core §11).
    pub session: Option<String>,
    /// When it ends by itself, if ever.
    pub expires_at: Option<i64>,
    /// When a token was last exchanged under it, to the minute; what refresh tokens do is said by
    /// their lines.
    pub used_at: Option<i64>,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
