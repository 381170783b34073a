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

use aws_lc_rs::digest::{Context, SHA256};
use entity::audit_event;
use serde::{Deserialize, Serialize};

use super::Record;

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
    /// Chains are there, and none is the oldest.
    #[error("no chain begins with the tenant's first keys, or where one was truncated: it is gone")]
    NoBeginning,
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
    pub(super) distrusted: bool,
}

impl Chain {
    /// This chain without what stands before `anchor`, for somebody who has followed it there from
    /// `first`; none when it begins elsewhere by now, or was broken when the writer met it.
    #[must_use]
    pub fn cut(&self, first: Head, anchor: Head) -> Option<Self> {
        let within = first.seq < anchor.seq && anchor.seq <= self.last.seq;
        let holds = within && self.first == first && !self.distrusted;
        holds.then_some(Self {
            first: anchor,
            ..*self
        })
    }
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

    /// Three rows.
    fn written() -> Vec<audit_event::Model> {
        let mut chain = Chain::default();
        let event = Event {
            client_id: Some("agent"),
            ..Event::default()
        };
        let record = |at| Record::new("default", at, Kind::TokenIssued, &event);
        (0..3)
            .map(|at| chain.last.append(record(at), "1"))
            .collect()
    }

    fn follow(rows: &[audit_event::Model]) -> Result<(), Broken> {
        let mut head = Head::default();
        rows.iter().try_for_each(|row| head.follow(row))
    }

    #[test]
    fn a_chain_that_was_not_touched_holds() {
        assert_eq!(follow(&written()), Ok(()));
    }

    #[test]
    fn a_changed_removed_or_reordered_row_is_found() {
        let chain = written();
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
}
