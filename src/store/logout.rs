//! Clients that have had an ID token in a session, and are told when it ends.

use std::collections::BTreeSet;

use entity::{logout, session};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, Query},
};

use super::change::{Made, insert_or_ignore};

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Remembers that a client has had an ID token in a session. When that has ended meanwhile, it
    /// is told at once.
    Remember(logout::Model),
    /// Begins an attempt to tell: until `next` nobody else does.
    Take {
        /// The row, which must stand unchanged.
        row: logout::Model,
        /// When it is tried again, Unix seconds.
        next: i64,
    },
    /// It has been told, or cannot be.
    Done {
        /// The tenant.
        tenant: String,
        /// The session's public id.
        sid: String,
        /// The client.
        client_id: String,
    },
}

impl Change {
    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match self {
            Self::Remember(row) | Self::Take { row, .. } => &row.tenant,
            Self::Done { tenant, .. } => tenant,
        }
    }
}

/// Makes one change.
pub(super) async fn apply(db: &impl ConnectionTrait, change: &Change) -> Result<Made, DbErr> {
    use logout::Column;
    match change {
        Change::Remember(row) => {
            let theirs = session::Entity::find()
                .filter(session::Column::Tenant.eq(&row.tenant))
                .filter(session::Column::Sid.eq(&row.sid));
            let over = theirs.lock_shared().one(db).await?.is_none();
            let row = logout::Model {
                due_at: over.then_some(0),
                ..row.clone()
            };
            insert_or_ignore(db, row.into_active_model()).await?;
            Ok(Made::AsAsked)
        }
        Change::Take { row, next } => {
            let taken = logout::Entity::update_many()
                .col_expr(Column::DueAt, Expr::val(*next))
                .col_expr(Column::Attempts, Expr::val(row.attempts + 1))
                .filter(one(&row.tenant, &row.sid, &row.client_id))
                .filter(Column::DueAt.eq(row.due_at))
                .filter(Column::Attempts.eq(row.attempts))
                .exec(db)
                .await?;
            Ok(Made::if_one(taken.rows_affected))
        }
        Change::Done {
            tenant,
            sid,
            client_id,
        } => {
            logout::Entity::delete_many()
                .filter(one(tenant, sid, client_id))
                .exec(db)
                .await?;
            Ok(Made::AsAsked)
        }
    }
}

fn one(tenant: &str, sid: &str, client_id: &str) -> Condition {
    Condition::all()
        .add(logout::Column::Tenant.eq(tenant))
        .add(logout::Column::Sid.eq(sid))
        .add(logout::Column::ClientId.eq(client_id))
}

/// These clients are to be told: those of sessions that end now.
pub(super) async fn tell(
    db: &impl ConnectionTrait,
    tenant: &str,
    whose: Condition,
) -> Result<(), DbErr> {
    logout::Entity::update_many()
        .col_expr(logout::Column::DueAt, Expr::val(0_i64))
        .filter(logout::Column::Tenant.eq(tenant))
        .filter(logout::Column::DueAt.is_null())
        .filter(whose)
        .exec(db)
        .await
        .map(drop)
}

/// Forgets whom to tell of a session that somebody else has taken the place of: nobody is.
pub(super) async fn forget_session(
    db: &impl ConnectionTrait,
    tenant: &str,
    sid: &str,
) -> Result<(), DbErr> {
    logout::Entity::delete_many()
        .filter(logout::Column::Tenant.eq(tenant))
        .filter(logout::Column::Sid.eq(sid))
        .filter(logout::Column::DueAt.is_null())
        .exec(db)
        .await
        .map(drop)
}

/// Forgets whom to tell of sessions that have ended by themselves: nobody is.
pub(super) async fn forget(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let its_session = Query::select()
        .expr(Expr::val(1))
        .from(session::Entity)
        .and_where(
            Expr::col((session::Entity, session::Column::Tenant))
                .equals((logout::Entity, logout::Column::Tenant)),
        )
        .and_where(
            Expr::col((session::Entity, session::Column::Sid))
                .equals((logout::Entity, logout::Column::Sid)),
        )
        .take();
    logout::Entity::delete_many()
        .filter(logout::Column::DueAt.is_null())
        .filter(Expr::exists(its_session).not())
        .exec(db)
        .await
        .map(drop)
}

/// Whom to tell now, those who wait longest first, but for the clients of these tenants and ids.
///
/// # Errors
/// When the database does.
pub async fn due(
    db: &impl ConnectionTrait,
    now: i64,
    but: &BTreeSet<(String, String)>,
    limit: u64,
) -> Result<Vec<logout::Model>, DbErr> {
    use logout::Column::{ClientId, DueAt, Tenant};
    let these = but.iter().fold(Condition::any(), |these, (tenant, id)| {
        these.add(Condition::all().add(Tenant.eq(tenant)).add(ClientId.eq(id)))
    });
    let mut query = logout::Entity::find().filter(DueAt.lte(now));
    if !but.is_empty() {
        query = query.filter(these.not());
    }
    query.order_by_asc(DueAt).limit(limit).all(db).await
}
