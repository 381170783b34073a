//! What receivers are told: security events in the order they were committed.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signal")]
pub struct Model {
    /// Its place among those of all tenants: no number is left out, and none is used twice.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// Tenant.
    pub tenant: String,
    /// A name that no other has, also not after a restored backup.
    pub id: String,
    /// Whom it is for: `*`, references of resources separated by spaces, or one stream's id.
    pub audience: String,
    /// What it is about: `access`, `subject` or `stream`.
    pub level: String,
    /// The URI of the event type.
    pub kind: String,
    /// `sub_id`, JSON.
    pub subject: String,
    /// The event's members, JSON.
    pub event: String,
    /// The same for all that come from one cause.
    pub txn: String,
    /// When it arose, Unix milliseconds.
    pub at: i64,
    /// From when on nobody needs it.
    pub expires_at: i64,
}

/// No relations: rows are read in their order.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
