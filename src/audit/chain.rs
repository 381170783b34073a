//! The hash chain, and its anchored ends.
//!
//! Each row's hash covers the row and the hash before it, so a row cannot change, go, come or move
//! without the rows behind it. What a chain alone cannot show is that its end, or its beginning, or
//! all of it was cut off, and whoever may write to the database could compute it anew. So each
//! chain has a head that says where it begins and ends, under a MAC whose key is derived from the
//! sealing key, which is never in the database. The writer puts the head into the transaction of
//! the rows.
//!
//! A head that did not hold when the writer met it is never signed again: the chain goes on, and
//! every verification says that it is broken. A new node name begins a new chain.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    digest::{Context, SHA256},
    hmac,
};
use entity::{audit_event, audit_head};
use serde::{Deserialize, Serialize};

use super::Record;

/// What the MAC key is derived for.
pub const KEY_LABEL: &str = "writ audit head";

/// A place in a chain; before its first row at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Position of the row.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Head {
    /// The place that two columns name; `None` when they do not hold a hash.
    #[must_use]
    pub fn of(seq: i64, hash: &[u8]) -> Option<Self> {
        let hash = hash.try_into().ok()?;
        Some(Self { seq, hash })
    }

    /// The row that follows, and the head moved onto it.
    pub fn append(&mut self, record: Record, node: &str) -> audit_event::Model {
        // A position that a foreign hand has put at the end of numbers collides, and fails.
        self.seq = self.seq.saturating_add(1);
        self.hash = hash(
            &self.hash,
            self.seq,
            record.at,
            record.kind.as_str(),
            &record.event,
        );
        audit_event::Model {
            tenant: record.tenant,
            node: node.to_owned(),
            seq: self.seq,
            at: record.at,
            kind: record.kind.as_str().to_owned(),
            event: record.event,
            hash: self.hash.to_vec(),
        }
    }

    /// Whether `row` is what follows; the head moves onto it when it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn follow(&mut self, row: &audit_event::Model) -> Result<(), Broken> {
        if row.seq != self.seq + 1 {
            return Err(Broken::Missing {
                expected: self.seq + 1,
                found: row.seq,
            });
        }
        let hash = hash(&self.hash, row.seq, row.at, &row.kind, &row.event);
        if row.hash != hash {
            return Err(Broken::Changed { seq: row.seq });
        }
        *self = Self { seq: row.seq, hash };
        Ok(())
    }
}

/// Why a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Rows are gone, or out of order.
    #[error("row {expected} is missing: {found} follows")]
    Missing {
        /// The next position.
        expected: i64,
        /// What stands there.
        found: i64,
    },
    /// The row is not what was written.
    #[error("row {seq} was changed, or the one before it, or it was written by somebody else")]
    Changed {
        /// Its position.
        seq: i64,
    },
    /// Rows are gone at the end.
    #[error("the end was cut off: the rows end at {found}, the head says {expected}")]
    CutOff {
        /// Where the head says it ends.
        expected: i64,
        /// Where the rows end.
        found: i64,
    },
    /// Rows came behind the end.
    #[error("row {seq} was inserted: the head says that the chain ends before it")]
    Inserted {
        /// Its position.
        seq: i64,
    },
    /// The rows are a chain, but not the one whose head this is.
    #[error(
        "row {seq} ends another chain than the one whose head was signed: it was computed anew"
    )]
    Rewritten {
        /// Its position.
        seq: i64,
    },
    /// There are rows and no head.
    #[error("the head of the chain was removed, or never written")]
    NoHead,
    /// The MAC does not fit.
    #[error("the head was not signed by this server for this tenant and node")]
    Forged,
    /// The head was found broken before, and was not signed again.
    #[error("the head did not hold when the server last read it")]
    Distrusted,
    /// The database has an older state than the writer has written.
    #[error(
        "the chain was rolled back: the server has written up to {written}, the head says {found}"
    )]
    RolledBack {
        /// What the writer has written.
        written: i64,
        /// What the database says.
        found: i64,
    },
    /// Not even a head is there.
    #[error("the chain is gone")]
    Gone,
}

/// A chain as its writer knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The place before the first row that is kept.
    pub first: Head,
    /// The last row.
    pub last: Head,
    /// Not to be signed: it was broken when the writer met it.
    distrusted: bool,
}

/// The chains that this node writes, as it remembers them, and the key of all heads.
#[derive(Debug)]
pub struct Chains {
    node: String,
    key: hmac::Key,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// As committed, by tenant.
    chains: HashMap<String, Chain>,
    /// From before a commit that failed, or seemed to: the database may have more, never less.
    before: HashMap<String, Chain>,
}

impl Chains {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(node: String, key: &[u8; 32]) -> Self {
        Self {
            node,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            known: Mutex::default(),
        }
    }

    /// The node that writes them.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What the writer has written of a tenant's chain; `None` before it has met it.
    #[must_use]
    pub fn written(&self, tenant: &str) -> Option<Chain> {
        let known = self.known();
        let chain = known.chains.get(tenant);
        chain.or_else(|| known.before.get(tenant)).copied()
    }

    /// The same, unless the database has to be asked first.
    #[must_use]
    pub fn at_hand(&self, tenant: &str) -> Option<Chain> {
        self.known().chains.get(tenant).copied()
    }

    /// Where every chain that the writer has met ends, by tenant.
    #[must_use]
    pub fn ends(&self) -> Vec<(String, i64)> {
        let known = self.known();
        let chains = known.chains.iter();
        chains
            .map(|(tenant, chain)| (tenant.clone(), chain.last.seq))
            .collect()
    }

    /// Remembers what was committed.
    pub fn remember(&self, chains: HashMap<String, Chain>) {
        self.known().chains.extend(chains);
    }

    /// A commit failed, or seemed to: the database is asked before the next one.
    pub fn doubt(&self) {
        let known = &mut *self.known();
        known.before.extend(known.chains.drain());
    }

    /// The chain that goes on from what is in the database: its head and its last row.
    #[must_use]
    pub fn resume(
        &self,
        tenant: &str,
        head: Option<&audit_head::Model>,
        last_row: Option<(i64, Vec<u8>)>,
    ) -> Chain {
        let rows_end = last_row.and_then(|(seq, hash)| Head::of(seq, &hash));
        let mut chain = match (head.map(|head| self.open(head)), rows_end) {
            (Some(Ok(chain)), _) => chain,
            (None, None) => Chain::default(),
            (Some(Err(_)) | None, end) => Chain {
                last: end.unwrap_or_default(),
                distrusted: true,
                ..Chain::default()
            },
        };
        if let Some(end) = rows_end.filter(|end| end.seq > chain.last.seq) {
            // Somebody wrote on. What follows must not collide with that.
            chain.last = end;
            chain.distrusted = true;
        }
        if let Some(written) = self.written(tenant)
            && written.last.seq > chain.last.seq
        {
            // Behind what was written: the gap stays to be seen.
            chain = Chain {
                distrusted: true,
                ..written
            };
        }
        if chain.distrusted {
            tracing::error!(
                tenant,
                node = self.node,
                "the audit chain does not hold: see `writ audit verify`"
            );
        }
        chain
    }

    /// What a head in the database says, once its MAC was checked.
    ///
    /// # Errors
    /// [`Broken::Forged`] or [`Broken::Distrusted`].
    pub fn open(&self, head: &audit_head::Model) -> Result<Chain, Broken> {
        if head.mac.is_empty() {
            return Err(Broken::Distrusted);
        }
        let first = Head::of(head.first_seq, &head.first_hash).ok_or(Broken::Forged)?;
        let last = Head::of(head.last_seq, &head.last_hash).ok_or(Broken::Forged)?;
        let message = message(&head.tenant, &head.node, &first, &last);
        hmac::verify(&self.key, &message, &head.mac).map_err(|_| Broken::Forged)?;
        Ok(Chain {
            first,
            last,
            distrusted: false,
        })
    }

    /// The row that says where a chain of this node begins and ends.
    #[must_use]
    pub fn seal(&self, tenant: &str, chain: &Chain) -> audit_head::Model {
        let mac = if chain.distrusted {
            Vec::new()
        } else {
            let message = message(tenant, &self.node, &chain.first, &chain.last);
            hmac::sign(&self.key, &message).as_ref().to_vec()
        };
        audit_head::Model {
            tenant: tenant.to_owned(),
            node: self.node.clone(),
            first_seq: chain.first.seq,
            first_hash: chain.first.hash.to_vec(),
            last_seq: chain.last.seq,
            last_hash: chain.last.hash.to_vec(),
            mac,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the MAC covers; every part's length is fixed or written.
fn message(tenant: &str, node: &str, first: &Head, last: &Head) -> Vec<u8> {
    let mut message = Vec::with_capacity(tenant.len() + node.len() + 96);
    for name in [tenant, node] {
        message.extend_from_slice(&(name.len() as u64).to_be_bytes());
        message.extend_from_slice(name.as_bytes());
    }
    for place in [first, last] {
        message.extend_from_slice(&place.seq.to_be_bytes());
        message.extend_from_slice(&place.hash);
    }
    message
}

/// SHA-256 over the previous hash and the row; every part's length is fixed or written.
fn hash(previous: &[u8; 32], seq: i64, at: i64, kind: &str, event: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(&seq.to_be_bytes());
    context.update(&at.to_be_bytes());
    context.update(&(kind.len() as u64).to_be_bytes());
    context.update(kind.as_bytes());
    context.update(event.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Event, Kind};

    const TENANT: &str = "default";

    /// Three rows, the chain behind them, and who wrote it.
    fn written() -> (Vec<audit_event::Model>, Chain, Chains) {
        let mut chain = Chain::default();
        let event = Event {
            client_id: Some("agent"),
            ..Event::default()
        };
        let record = |at| Record::new(TENANT, at, Kind::TokenIssued, &event);
        let rows = (0..3)
            .map(|at| chain.last.append(record(at), "1"))
            .collect();
        (rows, chain, Chains::new("1".into(), &[7; 32]))
    }

    fn follow(rows: &[audit_event::Model]) -> Result<(), Broken> {
        let mut head = Head::default();
        rows.iter().try_for_each(|row| head.follow(row))
    }

    fn end(rows: &[audit_event::Model]) -> Option<(i64, Vec<u8>)> {
        rows.last().map(|row| (row.seq, row.hash.clone()))
    }

    #[test]
    fn a_chain_that_was_not_touched_holds() {
        assert_eq!(follow(&written().0), Ok(()));
    }

    #[test]
    fn a_changed_removed_or_reordered_row_is_found() {
        let (chain, ..) = written();
        let mut changed = chain.clone();
        changed[1].event = changed[1].event.replace("agent", "other");
        assert_eq!(follow(&changed), Err(Broken::Changed { seq: 2 }));
        let mut removed = chain.clone();
        removed.remove(1);
        assert_eq!(
            follow(&removed),
            Err(Broken::Missing {
                expected: 2,
                found: 3
            })
        );
        let mut reordered = chain;
        reordered.swap(0, 1);
        assert!(follow(&reordered).is_err());
    }

    #[test]
    fn a_head_holds_for_its_key_tenant_node_and_places_alone() {
        let (_, chain, chains) = written();
        let head = chains.seal(TENANT, &chain);
        assert_eq!(chains.open(&head), Ok(chain));
        let strangers = Chains::new("1".into(), &[8; 32]);
        assert_eq!(strangers.open(&head), Err(Broken::Forged));
        let changes: [fn(&mut audit_head::Model); 6] = [
            |head| head.tenant = "acme".into(),
            |head| head.node = "2".into(),
            |head| head.first_seq = 1,
            |head| head.last_seq = 2,
            |head| head.last_hash[0] ^= 1,
            |head| head.mac.truncate(16),
        ];
        for change in changes {
            let mut forged = head.clone();
            change(&mut forged);
            assert_eq!(chains.open(&forged), Err(Broken::Forged));
        }
    }

    #[test]
    fn what_did_not_hold_is_never_signed_again() {
        let (rows, chain, chains) = written();
        let head = chains.seal(TENANT, &chain);
        let mut forged = head.clone();
        forged.last_seq = 2;
        for (head, end) in [
            (Some(&forged), end(&rows)),
            (None, end(&rows)),
            (
                Some(&chains.seal(
                    TENANT,
                    &Chain {
                        last: Head::of(2, &rows[1].hash).unwrap(),
                        ..chain
                    },
                )),
                end(&rows),
            ),
        ] {
            let resumed = chains.resume(TENANT, head, end);
            assert_eq!(resumed.last, chain.last);
            let sealed = chains.seal(TENANT, &resumed);
            assert_eq!(chains.open(&sealed), Err(Broken::Distrusted));
        }
        // Rows that are gone leave a gap that every verification finds.
        let resumed = chains.resume(TENANT, Some(&head), end(&rows[..2]));
        assert_eq!(resumed, chain);
        assert_eq!(chains.resume(TENANT, None, None), Chain::default());
    }

    #[test]
    fn what_was_written_is_not_forgotten_when_a_commit_fails() {
        let (rows, chain, chains) = written();
        chains.remember(HashMap::from([(TENANT.to_owned(), chain)]));
        chains.doubt();
        assert_eq!(chains.at_hand(TENANT), None);
        assert_eq!(chains.written(TENANT), Some(chain));
        let older = Chain {
            last: Head::of(2, &rows[1].hash).unwrap(),
            ..chain
        };
        let head = chains.seal(TENANT, &older);
        let resumed = chains.resume(TENANT, Some(&head), end(&rows[..2]));
        assert_eq!(resumed.last, chain.last);
        assert_eq!(
            chains.open(&chains.seal(TENANT, &resumed)),
            Err(Broken::Distrusted)
        );
    }
}
