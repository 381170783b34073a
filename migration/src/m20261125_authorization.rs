//! Pushed authorization requests, refresh tokens, consents; grants that a session or a time ends.

use sea_orm_migration::prelude::*;

use super::table::{bytes, index, number, number_null, table, text, text_null};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261125_authorization"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            table(
                "pushed_request",
                vec![
                    text("tenant"),
                    bytes("digest"),
                    text("client_id"),
                    text("parameters"),
                    number("expires_at"),
                ],
                &["tenant", "digest"],
            ),
            table(
                "refresh_token",
                vec![
                    text("tenant"),
                    text("id"),
                    text("grant_id"),
                    text("client_id"),
                    number("generation"),
                    text("rotations"),
                    text_null("bound_to"),
                    text("document"),
                    number("created_at"),
                    number("used_at"),
                    number("expires_at"),
                ],
                &["tenant", "id"],
            ),
            table(
                "consent",
                vec![
                    text("tenant"),
                    text("user_id"),
                    text("client_id"),
                    text("document"),
                    number("created_at"),
                    number("updated_at"),
                ],
                &["tenant", "user_id", "client_id"],
            ),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for column in [text_null("session"), number_null("expires_at")] {
            let grant = Table::alter()
                .table(Alias::new("grant"))
                .add_column(column)
                .take();
            manager.alter_table(grant).await?;
        }
        for index in [
            index(
                "pushed_request_expires_at",
                "pushed_request",
                &["expires_at"],
            ),
            index(
                "refresh_token_grant",
                "refresh_token",
                &["tenant", "grant_id"],
            ),
            index("refresh_token_expires_at", "refresh_token", &["expires_at"]),
            index("consent_client", "consent", &["tenant", "client_id"]),
            index("grant_session", "grant", &["tenant", "session"]),
            index("grant_expires_at", "grant", &["expires_at"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["grant_session", "grant_expires_at"] {
            let index = Index::drop()
                .name(name)
                .table(Alias::new("grant"))
                .to_owned();
            manager.drop_index(index).await?;
        }
        for column in ["session", "expires_at"] {
            let grant = Table::alter()
                .table(Alias::new("grant"))
                .drop_column(Alias::new(column))
                .take();
            manager.alter_table(grant).await?;
        }
        for name in ["consent", "refresh_token", "pushed_request"] {
            manager
                .drop_table(Table::drop().table(Alias::new(name)).take())
                .await?;
        }
        Ok(())
    }
}
