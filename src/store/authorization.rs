//! What people authorize: pushed requests, their grants, refresh tokens, consents.

use entity::{client, consent, grant, pushed_request, refresh_token, session};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QuerySelect as _, sea_query::Expr,
};

use super::{
    change::{self, Made, insert_or_ignore, update},
    grants::{self, Whose, put_grant},
    people::Sessions,
};
use crate::oauth::claims::LONGEST_LIFETIME;

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Remembers a pushed request.
    Push(pushed_request::Model),
    /// Forgets a pushed request that was completed.
    Complete {
        /// Its tenant.
        tenant: String,
        /// SHA-256 of its `request_uri`.
        digest: Vec<u8>,
    },
    /// Remembers a grant of a person who still lets the client have it.
    Grant(grant::Model),
    /// Remembers that a token was exchanged under a grant, which may have ended meanwhile.
    UseGrant {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
        /// Unix seconds.
        at: i64,
    },
    /// Begins a line of refresh tokens.
    BeginLine(refresh_token::Model),
    /// Puts the next token of a line in the place of the one that was used.
    Rotate {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
        /// The generation that was used, which must still hold.
        from: i64,
        /// Unix seconds.
        at: i64,
        /// When the last ones were used, with this one.
        rotations: String,
        /// When it ends unless it is used again.
        expires_at: i64,
    },
    /// Remembers that the token of a line was used that stays.
    Used {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
        /// Unix seconds.
        at: i64,
        /// When it ends unless it is used again.
        expires_at: i64,
    },
    /// Writes what a person lets a client have.
    PutConsent {
        /// The row.
        row: consent::Model,
        /// The row that it was made from, which must stand unchanged; none for the first one.
        before: Option<Box<consent::Model>>,
    },
    /// Takes that back, and ends the grants that rest on it.
    RemoveConsent {
        /// Its tenant.
        tenant: String,
        /// The person.
        user_id: String,
        /// The client.
        client_id: String,
    },
}

impl Change {
    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match self {
            Self::Push(row) => &row.tenant,
            Self::Grant(row) => &row.tenant,
            Self::BeginLine(row) => &row.tenant,
            Self::PutConsent { row, .. } => &row.tenant,
            Self::Complete { tenant, .. }
            | Self::UseGrant { tenant, .. }
            | Self::Rotate { tenant, .. }
            | Self::Used { tenant, .. }
            | Self::RemoveConsent { tenant, .. } => tenant,
        }
    }
}

pub(super) async fn apply(db: &impl ConnectionTrait, change: &Change) -> Result<Made, DbErr> {
    let made = match change {
        Change::Push(row) => insert_or_ignore(db, row.clone().into_active_model()).await?,
        Change::Complete { tenant, digest } => {
            let key = (tenant.clone(), digest.clone());
            // It may have expired and been forgotten while the person made up their mind.
            pushed_request::Entity::delete_by_id(key).exec(db).await?;
            1
        }
        Change::Grant(row) => return grant(db, row).await,
        Change::UseGrant { tenant, id, at } => {
            grant::Entity::update_many()
                .col_expr(grant::Column::UsedAt, Expr::val(*at))
                .filter(grant::Column::Tenant.eq(tenant))
                .filter(grant::Column::Id.eq(id))
                .exec(db)
                .await?;
            1
        }
        Change::BeginLine(row) => begin_line(db, row).await?,
        Change::Rotate {
            tenant,
            id,
            from,
            at,
            rotations,
            expires_at,
        } => {
            use refresh_token::Column;
            let changed = refresh_token::Entity::update_many()
                .col_expr(Column::Generation, Expr::val(from + 1))
                .col_expr(Column::Rotations, Expr::val(rotations))
                .col_expr(Column::UsedAt, Expr::val(*at))
                .col_expr(Column::ExpiresAt, Expr::val(*expires_at))
                .filter(line(tenant, id))
                .filter(Column::Generation.eq(*from))
                .exec(db)
                .await?;
            changed.rows_affected
        }
        Change::Used {
            tenant,
            id,
            at,
            expires_at,
        } => {
            use refresh_token::Column;
            let changed = refresh_token::Entity::update_many()
                .col_expr(Column::UsedAt, Expr::val(*at))
                .col_expr(Column::ExpiresAt, Expr::val(*expires_at))
                .filter(line(tenant, id))
                .exec(db)
                .await?;
            changed.rows_affected
        }
        Change::PutConsent { row, before } => put_consent(db, row, before.as_deref()).await?,
        Change::RemoveConsent {
            tenant,
            user_id,
            client_id,
        } => {
            return remove_consent(db, tenant, user_id, client_id).await;
        }
    };
    Ok(Made::if_one(made))
}

fn line(tenant: &str, id: &str) -> Condition {
    Condition::all()
        .add(refresh_token::Column::Tenant.eq(tenant))
        .add(refresh_token::Column::Id.eq(id))
}

/// What it belongs to may have ended since.
async fn begin_line(db: &impl ConnectionTrait, row: &refresh_token::Model) -> Result<u64, DbErr> {
    grants::hold_grants(db, &row.tenant, grants::Hold::ToMake).await?;
    let key = (row.tenant.clone(), row.grant_id.clone());
    if grant::Entity::find_by_id(key).one(db).await?.is_none() {
        return Ok(0);
    }
    insert_or_ignore(db, row.clone().into_active_model()).await
}

/// The person may have taken it back since the code was made.
async fn grant(db: &impl ConnectionTrait, row: &grant::Model) -> Result<Made, DbErr> {
    grants::hold_grants(db, &row.tenant, grants::Hold::ToMake).await?;
    let given = (
        row.tenant.clone(),
        row.subject.clone(),
        row.client_id.clone(),
    );
    if consent::Entity::find_by_id(given).one(db).await?.is_none() {
        return Ok(Made::No);
    }
    // What ends with a session does not outlive it.
    if let Some(sid) = &row.session {
        let theirs = session::Entity::find()
            .filter(session::Column::Tenant.eq(&row.tenant))
            .filter(session::Column::Sid.eq(sid));
        if theirs.one(db).await?.is_none() {
            return Ok(Made::No);
        }
    }
    let made = put_grant(db, row).await?;
    Ok(match made {
        Made::AsAsked => Made::Instead(vec![change::Change::PutGrant(row.clone())]),
        other => other,
    })
}

async fn put_consent(
    db: &impl ConnectionTrait,
    row: &consent::Model,
    before: Option<&consent::Model>,
) -> Result<u64, DbErr> {
    use consent::Column;
    // The client may have been removed since it was shown, and must not be until this is written.
    grants::hold_grants(db, &row.tenant, grants::Hold::ToMake).await?;
    let holder = (row.tenant.clone(), row.client_id.clone());
    let holder = client::Entity::find_by_id(holder).one(db).await?;
    if holder.is_none_or(|client| client.disabled) {
        return Ok(0);
    }
    let model = row.clone().into_active_model();
    match before {
        None => insert_or_ignore(db, model).await,
        Some(before) => {
            let unchanged = Condition::all()
                .add(Column::Tenant.eq(&row.tenant))
                .add(Column::UserId.eq(&row.user_id))
                .add(Column::ClientId.eq(&row.client_id))
                .add(Column::Document.eq(&before.document))
                .add(Column::CreatedAt.eq(before.created_at));
            update(db, sea_orm::ActiveModelTrait::reset_all(model), unchanged).await
        }
    }
}

/// The grants are looked up within the transaction: one that is made at the same time finds the
/// consent gone, or is found here.
async fn remove_consent(
    db: &impl ConnectionTrait,
    tenant: &str,
    user_id: &str,
    client_id: &str,
) -> Result<Made, DbErr> {
    grants::hold_grants(db, tenant, grants::Hold::ToEnd).await?;
    let key = (tenant.to_owned(), user_id.to_owned(), client_id.to_owned());
    consent::Entity::delete_by_id(key).exec(db).await?;
    let theirs = grant::Entity::find()
        .filter(grant::Column::Tenant.eq(tenant))
        .filter(grant::Column::Subject.eq(user_id))
        .filter(grant::Column::ClientId.eq(client_id))
        .all(db)
        .await?;
    end_each(db, tenant, theirs).await.map(Made::Instead)
}

async fn end_each(
    db: &impl ConnectionTrait,
    tenant: &str,
    rows: Vec<grant::Model>,
) -> Result<Vec<change::Change>, DbErr> {
    let mut ended = Vec::with_capacity(rows.len());
    for row in rows {
        ended.push(grants::end_grants(db, tenant, Whose::Grant(row.id)).await?);
    }
    Ok(ended)
}

/// Ends the lines of these grants.
pub(super) async fn end_lines(
    db: &impl ConnectionTrait,
    tenant: &str,
    grants: &[String],
) -> Result<(), DbErr> {
    refresh_token::Entity::delete_many()
        .filter(refresh_token::Column::Tenant.eq(tenant))
        .filter(refresh_token::Column::GrantId.is_in(grants))
        .exec(db)
        .await
        .map(drop)
}

/// Takes back what people let a client have that is gone.
pub(super) async fn end_consents(
    db: &impl ConnectionTrait,
    tenant: &str,
    client_id: &str,
) -> Result<(), DbErr> {
    consent::Entity::delete_many()
        .filter(consent::Column::Tenant.eq(tenant))
        .filter(consent::Column::ClientId.eq(client_id))
        .exec(db)
        .await
        .map(drop)
}

/// Takes back what a person let clients have who is gone.
pub(super) async fn end_consents_of(
    db: &impl ConnectionTrait,
    tenant: &str,
    user_id: &str,
) -> Result<(), DbErr> {
    consent::Entity::delete_many()
        .filter(consent::Column::Tenant.eq(tenant))
        .filter(consent::Column::UserId.eq(user_id))
        .exec(db)
        .await
        .map(drop)
}

/// Ends the grants that end with these sessions, also with those that timed out before and are no
/// rows any more.
pub(super) async fn end_with_sessions(
    db: &impl ConnectionTrait,
    tenant: &str,
    which: &Sessions,
) -> Result<Vec<change::Change>, DbErr> {
    use grant::Column;
    let theirs = grant::Entity::find()
        .filter(Column::Tenant.eq(tenant))
        // Some end with no session: they were given for longer.
        .filter(Column::Session.is_not_null())
        .filter(which.which(Column::Session, Column::Subject))
        .all(db)
        .await?;
    end_each(db, tenant, theirs).await
}

/// Forgets what has ended by itself; says which grants have.
pub(super) async fn forget(
    db: &impl ConnectionTrait,
    before: i64,
) -> Result<Vec<change::Change>, DbErr> {
    pushed_request::Entity::delete_many()
        .filter(pushed_request::Column::ExpiresAt.lt(before))
        .exec(db)
        .await?;
    // An access token may hang from a line that has just ended.
    let mut gone = forget_lines(db, before - LONGEST_LIFETIME).await?;
    let over = grant::Entity::find()
        .filter(grant::Column::ExpiresAt.lt(before))
        .limit(grants::MANY_IDS as u64)
        .all(db)
        .await?;
    gone.extend(over);
    Ok(grants::over(gone))
}

/// Forgets lines that nobody goes on with; says which grants have none left.
async fn forget_lines(db: &impl ConnectionTrait, before: i64) -> Result<Vec<grant::Model>, DbErr> {
    use refresh_token::{Column, Entity};
    let over = Entity::find()
        .filter(Column::ExpiresAt.lt(before))
        .limit(grants::MANY_IDS as u64)
        .all(db)
        .await?;
    let mut gone = Vec::new();
    for line in over {
        let key = (line.tenant.clone(), line.id);
        Entity::delete_by_id(key).exec(db).await?;
        let others = Entity::find()
            .filter(Column::Tenant.eq(&line.tenant))
            .filter(Column::GrantId.eq(&line.grant_id));
        if others.one(db).await?.is_none() {
            let key = (line.tenant, line.grant_id);
            gone.extend(grant::Entity::find_by_id(key).one(db).await?);
        }
    }
    Ok(gone)
}

/// A pushed request that still holds.
///
/// # Errors
/// When the database does.
pub async fn pushed(
    db: &impl ConnectionTrait,
    tenant: &str,
    digest: &[u8],
    now: i64,
) -> Result<Option<pushed_request::Model>, DbErr> {
    let key = (tenant.to_owned(), digest.to_vec());
    let row = pushed_request::Entity::find_by_id(key).one(db).await?;
    Ok(row.filter(|row| now < row.expires_at))
}

/// A line of refresh tokens.
///
/// # Errors
/// When the database does.
pub async fn refresh_line(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<Option<refresh_token::Model>, DbErr> {
    let key = (tenant.to_owned(), id.to_owned());
    refresh_token::Entity::find_by_id(key).one(db).await
}

/// What a person lets a client have.
///
/// # Errors
/// When the database does.
pub async fn consent(
    db: &impl ConnectionTrait,
    tenant: &str,
    user_id: &str,
    client_id: &str,
) -> Result<Option<consent::Model>, DbErr> {
    let key = (tenant.to_owned(), user_id.to_owned(), client_id.to_owned());
    consent::Entity::find_by_id(key).one(db).await
}

/// What a person lets clients have.
///
/// # Errors
/// When the database does.
pub async fn consents(
    db: &impl ConnectionTrait,
    tenant: &str,
    user_id: &str,
) -> Result<Vec<consent::Model>, DbErr> {
    consent::Entity::find()
        .filter(consent::Column::Tenant.eq(tenant))
        .filter(consent::Column::UserId.eq(user_id))
        .all(db)
        .await
}

/// The grants in a person's name that have not ended: those that they gave, and those that were
/// derived from one.
///
/// # Errors
/// When the database does.
pub async fn grants_of(
    db: &impl ConnectionTrait,
    tenant: &str,
    user_id: &str,
    now: i64,
) -> Result<Vec<grant::Model>, DbErr> {
    use grant::Column;
    let holds = Condition::any()
        .add(Column::ExpiresAt.is_null())
        .add(Column::ExpiresAt.gt(now));
    grant::Entity::find()
        .filter(Column::Tenant.eq(tenant))
        .filter(Column::Subject.eq(user_id))
        .filter(holds)
        .all(db)
        .await
}

/// Whose grants end with a session, if there are any.
///
/// # Errors
/// When the database does.
pub async fn subject_in_session(
    db: &impl ConnectionTrait,
    tenant: &str,
    sid: &str,
) -> Result<Option<String>, DbErr> {
    let any = grant::Entity::find()
        .filter(grant::Column::Tenant.eq(tenant))
        .filter(grant::Column::Session.eq(sid))
        .one(db)
        .await?;
    Ok(any.map(|grant| grant.subject))
}

/// The lines of refresh tokens of some grants.
///
/// # Errors
/// When the database does.
pub async fn lines_of(
    db: &impl ConnectionTrait,
    tenant: &str,
    grants: &[String],
) -> Result<Vec<refresh_token::Model>, DbErr> {
    let mut lines = Vec::new();
    for grants in grants.chunks(grants::MANY_IDS) {
        let of_these = refresh_token::Entity::find()
            .filter(refresh_token::Column::Tenant.eq(tenant))
            .filter(refresh_token::Column::GrantId.is_in(grants));
        lines.extend(of_these.all(db).await?);
    }
    Ok(lines)
}
