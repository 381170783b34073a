//! People, what they sign in with, and where they are signed in.

use sea_orm_migration::{prelude::*, schema};

use super::table::{bytes, index, number, number_null, table, text, text_null, unique};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261125_people"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let boolean = |name: &'static str| schema::boolean(Alias::new(name)).take();
        let tables = [
            table(
                "user",
                vec![
                    text("tenant"),
                    text("id"),
                    text("username"),
                    text("username_key"),
                    text_null("email"),
                    boolean("email_verified"),
                    text_null("email_key"),
                    text("claims"),
                    boolean("disabled"),
                    number("created_at"),
                    number("updated_at"),
                ],
                &["tenant", "id"],
            ),
            table(
                "credential",
                vec![
                    text("tenant"),
                    text("id"),
                    text("user_id"),
                    text("kind"),
                    text("name"),
                    bytes("secret"),
                    number("counter"),
                    text("document"),
                    number("created_at"),
                    number_null("last_used_at"),
                ],
                &["tenant", "id"],
            ),
            table(
                "session",
                vec![
                    text("tenant"),
                    text("sid"),
                    bytes("digest"),
                    text("user_id"),
                    text("amr"),
                    number("authenticated_at"),
                    text("user_agent"),
                    text("address"),
                    number("created_at"),
                    number("last_used_at"),
                    number("expires_at"),
                ],
                &["tenant", "sid"],
            ),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        let indexes = [
            unique("user", "username_key"),
            unique("user", "email_key"),
            unique("session", "digest"),
            index("credential_user_id", "credential", &["tenant", "user_id"]),
            index("session_user_id", "session", &["tenant", "user_id"]),
            // What is old is found without a look at the rest.
            index("session_expires_at", "session", &["expires_at"]),
            index("session_last_used_at", "session", &["last_used_at"]),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration(
            "people would lose their accounts: restore a backup".into(),
        ))
    }
}
