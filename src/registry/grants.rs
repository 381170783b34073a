//! The grants of a tenant, found by what makes each one, by id, and by who holds them.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use entity::grant;

use super::index::{Index, Key};

/// Most grants between a grant and the one it all began with.
const MAX_ANCESTORS: usize = 32;

/// Seconds after which it is written down again that a grant is in use.
const NOTED: i64 = 60;

/// A grant: whose it is, what makes it one, and what it was derived from. In the order of their
/// holders.
#[derive(Debug)]
struct Grant {
    client_id: Arc<str>,
    id: Box<str>,
    identity: Box<str>,
    parent: Option<Box<str>>,
    /// When it was made, or last noted to be in use, Unix seconds.
    used_at: AtomicI64,
}

impl Grant {
    /// What it is found by among all: no two have the same.
    fn place(&self) -> (&str, &str) {
        (&self.client_id, &self.id)
    }
}

impl Ord for Grant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Grant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Grant {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Grant {}

#[derive(Debug)]
struct Id;

impl Key<Grant> for Id {
    fn of(grant: &Grant) -> &str {
        &grant.id
    }
}

#[derive(Debug)]
struct Identity;

impl Key<Grant> for Identity {
    fn of(grant: &Grant) -> &str {
        &grant.identity
    }
}

/// All of them. Each takes the same little room, whether a client holds one or a million.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_identity: Index<Identity, Grant>,
    by_id: Index<Id, Grant>,
    /// For those who remove clients: nobody on the token path asks.
    by_holder: Mutex<BTreeSet<Arc<Grant>>>,
}

impl Grants {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The id of the grant of this identity, if this client holds it.
    pub(super) fn find(&self, client_id: &str, identity: &str) -> Option<String> {
        let grant = self.by_identity.get(identity)?;
        (*grant.client_id == *client_id).then(|| grant.id.to_string())
    }

    /// Whether this client holds this grant, and every grant it was derived from is held.
    pub(super) fn holds(&self, client_id: &str, id: &str) -> bool {
        let Some(mut grant) = self.own(client_id, id) else {
            return false;
        };
        for _ in 0..MAX_ANCESTORS {
            let Some(parent) = grant.parent.as_deref() else {
                return true;
            };
            let Some(parent) = self.by_id.get(parent) else {
                return false;
            };
            grant = parent;
        }
        false
    }

    /// The grant that a client's own grant was carried from: the nearest one that is another
    /// client's, or that began with the client itself.
    pub(super) fn carried_from(&self, client_id: &str, id: &str) -> String {
        let mut from = id.to_owned();
        for _ in 0..MAX_ANCESTORS {
            let parent = self.by_id.get(&from).and_then(|g| g.parent.clone());
            match parent.and_then(|parent| self.own(client_id, &parent)) {
                Some(parent) => from = parent.id.to_string(),
                None => break,
            }
        }
        from
    }

    /// Whether it is to be noted that a grant is in use: of all who use it at a time, one is told so.
    pub(super) fn notes_use(&self, id: &str, now: i64) -> bool {
        self.by_id.get(id).is_some_and(|grant| {
            let before = grant.used_at.load(Relaxed);
            let noted = || {
                grant
                    .used_at
                    .compare_exchange(before, now, Relaxed, Relaxed)
            };
            now - before >= NOTED && noted().is_ok()
        })
    }

    /// Whether this client holds any.
    pub(super) fn any_of(&self, client_id: &str) -> bool {
        first_of(&self.holders(), client_id).is_some()
    }

    /// Takes in a grant of a client whose id may be at hand.
    pub(super) fn put(&self, row: &grant::Model, client_id: Option<Arc<str>>) {
        let grant = Arc::new(Grant {
            client_id: client_id.unwrap_or_else(|| row.client_id.as_str().into()),
            id: row.id.as_str().into(),
            identity: row.identity.as_str().into(),
            parent: row.parent.as_deref().map(Into::into),
            used_at: row.used_at.unwrap_or(row.created_at).into(),
        });
        self.holders().replace(grant.clone());
        self.by_id.put(grant.clone());
        self.by_identity.put(grant);
    }

    /// Forgets a grant.
    pub(super) fn end(&self, id: &str) {
        let Some(grant) = self.by_id.remove(id) else {
            return;
        };
        self.holders().remove(&grant);
        // There may be another grant of this identity already.
        let known = self.by_identity.get(&grant.identity);
        if known.is_some_and(|known| Arc::ptr_eq(&known, &grant)) {
            self.by_identity.remove(&grant.identity);
        }
    }

    /// Forgets the grants of a client.
    pub(super) fn end_all_of(&self, client_id: &str) {
        loop {
            let Some(grant) = first_of(&self.holders(), client_id) else {
                return;
            };
            self.end(&grant.id);
        }
    }

    /// Forgets every grant but these.
    pub(super) fn keep(&self, ids: &HashSet<String>) {
        for gone in self.by_id.all_that(|grant| !ids.contains(&*grant.id)) {
            self.end(&gone.id);
        }
    }

    fn own(&self, client_id: &str, id: &str) -> Option<Arc<Grant>> {
        let grant = self.by_id.get(id)?;
        (*grant.client_id == *client_id).then_some(grant)
    }

    fn holders(&self) -> MutexGuard<'_, BTreeSet<Arc<Grant>>> {
        self.by_holder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first grant of a client's.
#[expect(
    clippy::mutable_key_type,
    reason = "their order is made of what never changes"
)]
fn first_of(holders: &BTreeSet<Arc<Grant>>, client_id: &str) -> Option<Arc<Grant>> {
    let before = Grant {
        client_id: client_id.into(),
        id: "".into(),
        identity: "".into(),
        parent: None,
        used_at: AtomicI64::default(),
    };
    let first = holders.range::<Grant, _>(before..).next();
    first.filter(|g| *g.client_id == *client_id).cloned()
}
