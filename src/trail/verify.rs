//! Whether every chain of a tenant is what was written.
//!
//! A long trail takes longer than a request may, so it is judged in pages: each says where the next
//! one begins and what was found so far.

use entity::audit_event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{from_cursor, to_cursor};
use crate::{
    app::App,
    audit::{Broken, Chain, FIRST_KEYS, Head, Kind},
    error::Result,
    registry::Tenant,
    store::audit,
};

/// Rows judged in one call.
const BUDGET: i64 = 10_000;
/// Rows read at a time.
const PAGE: u64 = 1000;

/// What is wrong with a chain.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// The node that wrote it; none when the tenant has no chain at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The last row that holds.
    pub after: i64,
    /// What is wrong behind it.
    pub problem: String,
}

/// What was found up to here.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Findings {
    /// Whether everything up to here is where and what it was when it was written.
    pub intact: bool,
    /// Rows that hold, up to here.
    pub events: i64,
    /// Rows there should be.
    pub total: i64,
    /// What this page found; each chain is judged up to its first fault.
    pub problems: Vec<Problem>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where the next page begins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// The first node that is not done with.
    node: String,
    /// How far its chain holds; none at its beginning.
    position: Option<Head>,
    /// Rows that hold, of all chains.
    events: i64,
    /// Problems so far.
    problems: usize,
}

/// Judges the next page of a tenant's chains, from the beginning without a cursor.
///
/// # Errors
/// `invalid_request` for a cursor that is none, `server_error` when the database fails.
pub async fn verify(app: &App, tenant: &Tenant, cursor: Option<&str>) -> Result<Findings> {
    let mut place: Place = cursor.map_or_else(|| Ok(Place::default()), from_cursor)?;
    let nodes = nodes(app, tenant).await?;
    let total = total(app, tenant, &nodes).await?;
    let mut problems = Vec::new();
    if cursor.is_none()
        && let Err(broken) = begins(app, tenant, &nodes).await?
    {
        problems.push(Problem {
            node: None,
            after: 0,
            problem: broken.to_string(),
        });
    }
    let (earlier, until) = (place.problems, place.events.saturating_add(BUDGET));
    let mut next = None;
    for node in &nodes {
        if *node < place.node {
            continue;
        }
        let position = place.position.take().filter(|_| *node == place.node);
        node.clone_into(&mut place.node);
        let mut judge = Judge::new(app, tenant.name(), node, position);
        while !judge.done && place.events.saturating_add(judge.events) < until {
            judge.page().await?;
        }
        place.events = place.events.saturating_add(judge.events);
        problems.extend(judge.problems);
        if !judge.done {
            place.position = judge.position;
            place.problems = earlier.saturating_add(problems.len());
            next = Some(to_cursor(&place));
            break;
        }
    }
    Ok(Findings {
        intact: earlier == 0 && problems.is_empty(),
        events: place.events,
        total,
        problems,
        next,
    })
}

/// Whether the oldest chain is there: a tenant's first keys are its first event, and what was
/// truncated begins at an anchor that was signed. Without that, a writer who finds nothing would
/// begin anew, and nobody could tell.
async fn begins(app: &App, tenant: &Tenant, nodes: &[String]) -> Result<Result<(), Broken>> {
    if nodes.is_empty() {
        return Ok(Err(Broken::Gone));
    }
    for node in nodes {
        let page = audit::page(&app.db, tenant.name(), node, None, 1).await?;
        let head = page.head.map(|head| app.journal.chains().open(&head));
        let cut = matches!(head, Some(Ok(chain)) if chain.first.seq > 0);
        if cut || page.rows.first().is_some_and(is_first_event) {
            return Ok(Ok(()));
        }
    }
    Ok(Err(Broken::NoBeginning))
}

fn is_first_event(row: &audit_event::Model) -> bool {
    let said: Option<Value> = serde_json::from_str(&row.event).ok();
    row.seq == 1
        && row.kind == Kind::KeysRotated.as_str()
        && said.is_some_and(|said| said["reason"] == FIRST_KEYS)
}

/// Every node with a chain in this tenant, and this one if it has ever written there.
async fn nodes(app: &App, tenant: &Tenant) -> Result<Vec<String>> {
    let mut nodes = audit::nodes(&app.db, tenant.name()).await?;
    let chains = app.journal.chains();
    let own = chains.node();
    if chains.written(tenant.name()).is_some() && nodes.iter().all(|node| node != own) {
        nodes.push(own.to_owned());
        nodes.sort();
    }
    Ok(nodes)
}

async fn total(app: &App, tenant: &Tenant, nodes: &[String]) -> Result<i64> {
    let mut total = 0;
    for node in nodes {
        if let Some(head) = audit::head(&app.db, tenant.name(), node).await? {
            total += head.last_seq.saturating_sub(head.first_seq).max(0);
        }
    }
    Ok(total)
}

/// Judges one chain.
struct Judge<'a> {
    app: &'a App,
    tenant: &'a str,
    node: &'a str,
    /// How far it holds; none before it is begun.
    position: Option<Head>,
    /// Rows that hold.
    events: i64,
    problems: Vec<Problem>,
    done: bool,
}

impl<'a> Judge<'a> {
    const fn new(app: &'a App, tenant: &'a str, node: &'a str, position: Option<Head>) -> Self {
        Self {
            app,
            tenant,
            node,
            position,
            events: 0,
            problems: Vec::new(),
            done: false,
        }
    }

    /// Judges the next rows, and the ends when there are no more.
    async fn page(&mut self) -> Result<()> {
        let chains = self.app.journal.chains();
        // Read before the database: that can only be further on then.
        let written = (self.node == chains.node())
            .then(|| chains.written(self.tenant))
            .flatten();
        let after = self.position.map(|position| position.seq);
        let page = audit::page(&self.app.db, self.tenant, self.node, after, PAGE).await?;
        let head = match &page.head {
            Some(head) => chains.open(head),
            None => Err(Broken::NoHead),
        };
        let begins = self.position.is_none();
        let mut position = self.position.unwrap_or_else(|| match (&head, &page.head) {
            (Ok(chain), _) => chain.first,
            (Err(_), Some(head)) => Head::of(head.first_seq, &head.first_hash).unwrap_or_default(),
            (Err(_), None) => Head::default(),
        });
        let head = match head {
            Ok(chain) => {
                if chain.first.seq > position.seq {
                    // It was truncated since the page before.
                    position = chain.first;
                }
                Some(chain)
            }
            Err(broken) => {
                if begins {
                    self.found(position, &broken);
                }
                None
            }
        };
        for row in &page.rows {
            if let Err(broken) = follow(&mut position, row, head.as_ref(), written.as_ref()) {
                self.position = Some(position);
                self.found(position, &broken);
                self.done = true;
                return Ok(());
            }
            self.events += 1;
        }
        self.position = Some(position);
        if (page.rows.len() as u64) < PAGE {
            self.done = true;
            if let Err(broken) = ends(position, head.as_ref(), written.as_ref()) {
                self.found(position, &broken);
            }
        }
        Ok(())
    }

    fn found(&mut self, position: Head, broken: &Broken) {
        self.problems.push(Problem {
            node: Some(self.node.to_owned()),
            after: position.seq,
            problem: broken.to_string(),
        });
    }
}

/// Whether a row is the next one of this chain, and of what the writer has written.
fn follow(
    position: &mut Head,
    row: &audit_event::Model,
    head: Option<&Chain>,
    written: Option<&Chain>,
) -> Result<(), Broken> {
    if row.seq <= position.seq || head.is_some_and(|head| row.seq > head.last.seq) {
        return Err(Broken::Inserted { seq: row.seq });
    }
    position.follow(row)?;
    if written.is_some_and(|w| w.last.seq == row.seq && w.last != *position) {
        return Err(Broken::Rewritten { seq: row.seq });
    }
    Ok(())
}

/// Whether a chain that was followed up to `position` ends there.
fn ends(position: Head, head: Option<&Chain>, written: Option<&Chain>) -> Result<(), Broken> {
    if let Some(head) = head {
        if position.seq < head.last.seq {
            return Err(Broken::CutOff {
                expected: head.last.seq,
                found: position.seq,
            });
        }
        if position != head.last {
            return Err(Broken::Rewritten { seq: position.seq });
        }
    }
    match written {
        Some(written) if position.seq < written.last.seq => Err(Broken::RolledBack {
            written: written.last.seq,
            found: position.seq,
        }),
        Some(written) if head.is_some_and(|head| head.first.seq < written.first.seq) => {
            Err(Broken::RolledBack {
                written: written.first.seq,
                found: head.map_or(0, |head| head.first.seq),
            })
        }
        _ => Ok(()),
    }
}
