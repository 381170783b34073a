//! The grants of a tenant, found by what makes each one, by id, and by who holds them.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use entity::grant;

/// Most grants between a grant and the one it all began with.
const MAX_ANCESTORS: usize = 32;

/// A grant: whose it is, what makes it one, and what it was derived from. In the order of their
/// holders.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    client_id: Arc<str>,
    id: Arc<str>,
    identity: Arc<str>,
    parent: Option<Arc<str>>,
}

/// All of them. Each takes the same little room, whether a client holds one or a million.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_identity: papaya::HashMap<Arc<str>, Arc<Grant>>,
    by_id: papaya::HashMap<Arc<str>, Arc<Grant>>,
    /// For those who remove clients: nobody on the token path asks.
    by_holder: Mutex<BTreeSet<Arc<Grant>>>,
}

impl Grants {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The id of the grant of this identity, if this client holds it.
    pub(super) fn find(&self, client_id: &str, identity: &str) -> Option<Arc<str>> {
        let grants = self.by_identity.pin();
        let grant = grants.get(identity)?;
        (*grant.client_id == *client_id).then(|| grant.id.clone())
    }

    /// Whether this client holds this grant, and every grant it was derived from is held.
    pub(super) fn holds(&self, client_id: &str, id: &str) -> bool {
        let grants = self.by_id.pin();
        let Some(grant) = grants.get(id).filter(|g| *g.client_id == *client_id) else {
            return false;
        };
        let mut parent = grant.parent.as_deref();
        for _ in 0..MAX_ANCESTORS {
            let Some(id) = parent else { return true };
            let Some(grant) = grants.get(id) else {
                return false;
            };
            parent = grant.parent.as_deref();
        }
        false
    }

    /// The grant that a client's own grant was carried from: the nearest one that is another
    /// client's, or that began with the client itself.
    pub(super) fn carried_from(&self, client_id: &str, id: &str) -> Arc<str> {
        let grants = self.by_id.pin();
        let mut from: Arc<str> = id.into();
        for _ in 0..MAX_ANCESTORS {
            let parent = grants.get(&*from).and_then(|grant| grant.parent.clone());
            let own = |id: &Arc<str>| {
                let grant = grants.get(&**id);
                grant.is_some_and(|grant| *grant.client_id == *client_id)
            };
            match parent.filter(own) {
                Some(parent) => from = parent,
                None => break,
            }
        }
        from
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
        });
        self.holders().insert(grant.clone());
        self.by_id.pin().insert(grant.id.clone(), grant.clone());
        let identity = grant.identity.clone();
        self.by_identity.pin().insert(identity, grant);
    }

    /// Forgets a grant.
    pub(super) fn end(&self, id: &str) {
        let (by_id, by_identity) = (self.by_id.pin(), self.by_identity.pin());
        let Some(grant) = by_id.remove(id) else {
            return;
        };
        self.holders().remove(grant);
        // There may be another grant of this identity already.
        let known = by_identity.get(&grant.identity);
        if known.is_some_and(|known| Arc::ptr_eq(known, grant)) {
            by_identity.remove(&grant.identity);
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
        let held: Vec<Arc<str>> = self.by_id.pin().keys().cloned().collect();
        for id in held.iter().filter(|id| !ids.contains(&***id)) {
            self.end(id);
        }
    }

    fn holders(&self) -> MutexGuard<'_, BTreeSet<Arc<Grant>>> {
        self.by_holder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first grant of a client's.
fn first_of(holders: &BTreeSet<Arc<Grant>>, client_id: &str) -> Option<Arc<Grant>> {
    let before = Grant {
        client_id: client_id.into(),
        id: "".into(),
        identity: "".into(),
        parent: None,
    };
    let first = holders.range::<Grant, _>(before..).next();
    first.filter(|g| *g.client_id == *client_id).cloned()
}
