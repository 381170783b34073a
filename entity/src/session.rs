//! A browser in which a person is signed in.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// Its public id, the `sid` of OpenID Connect Back-Channel Logout.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sid: String,
    /// SHA-256 of the cookie's secret.
    pub digest: Vec<u8>,
    /// Who.
    pub user_id: String,
    /// How they proved it (RFC 8176), space-separated.
    pub amr: String,
    /// When they did, the `auth_time`.
    pub authenticated_at: i64,
    /// What the browser says it is.
    pub user_agent: String,
    /// Where it signed in from.
    pub address: String,
    /// When it began.
    pub created_at: i64,
    /// When it was last seen, to the minute.
    pub last_used_at: i64,
    /// When it ends in any case.
    pub expires_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
