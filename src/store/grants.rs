//! Grants: written while their ground stands, and ended with everything that was derived from them.

use std::collections::{BTreeMap, BTreeSet};

use entity::{client, grant, resource};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _,
    sea_query::{Alias, Expr, ExprTrait as _, LikeExpr, Query},
};

use super::{
    authorization,
    change::{Change, Made, apply, insert_or_ignore, lock},
    people,
};

/// Ids in one statement, below any parameter limit: others wait while grants end.
pub(super) const MANY_IDS: usize = 10_000;

/// How the identity of a grant begins that a person gave.
pub const PERSON: &str = "person ";

/// Whose grants end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This one.
    Grant(String),
    /// All of a client.
    Client(String),
    /// All that speak for a subject.
    Subject(String),
    /// All for a resource, by its reference.
    Resource(String),
    /// All of the tenant.
    All,
}

impl Whose {
    /// Whether a grant is among them.
    #[must_use]
    pub fn includes(&self, row: &grant::Model) -> bool {
        match self {
            Self::Grant(id) => row.id == *id,
            Self::Client(id) => row.client_id == *id,
            Self::Subject(subject) => row.subject == *subject,
            Self::Resource(reference) => row.resources.split(' ').any(|r| r == reference),
            Self::All => true,
        }
    }

    /// The rows, as far as SQL can tell them apart.
    fn condition(&self) -> Condition {
        let all = Condition::all();
        match self {
            Self::Grant(id) => all.add(grant::Column::Id.eq(id)),
            Self::Client(id) => all.add(grant::Column::ClientId.eq(id)),
            Self::Subject(subject) => all.add(grant::Column::Subject.eq(subject)),
            Self::Resource(reference) => {
                // References are URIs or ids: no spaces, so a space on both sides finds one.
                let escaped = reference
                    .replace('\\', "\\\\")
                    .replace('%', "\\%")
                    .replace('_', "\\_");
                let pattern = LikeExpr::new(format!("%{escaped}%")).escape('\\');
                all.add(grant::Column::Resources.into_expr().like(pattern))
            }
            Self::All => all,
        }
    }
}

/// Grants that ended together, as far as others have to be told.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose.
    pub whose: Whose,
    /// Those which that does not say: each is told by itself. What was derived from a grant ends
    /// with it.
    pub each: Vec<grant::Model>,
    /// References of the resources of all of them.
    pub resources: Vec<String>,
}

/// Whoever comes second uses the first one's grant.
pub(super) async fn put_grant(
    db: &impl ConnectionTrait,
    row: &grant::Model,
) -> Result<Made, DbErr> {
    hold_grants(db, &row.tenant, Hold::ToMake).await?;
    let holder = (row.tenant.clone(), row.client_id.clone());
    let holder = client::Entity::find_by_id(holder).one(db).await?;
    if holder.is_none_or(|client| client.disabled) || !are_there(db, row).await? {
        return Ok(Made::No);
    }
    let of_person = row.identity.starts_with(PERSON);
    if of_person && !people::may_sign_in(db, &row.tenant, &row.subject).await? {
        return Ok(Made::No);
    }
    if insert_or_ignore(db, row.clone().into_active_model()).await? == 1 {
        return Ok(Made::AsAsked);
    }
    let first = grant::Entity::find()
        .filter(grant::Column::Tenant.eq(&row.tenant))
        .filter(grant::Column::Identity.eq(&row.identity))
        .one(db)
        .await?;
    Ok(first.map_or(Made::No, |first| {
        Made::Instead(vec![Change::PutGrant(first)])
    }))
}

/// Whether the resources of a grant exist: one may have been removed since this was decided. The
/// admin API is in no table.
async fn are_there(db: &impl ConnectionTrait, row: &grant::Model) -> Result<bool, DbErr> {
    let named = row.resources.split(' ').filter(|r| r.contains(':'));
    let named: BTreeSet<&str> = named.collect();
    if named.is_empty() {
        return Ok(true);
    }
    let found = resource::Entity::find()
        .filter(resource::Column::Tenant.eq(&row.tenant))
        .filter(resource::Column::Normalised.is_in(named.iter().copied()))
        .count(db)
        .await?;
    Ok(found == named.len() as u64)
}

/// What a transaction is about to do with a tenant's grants.
pub(super) enum Hold {
    /// Make one: others may too.
    ToMake,
    /// End some: all that are made so far, and none meanwhile.
    ToEnd,
}

/// Until the transaction ends, no other node ends grants while one is made, nor makes one while
/// they are ended: one that was answered before would outlive them.
pub(super) async fn hold_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    hold: Hold,
) -> Result<(), DbErr> {
    let function = match hold {
        Hold::ToMake => "pg_advisory_xact_lock_shared",
        Hold::ToEnd => "pg_advisory_xact_lock",
    };
    lock(db, &format!("writ grants {tenant}"), function).await
}

pub(super) async fn end_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    whose: Whose,
) -> Result<Change, DbErr> {
    hold_grants(db, tenant, Hold::ToEnd).await?;
    let rows = find_grants(db, tenant, &whose).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let derived = derived_from(db, tenant, &ids).await?;
    let change = Change::GrantsEnded {
        tenant: tenant.to_owned(),
        ids,
        ended: Some(Box::new(Ended::new(whose, rows, derived))),
    };
    Box::pin(apply(db, &change)).await?;
    Ok(change)
}

impl Ended {
    fn new(whose: Whose, rows: Vec<grant::Model>, derived: Vec<grant::Model>) -> Self {
        let all = rows.iter().chain(&derived);
        let resources = all.flat_map(|row| row.resources.split(' '));
        let resources: BTreeSet<String> = resources.map(str::to_owned).collect();
        let each = match &whose {
            Whose::Grant(_) => rows.into_iter().chain(derived).collect(),
            // It ends with the tenant, or is among them already.
            Whose::All => Vec::new(),
            whose => {
                let others = derived.into_iter().filter(|row| !whose.includes(row));
                others.collect()
            }
        };
        Self {
            whose,
            each,
            resources: resources.into_iter().collect(),
        }
    }
}

/// Grants that were derived from these, and from those, which are not among them.
async fn derived_from(
    db: &impl ConnectionTrait,
    tenant: &str,
    ids: &[String],
) -> Result<Vec<grant::Model>, DbErr> {
    let mut seen: BTreeSet<String> = ids.iter().cloned().collect();
    let (mut derived, mut parents) = (Vec::new(), ids.to_vec());
    while !parents.is_empty() {
        let mut children = Vec::new();
        for parents in parents.chunks(MANY_IDS) {
            let query = grant::Entity::find()
                .filter(grant::Column::Tenant.eq(tenant))
                .filter(grant::Column::Parent.is_in(parents));
            children.extend(query.all(db).await?);
        }
        children.retain(|row| seen.insert(row.id.clone()));
        parents = children.iter().map(|row| row.id.clone()).collect();
        derived.extend(children);
    }
    Ok(derived)
}

/// Takes grants away, with the refresh tokens that hang from them.
pub(super) async fn remove_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    ids: &[String],
) -> Result<(), DbErr> {
    for ids in ids.chunks(MANY_IDS) {
        grant::Entity::delete_many()
            .filter(grant::Column::Tenant.eq(tenant))
            .filter(grant::Column::Id.is_in(ids))
            .exec(db)
            .await?;
        authorization::end_lines(db, tenant, ids).await?;
    }
    Ok(())
}

/// Level by level: what hung from an orphan is one now.
pub(super) async fn forget_orphaned_grants(
    db: &impl ConnectionTrait,
) -> Result<Vec<Change>, DbErr> {
    let parent = Alias::new("parent_grant");
    let its_parent = Query::select()
        .expr(Expr::val(1))
        .from_as(grant::Entity, parent.clone())
        .and_where(
            Expr::col((parent.clone(), grant::Column::Tenant))
                .equals((grant::Entity, grant::Column::Tenant)),
        )
        .and_where(
            Expr::col((parent, grant::Column::Id)).equals((grant::Entity, grant::Column::Parent)),
        )
        .take();
    let orphans = grant::Entity::find()
        .filter(grant::Column::Parent.is_not_null())
        .filter(Expr::exists(its_parent).not());
    let mut changes = Vec::new();
    loop {
        let gone = over(orphans.clone().all(db).await?);
        if gone.is_empty() {
            return Ok(changes);
        }
        for change in gone {
            Box::pin(apply(db, &change)).await?;
            changes.push(change);
        }
    }
}

/// The end of grants of which nobody has to be told: no token hangs from them that still holds.
pub(super) fn over(rows: Vec<grant::Model>) -> Vec<Change> {
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        ids.entry(row.tenant).or_default().push(row.id);
    }
    let ended = |(tenant, ids)| Change::GrantsEnded {
        tenant,
        ids,
        ended: None,
    };
    ids.into_iter().map(ended).collect()
}

/// These grants.
///
/// # Errors
/// When the database does.
pub async fn find_grants(
    db: &impl ConnectionTrait,
    tenant: &str,
    whose: &Whose,
) -> Result<Vec<grant::Model>, DbErr> {
    let mut found = grant::Entity::find()
        .filter(grant::Column::Tenant.eq(tenant))
        .filter(whose.condition())
        .all(db)
        .await?;
    found.retain(|row| whose.includes(row));
    Ok(found)
}
