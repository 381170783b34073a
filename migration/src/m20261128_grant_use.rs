//! When a grant was last used, where no line of refresh tokens says so; and grants that are found
//! by whom they speak for, and by what they were derived from, without a look at the rest.

use sea_orm_migration::prelude::*;

use super::table::{index, number_null};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261128_grant_use"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let grant = Table::alter()
            .table(Alias::new("grant"))
            .add_column(number_null("used_at"))
            .take();
        manager.alter_table(grant).await?;
        for index in [
            index("grant_subject", "grant", &["tenant", "subject"]),
            index("grant_parent", "grant", &["tenant", "parent"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["grant_parent", "grant_subject"] {
            let index = Index::drop()
                .name(name)
                .table(Alias::new("grant"))
                .to_owned();
            manager.drop_index(index).await?;
        }
        let grant = Table::alter()
            .table(Alias::new("grant"))
            .drop_column(Alias::new("used_at"))
            .take();
        manager.alter_table(grant).await
    }
}
