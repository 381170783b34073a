//! What administrators declare: tenants, clients, resources and keys, as they are written. What is
//! said of statements in [`super::change`] holds here too.

use std::collections::BTreeMap;

use entity::{
    client, consent, credential, grant, logout as logout_row, pushed_request, refresh_token,
    replay, resource, revoked_token, session, signal, signing_key, stream, stream_progress, tenant,
    user,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QuerySelect as _, sea_query::OnConflict,
};

use super::{
    authorization,
    change::{Change, Made, insert_or_ignore, lock, update},
    forget,
    grants::{Hold, Whose, end_grants, hold_grants},
    streams,
};

/// The `origin` of clients whose id is the URL of their metadata.
const DOCUMENT: &str = "document";

pub(super) async fn put_tenant(
    db: &impl ConnectionTrait,
    row: &tenant::Model,
) -> Result<Made, DbErr> {
    tenant::Entity::insert(row.clone().into_active_model())
        .on_conflict(
            OnConflict::column(tenant::Column::Name)
                .update_column(tenant::Column::Registration)
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    Ok(Made::AsAsked)
}

/// Whether a tenant exists, and will until this transaction ends.
///
/// # Errors
/// When the database does.
pub async fn holds_tenant(db: &impl ConnectionTrait, name: &str) -> Result<bool, DbErr> {
    let row = tenant::Entity::find_by_id(name).lock_shared().one(db);
    Ok(row.await?.is_some())
}

/// The tenant's own row goes first: whoever is about to add something to it holds that.
pub(super) async fn remove_tenant(db: &impl ConnectionTrait, name: &str) -> Result<Made, DbErr> {
    let gone = tenant::Entity::delete_by_id(name).exec(db).await?;
    macro_rules! empty {
        ($($table:ident),*) => {$(
            $table::Entity::delete_many()
                .filter($table::Column::Tenant.eq(name))
                .exec(db)
                .await?;
        )*};
    }
    empty!(
        client,
        consent,
        resource,
        grant,
        pushed_request,
        refresh_token,
        replay,
        revoked_token,
        signing_key,
        signal,
        stream,
        stream_progress,
        user,
        credential,
        session,
        logout_row
    );
    Ok(Made::if_one(gone.rows_affected))
}

pub(super) async fn put_client(
    db: &impl ConnectionTrait,
    row: &client::Model,
    before: Option<&client::Model>,
) -> Result<Made, DbErr> {
    use client::Column;
    let model = row.clone().into_active_model();
    let written = match before {
        None if row.origin == DOCUMENT => return put_document_client(db, row).await,
        None => insert_or_ignore(db, model).await?,
        // Another node may have disabled it, or given it another secret, meanwhile.
        Some(before) => {
            let unchanged = Condition::all()
                .add(Column::Tenant.eq(&row.tenant))
                .add(Column::ClientId.eq(&row.client_id))
                .add(is(Column::SecretDigest, before.secret_digest.as_deref()))
                .add(Column::SecretExpiresAt.eq(before.secret_expires_at))
                .add(is(
                    Column::RegistrationDigest,
                    before.registration_digest.as_deref(),
                ))
                .add(Column::Document.eq(&before.document))
                .add(Column::Disabled.eq(before.disabled))
                .add(Column::CreatedAt.eq(before.created_at));
            update(db, model.reset_all(), unchanged).await?
        }
    };
    Ok(Made::if_one(written))
}

/// Two people may be the first to allow a client something: both have, unless it is disabled.
async fn put_document_client(
    db: &impl ConnectionTrait,
    row: &client::Model,
) -> Result<Made, DbErr> {
    if insert_or_ignore(db, row.clone().into_active_model()).await? == 1 {
        return Ok(Made::AsAsked);
    }
    let key = (row.tenant.clone(), row.client_id.clone());
    let first = client::Entity::find_by_id(key).one(db).await?;
    Ok(match first.filter(|first| !first.disabled) {
        Some(row) => Made::Instead(vec![Change::PutClient { row, before: None }]),
        None => Made::No,
    })
}

/// `column = value`, where nothing equals nothing.
fn is(column: client::Column, value: Option<&[u8]>) -> Condition {
    Condition::all().add(match value {
        Some(value) => column.eq(value),
        None => column.is_null(),
    })
}

/// With what it was granted, what people allowed it, and its streams.
pub(super) async fn remove_client(
    db: &impl ConnectionTrait,
    tenant: &str,
    client_id: &str,
) -> Result<Made, DbErr> {
    hold_grants(db, tenant, Hold::ToEnd).await?;
    let (tenant, client_id) = (tenant.to_owned(), client_id.to_owned());
    let key = (tenant.clone(), client_id.clone());
    let gone = client::Entity::delete_by_id(key).exec(db).await?;
    if gone.rows_affected != 1 {
        return Ok(Made::No);
    }
    let ended = end_grants(db, &tenant, Whose::Client(client_id.clone())).await?;
    authorization::end_consents(db, &tenant, &client_id).await?;
    let streams = streams::remove_all(db, &tenant, &client_id).await?;
    let removed = Change::RemoveClient { tenant, client_id };
    let made = [removed, ended].into_iter().chain(streams);
    Ok(Made::Instead(made.collect()))
}

/// Of one tenant: while it is done, none of its grants can be made. No receiver of events is told,
/// because nothing ends that anybody holds.
pub(super) async fn forget_unused_clients(
    db: &impl ConnectionTrait,
    before: i64,
) -> Result<Vec<Change>, DbErr> {
    let oldest = forget::unused_clients(before).one(db).await?;
    let Some(client::Model { tenant, .. }) = oldest else {
        return Ok(Vec::new());
    };
    hold_grants(db, &tenant, Hold::ToEnd).await?;
    // Looked for again: one of them may have been used until then.
    let unused = forget::unused_clients(before)
        .filter(client::Column::Tenant.eq(&tenant))
        .limit(forget::AT_ONCE)
        .all(db)
        .await?;
    let ids: Vec<String> = unused.into_iter().map(|row| row.client_id).collect();
    client::Entity::delete_many()
        .filter(client::Column::Tenant.eq(&tenant))
        .filter(client::Column::ClientId.is_in(&ids))
        .exec(db)
        .await?;
    let removed = ids.into_iter().map(|client_id| Change::RemoveClient {
        tenant: tenant.clone(),
        client_id,
    });
    Ok(removed.collect())
}

pub(super) async fn put_resource(
    db: &impl ConnectionTrait,
    row: &resource::Model,
    before: Option<&resource::Model>,
) -> Result<Made, DbErr> {
    use resource::Column;
    let model = row.clone().into_active_model();
    let written = match before {
        // Another resource may hold this URI already: that index is minded too.
        None => insert_or_ignore(db, model).await?,
        Some(before) => {
            let unchanged = Condition::all()
                .add(Column::Tenant.eq(&row.tenant))
                .add(Column::Id.eq(&row.id))
                .add(Column::Normalised.eq(&row.normalised))
                .add(Column::Document.eq(&before.document))
                .add(Column::CreatedAt.eq(before.created_at));
            update(db, model.reset_all(), unchanged).await?
        }
    };
    Ok(Made::if_one(written))
}

/// With the grants for it.
pub(super) async fn remove_resource(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<Made, DbErr> {
    hold_grants(db, tenant, Hold::ToEnd).await?;
    let key = (tenant.to_owned(), id.to_owned());
    let Some(row) = resource::Entity::find_by_id(key.clone()).one(db).await? else {
        return Ok(Made::No);
    };
    resource::Entity::delete_by_id(key.clone()).exec(db).await?;
    let ended = end_grants(db, tenant, Whose::Resource(row.normalised)).await?;
    let (tenant, id) = key;
    Ok(Made::Instead(vec![
        Change::RemoveResource { tenant, id },
        ended,
    ]))
}

pub(super) async fn put_keys(
    db: &impl ConnectionTrait,
    tenant: &str,
    known: &[signing_key::Model],
    put: &[signing_key::Model],
    remove: &[String],
) -> Result<Made, DbErr> {
    if !stand(db, tenant, known).await? {
        return Ok(Made::No);
    }
    for kid in remove.iter().chain(put.iter().map(|row| &row.kid)) {
        let key = (tenant.to_owned(), kid.clone());
        signing_key::Entity::delete_by_id(key).exec(db).await?;
    }
    for row in put {
        insert_or_ignore(db, row.clone().into_active_model()).await?;
    }
    Ok(Made::AsAsked)
}

/// Whether a tenant's keys are these, in these states, and stay so until the transaction ends:
/// another node may have rotated them.
async fn stand(
    db: &impl ConnectionTrait,
    tenant: &str,
    known: &[signing_key::Model],
) -> Result<bool, DbErr> {
    lock(db, &format!("writ keys {tenant}"), "pg_advisory_xact_lock").await?;
    let stored = signing_key::Entity::find()
        .filter(signing_key::Column::Tenant.eq(tenant))
        .all(db)
        .await?;
    let states = |rows: &[signing_key::Model]| -> BTreeMap<String, String> {
        let state = |row: &signing_key::Model| (row.kid.clone(), row.state.clone());
        rows.iter().map(state).collect()
    };
    Ok(states(&stored) == states(known))
}
