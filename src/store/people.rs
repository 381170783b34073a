//! People: accounts, what they sign in with, where they are signed in.

use entity::{credential, logout as logout_row, session, user};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::{
    authorization,
    change::{self, Made, insert_or_ignore, lock, update},
    grants, logout,
};

/// Which sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// This one, by its public id.
    One(String),
    /// All of a person.
    Of(String),
    /// All of a person but this one.
    Others {
        /// The person.
        user: String,
        /// The public id of the one that stays.
        but: String,
    },
}

/// One change about people.
#[derive(Clone, Debug)]
pub enum Change {
    /// Writes an account. Nobody else of the tenant may have its name or verified address.
    PutUser {
        /// The row.
        row: Box<user::Model>,
        /// The row that it was made from, which must stand unchanged; none for a new account.
        before: Option<Box<user::Model>>,
    },
    /// Takes an account away, with its credentials and sessions.
    RemoveUser {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
    },
    /// Writes a credential of a person who is there.
    PutCredential {
        /// The row.
        row: Box<credential::Model>,
        /// The row that it was made from, which must stand unchanged; none for a new one.
        before: Option<Box<credential::Model>>,
    },
    /// Notes that a credential was used: its counter must rise, unless it never counts.
    UseCredential {
        /// Its tenant.
        tenant: String,
        /// Its id.
        id: String,
        /// Its secret as it was used, which it must still have.
        secret: Vec<u8>,
        /// The counter it has come to.
        counter: i64,
        /// Now, Unix seconds.
        at: i64,
    },
    /// Takes a credential away, which must be there: a recovery code is used up so.
    RemoveCredential {
        /// Its tenant.
        tenant: String,
        /// Whose.
        user: String,
        /// Its id.
        id: String,
        /// Kinds of which the person must keep another one; none when it need not be so.
        keeping: &'static [&'static str],
    },
    /// Takes away all credentials of a kind, if there are any.
    RemoveCredentials {
        /// Their tenant.
        tenant: String,
        /// Whose.
        user: String,
        /// What kind.
        kind: String,
    },
    /// Begins a session of a person who may sign in, or has it go on under another secret.
    PutSession(Box<session::Model>),
    /// Notes when a session was last seen.
    UseSession {
        /// Its tenant.
        tenant: String,
        /// Its public id.
        sid: String,
        /// Unix seconds.
        at: i64,
    },
    /// Ends sessions, if there are any.
    EndSessions {
        /// Their tenant.
        tenant: String,
        /// Which.
        which: Sessions,
    },
    /// Forgets a session and ends nothing with it.
    ForgetSession {
        /// Its tenant.
        tenant: String,
        /// Its public id.
        sid: String,
    },
    /// Forgets sessions that have ended by themselves.
    ForgetSessions {
        /// Now, Unix seconds.
        before: i64,
        /// When they must have been seen last.
        idle_since: i64,
    },
}

impl Change {
    /// The tenant it belongs to; none for the housekeeping of all.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::PutUser { row, .. } => Some(&row.tenant),
            Self::PutCredential { row, .. } => Some(&row.tenant),
            Self::PutSession(row) => Some(&row.tenant),
            Self::RemoveUser { tenant, .. }
            | Self::UseCredential { tenant, .. }
            | Self::RemoveCredential { tenant, .. }
            | Self::RemoveCredentials { tenant, .. }
            | Self::UseSession { tenant, .. }
            | Self::ForgetSession { tenant, .. }
            | Self::EndSessions { tenant, .. } => Some(tenant),
            Self::ForgetSessions { .. } => None,
        }
    }
}

/// Makes one change.
pub(super) async fn apply(db: &impl ConnectionTrait, change: &Change) -> Result<Made, DbErr> {
    match change {
        Change::PutUser { row, before } => put_user(db, row, before.as_deref()).await,
        Change::RemoveUser { tenant, id } => remove_user(db, tenant, id).await,
        Change::PutCredential { row, before } => put_credential(db, row, before.as_deref()).await,
        Change::UseCredential {
            tenant,
            id,
            secret,
            counter,
            at,
        } => use_credential(db, (tenant, id, secret), *counter, *at).await,
        Change::RemoveCredential {
            tenant,
            user,
            id,
            keeping,
        } => {
            if !keeping.is_empty() && !has_another(db, (tenant, user, id), keeping).await? {
                return Ok(Made::No);
            }
            let gone = credential::Entity::delete_by_id((tenant.clone(), id.clone()))
                .filter(credential::Column::UserId.eq(user))
                .exec(db)
                .await?;
            Ok(Made::if_one(gone.rows_affected))
        }
        Change::RemoveCredentials { tenant, user, kind } => {
            credential::Entity::delete_many()
                .filter(credential::Column::Tenant.eq(tenant))
                .filter(credential::Column::UserId.eq(user))
                .filter(credential::Column::Kind.eq(kind))
                .exec(db)
                .await?;
            Ok(Made::AsAsked)
        }
        Change::PutSession(row) => put_session(db, row).await,
        Change::UseSession { tenant, sid, at } => {
            session::Entity::update_many()
                .col_expr(session::Column::LastUsedAt, Expr::val(*at))
                .filter(session::Column::Tenant.eq(tenant))
                .filter(session::Column::Sid.eq(sid))
                .filter(session::Column::LastUsedAt.lt(*at))
                .exec(db)
                .await?;
            Ok(Made::AsAsked)
        }
        Change::EndSessions { tenant, which } => {
            // Nobody makes a grant in one of them meanwhile.
            grants::hold_grants(db, tenant, grants::Hold::ToEnd).await?;
            session::Entity::delete_many()
                .filter(session::Column::Tenant.eq(tenant))
                .filter(which.rows())
                .exec(db)
                .await?;
            logout::tell(db, tenant, which.told()).await?;
            let mut made = vec![change::Change::People(change.clone())];
            made.extend(authorization::end_with_sessions(db, tenant, which).await?);
            Ok(Made::Instead(made))
        }
        Change::ForgetSession { tenant, sid } => {
            session::Entity::delete_many()
                .filter(session::Column::Tenant.eq(tenant))
                .filter(session::Column::Sid.eq(sid))
                .exec(db)
                .await?;
            logout::forget_session(db, tenant, sid).await?;
            Ok(Made::AsAsked)
        }
        Change::ForgetSessions { before, idle_since } => {
            let over = Condition::any()
                .add(session::Column::ExpiresAt.lte(*before))
                .add(session::Column::LastUsedAt.lte(*idle_since));
            session::Entity::delete_many().filter(over).exec(db).await?;
            logout::forget(db).await?;
            Ok(Made::AsAsked)
        }
    }
}

impl Sessions {
    /// Themselves.
    fn rows(&self) -> Condition {
        use session::Column;
        self.which(Column::Sid, Column::UserId)
    }

    /// The clients that are told of their end.
    fn told(&self) -> Condition {
        use logout_row::Column;
        self.which(Column::Sid, Column::UserId)
    }

    /// Which rows belong to them, of a table that names sessions in one column and people in
    /// another.
    pub(super) fn which(&self, sid: impl ColumnTrait, user: impl ColumnTrait) -> Condition {
        let all = Condition::all();
        match self {
            Self::One(one) => all.add(sid.eq(one)),
            Self::Of(person) => all.add(user.eq(person)),
            Self::Others { user: person, but } => all.add(user.eq(person)).add(sid.ne(but)),
        }
    }
}

async fn put_user(
    db: &impl ConnectionTrait,
    row: &user::Model,
    before: Option<&user::Model>,
) -> Result<Made, DbErr> {
    use user::Column;
    // An update that breaks a unique index is an error, which would cost others their transaction:
    // nobody else takes a name while we look whether it is free.
    let names = format!("writ users {}", row.tenant);
    lock(db, &names, "pg_advisory_xact_lock").await?;
    let model = row.clone().into_active_model();
    let Some(before) = before else {
        return Ok(Made::if_one(insert_or_ignore(db, model).await?));
    };
    let others = Condition::any()
        .add(Column::UsernameKey.eq(&row.username_key))
        .add_option(row.email_key.as_ref().map(|key| Column::EmailKey.eq(key)));
    let taken = user::Entity::find()
        .filter(Column::Tenant.eq(&row.tenant))
        .filter(Column::Id.ne(&row.id))
        .filter(others)
        .count(db)
        .await?;
    if taken > 0 {
        return Ok(Made::No);
    }
    let unchanged = Condition::all()
        .add(Column::Tenant.eq(&row.tenant))
        .add(Column::Id.eq(&row.id))
        .add(Column::Username.eq(&before.username))
        .add(same(Column::Email, before.email.as_deref()))
        .add(Column::EmailVerified.eq(before.email_verified))
        .add(Column::Claims.eq(&before.claims))
        .add(Column::Disabled.eq(before.disabled));
    let written = update(db, model.reset_all(), unchanged).await?;
    Ok(Made::if_one(written))
}

/// `column = value`, where nothing equals nothing.
fn same(column: user::Column, value: Option<&str>) -> Condition {
    Condition::all().add(match value {
        Some(value) => column.eq(value),
        None => column.is_null(),
    })
}

/// The account's own row goes first: whoever is about to add something to it holds that.
async fn remove_user(db: &impl ConnectionTrait, tenant: &str, id: &str) -> Result<Made, DbErr> {
    let key = (tenant.to_owned(), id.to_owned());
    let gone = user::Entity::delete_by_id(key).exec(db).await?;
    credential::Entity::delete_many()
        .filter(credential::Column::Tenant.eq(tenant))
        .filter(credential::Column::UserId.eq(id))
        .exec(db)
        .await?;
    session::Entity::delete_many()
        .filter(session::Column::Tenant.eq(tenant))
        .filter(session::Column::UserId.eq(id))
        .exec(db)
        .await?;
    logout::tell(db, tenant, Sessions::Of(id.to_owned()).told()).await?;
    authorization::end_consents_of(db, tenant, id).await?;
    Ok(Made::if_one(gone.rows_affected))
}

/// A person's row as it is until this transaction ends, unless it is not there.
async fn held(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<Option<user::Model>, DbErr> {
    let key = (tenant.to_owned(), id.to_owned());
    user::Entity::find_by_id(key).lock_shared().one(db).await
}

/// Whether a person is there and may sign in, and so it stays until this transaction ends.
pub(super) async fn may_sign_in(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<bool, DbErr> {
    let row = held(db, tenant, id).await?;
    Ok(row.is_some_and(|row| !row.disabled))
}

async fn put_credential(
    db: &impl ConnectionTrait,
    row: &credential::Model,
    before: Option<&credential::Model>,
) -> Result<Made, DbErr> {
    use credential::Column;
    if held(db, &row.tenant, &row.user_id).await?.is_none() {
        return Ok(Made::No);
    }
    let model = row.clone().into_active_model();
    let Some(before) = before else {
        return Ok(Made::if_one(insert_or_ignore(db, model).await?));
    };
    let unchanged = Condition::all()
        .add(Column::Tenant.eq(&row.tenant))
        .add(Column::Id.eq(&row.id))
        .add(Column::UserId.eq(&row.user_id))
        .add(Column::Secret.eq(before.secret.as_slice()))
        .add(Column::Counter.eq(before.counter));
    let written = update(db, model.reset_all(), unchanged).await?;
    Ok(Made::if_one(written))
}

/// Whether a person has a credential of these kinds beside this one. Nobody else takes one away
/// from them until this transaction ends.
async fn has_another(
    db: &impl ConnectionTrait,
    (tenant, user, id): (&str, &str, &str),
    kinds: &'static [&'static str],
) -> Result<bool, DbErr> {
    use credential::Column;
    let key = (tenant.to_owned(), user.to_owned());
    let person = user::Entity::find_by_id(key).lock_exclusive();
    if person.one(db).await?.is_none() {
        return Ok(false);
    }
    let others = credential::Entity::find()
        .filter(Column::Tenant.eq(tenant))
        .filter(Column::UserId.eq(user))
        .filter(Column::Id.ne(id))
        .filter(Column::Kind.is_in(kinds.iter().copied()));
    Ok(others.count(db).await? > 0)
}

async fn use_credential(
    db: &impl ConnectionTrait,
    (tenant, id, secret): (&str, &str, &[u8]),
    counter: i64,
    at: i64,
) -> Result<Made, DbErr> {
    use credential::Column;
    let rises = match counter {
        // An authenticator that never counts (WebAuthn level 2 §6.1.1).
        0 => Column::Counter.eq(0),
        _ => Column::Counter.lt(counter),
    };
    let used = credential::Entity::update_many()
        .col_expr(Column::Counter, Expr::val(counter))
        .col_expr(Column::LastUsedAt, Expr::val(at))
        .filter(Column::Tenant.eq(tenant))
        .filter(Column::Id.eq(id))
        .filter(Column::Secret.eq(secret))
        .filter(rises)
        .exec(db)
        .await?;
    Ok(Made::if_one(used.rows_affected))
}

async fn put_session(db: &impl ConnectionTrait, row: &session::Model) -> Result<Made, DbErr> {
    if !may_sign_in(db, &row.tenant, &row.user_id).await? {
        return Ok(Made::No);
    }
    let model = row.clone().into_active_model();
    let same = Condition::all()
        .add(session::Column::Tenant.eq(&row.tenant))
        .add(session::Column::Sid.eq(&row.sid))
        .add(session::Column::UserId.eq(&row.user_id));
    if update(db, model.clone().reset_all(), same).await? == 1 {
        return Ok(Made::AsAsked);
    }
    Ok(Made::if_one(insert_or_ignore(db, model).await?))
}

/// The account with this id.
///
/// # Errors
/// When the database does.
pub async fn user(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<Option<user::Model>, DbErr> {
    let key = (tenant.to_owned(), id.to_owned());
    user::Entity::find_by_id(key).one(db).await
}

/// The account with this name, as names are compared.
///
/// # Errors
/// When the database does.
pub async fn user_named(
    db: &impl ConnectionTrait,
    tenant: &str,
    key: &str,
) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find()
        .filter(user::Column::Tenant.eq(tenant))
        .filter(user::Column::UsernameKey.eq(key))
        .one(db)
        .await
}

/// The account with this verified address, as addresses are compared.
///
/// # Errors
/// When the database does.
pub async fn user_at(
    db: &impl ConnectionTrait,
    tenant: &str,
    key: &str,
) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find()
        .filter(user::Column::Tenant.eq(tenant))
        .filter(user::Column::EmailKey.eq(key))
        .one(db)
        .await
}

/// A tenant's accounts in the order of their names, those after `after`, as names are compared.
///
/// # Errors
/// When the database does.
pub async fn users(
    db: &impl ConnectionTrait,
    tenant: &str,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<user::Model>, DbErr> {
    let after = after.map(|key| Expr::col(user::Column::UsernameKey).gt(key));
    user::Entity::find()
        .filter(user::Column::Tenant.eq(tenant))
        .filter(Condition::all().add_option(after))
        .order_by_asc(user::Column::UsernameKey)
        .limit(limit)
        .all(db)
        .await
}

/// What a person signs in with, in the order in which it came.
///
/// # Errors
/// When the database does.
pub async fn credentials(
    db: &impl ConnectionTrait,
    tenant: &str,
    user: &str,
) -> Result<Vec<credential::Model>, DbErr> {
    credential::Entity::find()
        .filter(credential::Column::Tenant.eq(tenant))
        .filter(credential::Column::UserId.eq(user))
        .order_by_asc(credential::Column::CreatedAt)
        .order_by_asc(credential::Column::Id)
        .all(db)
        .await
}

/// The credential with this id.
///
/// # Errors
/// When the database does.
pub async fn credential(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: &str,
) -> Result<Option<credential::Model>, DbErr> {
    let key = (tenant.to_owned(), id.to_owned());
    credential::Entity::find_by_id(key).one(db).await
}

/// The session whose secret has this SHA-256.
///
/// # Errors
/// When the database does.
pub async fn session(
    db: &impl ConnectionTrait,
    tenant: &str,
    digest: &[u8],
) -> Result<Option<session::Model>, DbErr> {
    session::Entity::find()
        .filter(session::Column::Tenant.eq(tenant))
        .filter(session::Column::Digest.eq(digest))
        .one(db)
        .await
}

/// The session of this public id.
///
/// # Errors
/// When the database does.
pub async fn session_called(
    db: &impl ConnectionTrait,
    tenant: &str,
    sid: &str,
) -> Result<Option<session::Model>, DbErr> {
    let key = (tenant.to_owned(), sid.to_owned());
    session::Entity::find_by_id(key).one(db).await
}

/// A person's sessions, the last used first.
///
/// # Errors
/// When the database does.
pub async fn sessions(
    db: &impl ConnectionTrait,
    tenant: &str,
    user: &str,
) -> Result<Vec<session::Model>, DbErr> {
    session::Entity::find()
        .filter(session::Column::Tenant.eq(tenant))
        .filter(session::Column::UserId.eq(user))
        .order_by_desc(session::Column::LastUsedAt)
        .order_by_asc(session::Column::Sid)
        .all(db)
        .await
}
