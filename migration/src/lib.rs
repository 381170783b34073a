//! Writ's schema, step by step.
//!
//! To add a step: a file named after its date and purpose, one line in [`Migrator::migrations`].

pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::{MigrationTrait, async_trait};

mod m20261122_core;
mod m20261123_audit;
mod m20261123_nodes;
mod m20261123_revocation;
mod m20261124_streams;
mod m20261125_authorization;
mod m20261125_people;
mod m20261126_clients;
mod m20261127_logout;
mod m20261128_grant_use;
mod table;

/// The list of steps.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_core::Step),
            Box::new(m20261123_nodes::Step),
            Box::new(m20261123_revocation::Step),
            Box::new(m20261123_audit::Step),
            Box::new(m20261124_streams::Step),
            Box::new(m20261125_authorization::Step),
            Box::new(m20261125_people::Step),
            Box::new(m20261126_clients::Step),
            Box::new(m20261127_logout::Step),
            Box::new(m20261128_grant_use::Step),
        ]
    }
}
