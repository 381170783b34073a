//! Tenants, clients, resources, grants, keys, audit, outbox and replay.

use sea_orm_migration::{prelude::*, schema};

use super::table::{bytes, bytes_null, number, number_null, table, text, text_null, unique};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261122_core"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            table(
                "tenant",
                vec![text("name"), text("registration"), number("created_at")],
                &["name"],
            ),
            table(
                "client",
                vec![
                    text("tenant"),
                    text("client_id"),
                    text("origin"),
                    bytes_null("secret_digest"),
                    number("secret_expires_at"),
                    bytes_null("registration_digest"),
                    text("document"),
                    number("created_at"),
                    number("updated_at"),
                ],
                &["tenant", "client_id"],
            ),
            table(
                "resource",
                vec![
                    text("tenant"),
                    text("id"),
                    text("uri"),
                    text("normalised"),
                    text_null("registered_by"),
                    text("document"),
                    number("created_at"),
                    number("updated_at"),
                ],
                &["tenant", "id"],
            ),
            table(
                "grant",
                vec![
                    text("tenant"),
                    text("id"),
                    text("identity"),
                    text("client_id"),
                    text("subject"),
                    text_null("parent"),
                    number("created_at"),
                ],
                &["tenant", "id"],
            ),
            table(
                "signing_key",
                vec![
                    text("tenant"),
                    text("kid"),
                    text("algorithm"),
                    text("state"),
                    bytes("sealed"),
                    number("published_at"),
                    number_null("activated_at"),
                    number_null("remove_at"),
                ],
                &["tenant", "kid"],
            ),
            table(
                "audit_event",
                vec![
                    text("tenant"),
                    text("node"),
                    number("seq"),
                    number("at"),
                    text("kind"),
                    text("event"),
                    bytes("hash"),
                ],
                &["tenant", "node", "seq"],
            ),
            table(
                "replay",
                vec![text("tenant"), bytes("digest"), number("expires_at")],
                &["tenant", "digest"],
            ),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        manager
            .create_table(
                Table::create()
                    .table(Alias::new("outbox"))
                    .col(
                        schema::big_integer(Alias::new("seq"))
                            .auto_increment()
                            .primary_key(),
                    )
                    .col(text("tenant"))
                    .col(text("kind"))
                    .col(text("subject"))
                    .col(number("at"))
                    .take(),
            )
            .await?;
        manager
            .create_index(unique("resource", "normalised"))
            .await?;
        manager.create_index(unique("grant", "identity")).await?;
        manager
            .create_index(
                Index::create()
                    .name("replay_expires_at")
                    .table(Alias::new("replay"))
                    .col(Alias::new("expires_at"))
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in [
            "replay",
            "outbox",
            "audit_event",
            "signing_key",
            "grant",
            "resource",
            "client",
            "tenant",
        ] {
            manager
                .drop_table(Table::drop().table(Alias::new(name)).take())
                .await?;
        }
        Ok(())
    }
}
