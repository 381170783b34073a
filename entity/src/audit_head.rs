//! Where each audit chain begins and ends, under a key that is not in the database.

use sea_orm::entity::prelude::*;

/// One row for each chain.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_head")]
pub struct Model {
    /// Tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    /// The node that writes the chain.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    /// Position before the first row that is kept; 0 where none was taken away.
    pub first_seq: i64,
    /// Hash at that position.
    pub first_hash: Vec<u8>,
    /// Position of the last row.
    pub last_seq: i64,
    /// Its hash.
    pub last_hash: Vec<u8>,
    /// HMAC-SHA-256 of all of this; empty once the chain was found broken.
    pub mac: Vec<u8>,
}

/// No relations: a row is found by its tenant and its own key.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
