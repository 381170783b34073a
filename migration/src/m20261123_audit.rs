//! Where audit chains begin and end, and how far they have been exported.

use sea_orm_migration::{prelude::*, schema};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261123_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Alias::new("audit_head"))
                    .col(schema::text("tenant"))
                    .col(schema::text("node"))
                    .col(schema::big_integer("first_seq"))
                    .col(schema::blob("first_hash"))
                    .col(schema::big_integer("last_seq"))
                    .col(schema::blob("last_hash"))
                    .col(schema::blob("mac"))
                    .primary_key(Index::create().col("tenant").col("node"))
                    .take(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table(Alias::new("audit_cursor"))
                    .col(schema::text("sink"))
                    .col(schema::text("tenant"))
                    .col(schema::text("node"))
                    .col(schema::big_integer("seq"))
                    .primary_key(Index::create().col("sink").col("tenant").col("node"))
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["audit_cursor", "audit_head"] {
            manager
                .drop_table(Table::drop().table(Alias::new(name)).take())
                .await?;
        }
        Ok(())
    }
}
