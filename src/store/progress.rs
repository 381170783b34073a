//! How far streams have been delivered, and which node pushes which.
//!
//! Progress only ever grows, whoever reports it: a node that has lost a stream and does not know
//! it yet can do no harm.

use std::collections::BTreeSet;

use entity::{courier, signal, stream_progress};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Statement, Value,
    sea_query::{ArrayType, Expr, OnConflict},
};

use super::array;

/// Places behind its position that are remembered of one stream. A receiver that takes everything
/// but one SET for so long is offered what else it acknowledges again, until it takes that one.
const MOST_SETTLED: usize = 10_000;
/// Places in one query.
const NAMED: usize = 500;

/// How far one stream has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its tenant.
    pub tenant: String,
    /// Its id.
    pub stream: String,
    /// Every signal up to this place is done with.
    pub position: i64,
    /// Places behind it that are done with too.
    pub settled: BTreeSet<i64>,
}

impl Step {
    /// From how it is stored.
    #[must_use]
    pub fn of(row: stream_progress::Model) -> Self {
        let settled = row.settled.split(' ').filter_map(|seq| seq.parse().ok());
        Self {
            settled: settled.collect(),
            tenant: row.tenant,
            stream: row.stream,
            position: row.position,
        }
    }

    /// With what another one says.
    fn join(mut self, other: &Self) -> Self {
        self.position = self.position.max(other.position);
        self.settled.extend(&other.settled);
        self.tidy();
        self
    }

    /// Forgets what the position says too, and what is too much.
    pub fn tidy(&mut self) {
        self.settled = self.settled.split_off(&(self.position + 1));
        while self.settled.len() > MOST_SETTLED {
            self.settled.pop_last();
        }
    }

    fn settled_text(&self) -> String {
        let places: Vec<String> = self.settled.iter().map(i64::to_string).collect();
        places.join(" ")
    }
}

/// A node's wish to push streams, beside those that it holds already.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The node.
    pub node: String,
    /// Those that it takes unless somebody else has: tenant and id.
    pub take: Vec<(String, String)>,
    /// Whether there is no other node: whoever is said to have them is gone.
    pub alone: bool,
    /// Those that others may have instead.
    pub release: Vec<(String, String)>,
    /// Unix milliseconds.
    pub now: i64,
    /// Until when, Unix milliseconds.
    pub until: i64,
}

/// Moves streams on.
///
/// # Errors
/// When the database does.
pub(super) async fn advance(db: &impl ConnectionTrait, steps: &[Step]) -> Result<(), DbErr> {
    let (plain, settling): (Vec<&Step>, Vec<&Step>) =
        steps.iter().partition(|step| step.settled.is_empty());
    for step in settling {
        // Another node may be told of other SETs of this stream at the same time.
        let key_of = (step.tenant.clone(), step.stream.clone());
        let stored = stream_progress::Entity::find_by_id(key_of).lock_exclusive();
        if let Some(stored) = stored.one(db).await? {
            let joined = Step::of(stored).join(step);
            stream_progress::Entity::update_many()
                .col_expr(
                    stream_progress::Column::Position,
                    Expr::val(joined.position),
                )
                .col_expr(
                    stream_progress::Column::Settled,
                    Expr::val(joined.settled_text()),
                )
                .filter(key(&step.tenant, &step.stream))
                .exec(db)
                .await?;
        }
    }
    if plain.is_empty() {
        return Ok(());
    }
    db.execute_raw(all_at_once(db.get_database_backend(), &plain))
        .await
        .map(drop)
}

/// One statement for however many.
fn all_at_once(backend: DbBackend, steps: &[&Step]) -> Statement {
    const SQLITE: &str = "UPDATE stream_progress SET position = step.value ->> 2 \
         FROM json_each($1) AS step WHERE tenant = step.value ->> 0 \
         AND stream = step.value ->> 1 AND position < step.value ->> 2";
    const POSTGRES: &str = "UPDATE stream_progress AS known SET position = step.position \
         FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS step(tenant, stream, position) \
         WHERE known.tenant = step.tenant AND known.stream = step.stream \
         AND known.position < step.position";
    if backend == DbBackend::Postgres {
        // In one order, so that nodes which move the same streams wait for each other in turn.
        let mut steps = steps.to_vec();
        steps.sort_by(|a, b| (&a.tenant, &a.stream).cmp(&(&b.tenant, &b.stream)));
        let column = |value: fn(&Step) -> Value| steps.iter().map(|step| value(step)).collect();
        let values = [
            array(ArrayType::String, column(|step| step.tenant.clone().into())),
            array(ArrayType::String, column(|step| step.stream.clone().into())),
            array(ArrayType::BigInt, column(|step| step.position.into())),
        ];
        return Statement::from_sql_and_values(backend, POSTGRES, values);
    }
    let steps: Vec<_> = steps
        .iter()
        .map(|step| (&step.tenant, &step.stream, step.position))
        .collect();
    let steps = serde_json::json!(steps).to_string();
    Statement::from_sql_and_values(backend, SQLITE, [steps.into()])
}

/// How far a stream has come; nothing when there is none.
///
/// # Errors
/// When the database does.
pub async fn of(
    db: &impl ConnectionTrait,
    tenant: &str,
    stream: &str,
) -> Result<Option<Step>, DbErr> {
    let key = (tenant.to_owned(), stream.to_owned());
    let row = stream_progress::Entity::find_by_id(key).one(db).await?;
    Ok(row.map(Step::of))
}

/// A tenant's signals at the places that a receiver names.
///
/// # Errors
/// When the database does.
pub async fn named(
    db: &impl ConnectionTrait,
    tenant: &str,
    places: &[i64],
) -> Result<Vec<signal::Model>, DbErr> {
    let mut signals = Vec::new();
    for places in places.chunks(NAMED) {
        let these = signal::Entity::find()
            .filter(signal::Column::Seq.is_in(places.iter().copied()))
            .filter(signal::Column::Tenant.eq(tenant));
        signals.extend(these.all(db).await?);
    }
    Ok(signals)
}

/// Takes streams that nobody holds, goes on holding the node's own, and says that it is there.
pub(super) async fn hold(db: &impl ConnectionTrait, hold: &Hold) -> Result<(), DbErr> {
    use stream_progress::Column;
    let here = courier::Model {
        node: hold.node.clone(),
        until: hold.until,
    };
    courier::Entity::insert(here.into_active_model())
        .on_conflict(
            OnConflict::column(courier::Column::Node)
                .update_column(courier::Column::Until)
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    let own = Condition::all().add(Column::Node.eq(&hold.node));
    let free = (!hold.alone).then(|| Column::HeldUntil.lt(hold.now));
    let free = Condition::all().add_option(free);
    set_holder(db, &hold.node, hold.until, own.clone()).await?;
    for (streams, node, until, whose) in [
        (&hold.take, hold.node.as_str(), hold.until, free),
        (&hold.release, "", 0, own),
    ] {
        for streams in streams.chunks(super::CHUNK) {
            let these = streams.iter().map(|(tenant, stream)| key(tenant, stream));
            let these = these.fold(Condition::any(), Condition::add);
            let these = Condition::all().add(whose.clone()).add(these);
            set_holder(db, node, until, these).await?;
        }
    }
    Ok(())
}

async fn set_holder(
    db: &impl ConnectionTrait,
    node: &str,
    until: i64,
    these: Condition,
) -> Result<(), DbErr> {
    stream_progress::Entity::update_many()
        .col_expr(stream_progress::Column::Node, Expr::val(node))
        .col_expr(stream_progress::Column::HeldUntil, Expr::val(until))
        .filter(these)
        .exec(db)
        .await
        .map(drop)
}

fn key(tenant: &str, stream: &str) -> Condition {
    Condition::all()
        .add(stream_progress::Column::Tenant.eq(tenant))
        .add(stream_progress::Column::Stream.eq(stream))
}

/// Remembers when the receiver of a stream was there.
pub(super) async fn active(
    db: &impl ConnectionTrait,
    tenant: &str,
    stream: &str,
    at: i64,
) -> Result<(), DbErr> {
    stream_progress::Entity::update_many()
        .col_expr(stream_progress::Column::ActiveAt, Expr::val(at))
        .filter(key(tenant, stream))
        .filter(stream_progress::Column::ActiveAt.lt(at))
        .exec(db)
        .await
        .map(drop)
}

/// Those of some streams of a tenant whose receivers were last there before a time, the longest
/// away first.
///
/// # Errors
/// When the database does.
pub async fn idle(
    db: &impl ConnectionTrait,
    tenant: &str,
    streams: &[&str],
    before: i64,
) -> Result<Vec<String>, DbErr> {
    stream_progress::Entity::find()
        .select_only()
        .column(stream_progress::Column::Stream)
        .filter(stream_progress::Column::Tenant.eq(tenant))
        .filter(stream_progress::Column::Stream.is_in(streams.iter().copied()))
        .filter(stream_progress::Column::ActiveAt.lt(before))
        .order_by_asc(stream_progress::Column::ActiveAt)
        .order_by_asc(stream_progress::Column::Stream)
        .into_tuple()
        .all(db)
        .await
}

/// The streams that are held, and by which node.
///
/// # Errors
/// When the database does.
pub async fn held(
    db: &impl ConnectionTrait,
    now: i64,
) -> Result<Vec<stream_progress::Model>, DbErr> {
    stream_progress::Entity::find()
        .filter(stream_progress::Column::HeldUntil.gte(now))
        .all(db)
        .await
}

/// How many other nodes push.
///
/// # Errors
/// When the database does.
pub async fn other_couriers(
    db: &impl ConnectionTrait,
    node: &str,
    now: i64,
) -> Result<usize, DbErr> {
    let others = courier::Entity::find()
        .filter(courier::Column::Until.gte(now))
        .filter(courier::Column::Node.ne(node))
        .count(db)
        .await?;
    Ok(usize::try_from(others).unwrap_or(usize::MAX))
}
