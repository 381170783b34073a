//! A client can be disabled.

use sea_orm_migration::{prelude::*, schema};

pub(crate) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m20261123_revocation"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut disabled = schema::boolean(Alias::new("disabled"));
        manager
            .alter_table(
                Table::alter()
                    .table(Alias::new("client"))
                    .add_column(disabled.default(false))
                    .to_owned(),
            )
            .await
    }
}
