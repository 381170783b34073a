//! Streams: rows of what was agreed with receivers.

use entity::{stream, stream_progress};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _,
};

use super::{
    change::{Change, Made, insert_or_ignore, update},
    signals,
};

/// Writes a stream. A new one hears what comes after it.
pub(super) async fn put(
    db: &impl ConnectionTrait,
    row: &stream::Model,
    before: Option<&stream::Model>,
) -> Result<Made, DbErr> {
    let model = row.clone().into_active_model();
    let Some(before) = before else {
        let written = insert_or_ignore(db, model).await?;
        if written == 1 {
            let progress = stream_progress::Model {
                tenant: row.tenant.clone(),
                stream: row.id.clone(),
                position: signals::head(db).await?,
                settled: String::new(),
                node: String::new(),
                held_until: 0,
                active_at: row.created_at,
            };
            insert_or_ignore(db, progress.into_active_model()).await?;
        }
        return Ok(Made::if_one(written));
    };
    let unchanged = Condition::all()
        .add(stream::Column::Tenant.eq(&row.tenant))
        .add(stream::Column::Id.eq(&row.id))
        .add(stream::Column::UpdatedAt.eq(before.updated_at))
        .add(stream::Column::Status.eq(&before.status))
        .add(stream::Column::Document.eq(&before.document));
    let written = update(db, model.reset_all(), unchanged).await?;
    Ok(Made::if_one(written))
}

/// Takes a stream away.
pub(super) async fn remove(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<Made, DbErr> {
    let key = (tenant.to_owned(), id.to_owned());
    let gone = stream::Entity::delete_by_id(key.clone()).exec(db).await?;
    stream_progress::Entity::delete_by_id(key).exec(db).await?;
    Ok(Made::if_one(gone.rows_affected))
}

/// Takes all streams of a receiver away.
pub(super) async fn remove_all(
    db: &impl ConnectionTrait,
    tenant: &str,
    client_id: &str,
) -> Result<Vec<Change>, DbErr> {
    let theirs = stream::Entity::find()
        .filter(stream::Column::Tenant.eq(tenant))
        .filter(stream::Column::ClientId.eq(client_id))
        .all(db)
        .await?;
    let mut changes = Vec::with_capacity(theirs.len());
    for row in theirs {
        remove(db, tenant, &row.id).await?;
        changes.push(Change::RemoveStream {
            tenant: row.tenant,
            id: row.id,
        });
    }
    Ok(changes)
}
