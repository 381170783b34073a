//! Which events are wanted, and the next of them: all nodes' chains in the order of time.
//!
//! The database leaves out most of what is not wanted, by time and by text; what it lets through is
//! judged here, exactly. One call looks at a bounded number of rows and says where to go on.

use std::collections::{BTreeMap, VecDeque};

use entity::audit_event;
use serde_json::Value;

use super::{from_cursor, to_cursor};
use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::Tenant,
    store::audit::{self, Prefilter},
};

/// Rows that one call looks at, wanted or not.
const BUDGET: i64 = 100_000;
/// Rows that one query looks at.
const WINDOW: i64 = 10_000;
/// Longest text to look for, bytes.
const LONGEST: usize = 2048;
/// How far apart the clocks of a chain's rows may be from their order, milliseconds.
const CLOCK_STEP: i64 = 3600 * 1000;

/// Which events are wanted: those to which all of it applies.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// A client, as the one that asked or as one of the actors.
    pub agent: Option<String>,
    /// Whom it was for.
    pub subject: Option<String>,
    /// A resource, by id or URI.
    pub resource: Option<String>,
    /// The W3C trace id of an agent's run.
    pub run: Option<String>,
    /// A kind, or the beginning of some: `token.*`.
    pub kind: Option<String>,
    /// A node.
    pub node: Option<String>,
    /// Only events behind this position of the chain; with `node`.
    pub after: Option<i64>,
    /// Not earlier, Unix milliseconds.
    pub since: Option<i64>,
    /// Earlier, Unix milliseconds.
    pub until: Option<i64>,
}

/// The next events, with their content read.
#[derive(Debug)]
pub struct Selected {
    /// In the order of time; those of one node in the order of its chain.
    pub events: Vec<(audit_event::Model, Value)>,
    /// Where to go on.
    pub cursor: String,
    /// Whether there is more now.
    pub more: bool,
}

/// How far each chain has been read.
type Place = BTreeMap<String, i64>;

/// The next `limit` events.
///
/// # Errors
/// `invalid_request` for a cursor that is none or a filter that is too long, `server_error` when
/// the database fails.
pub async fn select(
    app: &App,
    tenant: &Tenant,
    filter: &Filter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Selected> {
    let wanted = Wanted::of(tenant, filter)?;
    let mut place: Place = cursor.map_or_else(|| Ok(Place::new()), from_cursor)?;
    let mut nodes = audit::nodes(&app.db, tenant.name()).await?;
    nodes.retain(|node| filter.node.as_ref().is_none_or(|one| one == node));
    let mut chains = Vec::new();
    for node in nodes {
        let chain = Reader::open(app, tenant, filter, node, &place).await?;
        chains.push(chain);
    }
    let (mut events, mut budget) = (Vec::new(), BUDGET);
    let more = loop {
        if events.len() == limit {
            break true;
        }
        let mut gathered = true;
        for chain in &mut chains {
            gathered &= chain.fill(app, tenant, &wanted, limit, &mut budget).await?;
        }
        if !gathered {
            break true;
        }
        let ready = chains.iter_mut().filter(|chain| !chain.waiting.is_empty());
        let first = ready.min_by_key(|chain| chain.waiting.front().map(|(row, _)| row.at));
        let Some(event) = first.and_then(Reader::take) else {
            break false;
        };
        events.push(event);
    };
    place.extend(chains.into_iter().map(|chain| (chain.node, chain.read)));
    Ok(Selected {
        events,
        cursor: to_cursor(&place),
        more,
    })
}

/// One chain on its way through a call.
struct Reader {
    node: String,
    /// Everything up to here is done with.
    read: i64,
    /// Everything up to here has been fetched.
    fetched: i64,
    /// Where the chain ends.
    end: i64,
    /// Wanted, and not taken yet.
    waiting: VecDeque<(audit_event::Model, Value)>,
}

impl Reader {
    async fn open(
        app: &App,
        tenant: &Tenant,
        filter: &Filter,
        node: String,
        place: &Place,
    ) -> Result<Self> {
        let last = audit::last(&app.db, tenant.name(), &node).await?;
        let end = last.map_or(0, |(seq, _)| seq);
        let read = match (place.get(&node), filter.after, filter.since) {
            (Some(read), ..) => *read,
            (None, Some(after), _) => after,
            (None, None, Some(since)) => before(app, tenant, &node, since, end).await?,
            (None, None, None) => {
                let head = audit::head(&app.db, tenant.name(), &node).await?;
                head.map_or(0, |head| head.first_seq)
            }
        };
        Ok(Self {
            node,
            read,
            fetched: read,
            end,
            waiting: VecDeque::new(),
        })
    }

    /// Sees to it that the next event waits, if there is one; `false` when that would look at more
    /// rows than are left to look at.
    async fn fill(
        &mut self,
        app: &App,
        tenant: &Tenant,
        wanted: &Wanted,
        limit: usize,
        budget: &mut i64,
    ) -> Result<bool> {
        while self.waiting.is_empty() && self.fetched < self.end {
            if *budget <= 0 {
                return Ok(false);
            }
            let through = self
                .end
                .min(self.fetched.saturating_add(WINDOW.min(*budget)));
            let chain = (tenant.name(), self.node.as_str());
            let range = (self.fetched, through);
            let rows = audit::select(&app.db, chain, range, &wanted.rough, limit as u64).await?;
            let fetched = match rows.last() {
                Some(row) if rows.len() == limit => row.seq,
                _ => through,
            };
            *budget -= fetched - self.fetched;
            self.fetched = fetched;
            for row in rows {
                let event = serde_json::from_str(&row.event).unwrap_or(Value::Null);
                if wanted.holds(&row, &event) {
                    self.waiting.push_back((row, event));
                }
            }
            if self.waiting.is_empty() {
                self.read = fetched;
            }
        }
        Ok(true)
    }

    fn take(&mut self) -> Option<(audit_event::Model, Value)> {
        let event = self.waiting.pop_front()?;
        self.read = if self.waiting.is_empty() {
            self.fetched
        } else {
            event.0.seq
        };
        Some(event)
    }
}

/// A position before everything that was written since: found by halving, because the rows of a
/// chain are in the order of time but for the steps of its clock.
async fn before(app: &App, tenant: &Tenant, node: &str, since: i64, end: i64) -> Result<i64> {
    let since = since.saturating_sub(CLOCK_STEP);
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match audit::written_at(&app.db, tenant.name(), node, middle + 1).await? {
            Some(at) if at < since => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// A filter, ready to be asked.
struct Wanted {
    filter: Filter,
    /// The resource by all its names.
    resource: Vec<String>,
    rough: Prefilter,
}

impl Wanted {
    fn of(tenant: &Tenant, filter: &Filter) -> Result<Self> {
        let resource = filter.resource.iter().flat_map(|name| {
            let resources = tenant.resources();
            let known = resources.by_name(name);
            let known = known.map(|known| [known.id().to_owned(), known.uri().to_owned()]);
            known.into_iter().flatten().chain([name.clone()])
        });
        let mut resource: Vec<String> = resource.collect();
        resource.dedup();
        let one = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
        let texts = [
            one(&filter.agent),
            one(&filter.subject),
            resource.clone(),
            one(&filter.run),
        ];
        if texts
            .iter()
            .flatten()
            .chain(&filter.kind)
            .any(|text| text.len() > LONGEST)
        {
            return Err(OAuthError::invalid_request(format!(
                "Text to look for is limited to {LONGEST} bytes."
            )));
        }
        // As the event holds it: a JSON string, quotes and all.
        let as_json = |text: &String| Value::from(text.as_str()).to_string();
        let holds = texts.iter().filter(|any| !any.is_empty());
        let rough = Prefilter {
            kind: filter.kind.clone(),
            holds: holds.map(|any| any.iter().map(as_json).collect()).collect(),
            since: filter.since,
            until: filter.until,
        };
        Ok(Self {
            filter: filter.clone(),
            resource,
            rough,
        })
    }

    fn holds(&self, row: &audit_event::Model, event: &Value) -> bool {
        let Filter {
            agent,
            subject,
            run,
            kind,
            ..
        } = &self.filter;
        let is = |member: &str, text: &str| event[member] == text;
        agent
            .as_deref()
            .is_none_or(|agent| is("client_id", agent) || acts(event, agent))
            && subject.as_deref().is_none_or(|subject| is("sub", subject))
            && run.as_deref().is_none_or(|run| is("trace_id", run))
            && kind
                .as_deref()
                .is_none_or(|kind| match kind.strip_suffix('*') {
                    Some(start) => row.kind.starts_with(start),
                    None => row.kind == kind,
                })
            && (self.resource.is_empty()
                || self.resource.iter().any(|name| concerns(row, event, name)))
    }
}

/// Whether a client is one of the actors of an event.
fn acts(event: &Value, agent: &str) -> bool {
    let chain = std::iter::successors(event.get("act"), |actor| actor.get("act"));
    chain.into_iter().any(|actor| actor["sub"] == agent)
}

/// Whether an event is about a resource, of which this is one name.
fn concerns(row: &audit_event::Model, event: &Value, name: &str) -> bool {
    let audience = match &event["aud"] {
        Value::Array(many) => many.iter().any(|one| one == name),
        one => one == name,
    };
    audience || (row.kind.starts_with("resource.") && event["object"] == name)
}
