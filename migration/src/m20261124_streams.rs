//! Signals to receivers, their streams, and how far those have been delivered.

use sea_orm_migration::prelude::*;

use super::table::{bytes_null, index, number, table, text, text_null};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261124_streams"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            table(
                "signal",
                vec![
                    number("seq"),
                    text("tenant"),
                    text("id"),
                    text("audience"),
                    text("level"),
                    text("kind"),
                    text("subject"),
                    text("event"),
                    text("txn"),
                    number("at"),
                    number("expires_at"),
                ],
                &["seq"],
            ),
            table("signal_head", vec![text("name"), number("seq")], &["name"]),
            table(
                "stream",
                vec![
                    text("tenant"),
                    text("id"),
                    text("client_id"),
                    text("document"),
                    bytes_null("authorization"),
                    text("status"),
                    text_null("reason"),
                    number("created_at"),
                    number("updated_at"),
                ],
                &["tenant", "id"],
            ),
            table(
                "stream_progress",
                vec![
                    text("tenant"),
                    text("stream"),
                    number("position"),
                    text("settled"),
                    text("node"),
                    number("held_until"),
                    number("active_at"),
                ],
                &["tenant", "stream"],
            ),
            table("courier", vec![text("node"), number("until")], &["node"]),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        let indexes = [
            // A stream that was away reads the signals of its tenant in their order.
            index("signal_tenant", "signal", &["tenant", "seq"]),
            // What is old is found without a look at the rest.
            index("signal_expires_at", "signal", &["expires_at"]),
            index("outbox_at", "outbox", &["at"]),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration(
            "receivers would lose what they were to be told: restore a backup".into(),
        ))
    }
}
