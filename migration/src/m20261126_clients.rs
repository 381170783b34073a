//! Clients that came by themselves are found by how long nobody has changed them.

use sea_orm_migration::prelude::*;

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261126_clients"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_index(
                Index::create()
                    .name("client_origin")
                    .table(Alias::new("client"))
                    .col(Alias::new("origin"))
                    .col(Alias::new("updated_at"))
                    .take(),
            )
            .await
    }
}
