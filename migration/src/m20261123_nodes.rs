//! Several nodes on one database: each has its own order of commitment. Revocation: a grant knows
//! its resources, and a token can be ended alone.

use sea_orm_migration::prelude::*;

use super::table::{number, table, text};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261123_nodes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Nobody has read the old rows, and nobody will.
        manager
            .drop_table(Table::drop().table(Alias::new("outbox")).take())
            .await?;
        let tables = [
            table(
                "outbox",
                vec![
                    text("node"),
                    number("seq"),
                    text("tenant"),
                    text("kind"),
                    text("subject"),
                    number("at"),
                ],
                &["node", "seq"],
            ),
            table("node", vec![text("name"), number("seq")], &["name"]),
            table(
                "revoked_token",
                vec![text("tenant"), text("jti"), number("expires_at")],
                &["tenant", "jti"],
            ),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        // A grant whose resources nobody knows could not be ended with one of them. Without it
        // the next token makes a new one; the old ones live for an hour at most.
        let grant = Alias::new("grant");
        manager
            .exec_stmt(Query::delete().from_table(grant.clone()).take())
            .await?;
        let mut resources = text("resources");
        manager
            .alter_table(
                Table::alter()
                    .table(grant.clone())
                    .add_column(resources.default(""))
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("grant_client_id")
                    .table(grant)
                    .col(Alias::new("tenant"))
                    .col(Alias::new("client_id"))
                    .take(),
            )
            .await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration(
            "the rows of several nodes do not fit the older schema: restore a backup".into(),
        ))
    }
}
