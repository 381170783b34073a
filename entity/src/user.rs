//! A person with an account.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The `sub`: given once, never to anybody else.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The name to sign in with, as the person writes it.
    pub username: String,
    /// The same as names are compared: no two of a tenant are equal.
    pub username_key: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether somebody has made sure that it is theirs.
    pub email_verified: bool,
    /// A verified address as addresses are compared: no two of a tenant are equal.
    pub email_key: Option<String>,
    /// Standard claims of OpenID Connect (Core §5.1) beyond those, as a JSON object.
    #[sea_orm(column_type = "Text")]
    pub claims: String,
    /// Whether the person may not sign in.
    pub disabled: bool,
    /// When it was created.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
