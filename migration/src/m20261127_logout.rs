//! Clients that are told when a session ends.

use sea_orm_migration::prelude::*;

use super::table::{index, number, number_null, table, text};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261127_logout"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let logout = table(
            "logout",
            vec![
                text("tenant"),
                text("sid"),
                text("client_id"),
                text("user_id"),
                number_null("due_at"),
                number("attempts"),
            ],
            &["tenant", "sid", "client_id"],
        );
        manager.create_table(logout).await?;
        manager
            .create_index(index("logout_due_at", "logout", &["due_at"]))
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let logout = Table::drop().table(Alias::new("logout")).take();
        manager.drop_table(logout).await
    }
}
