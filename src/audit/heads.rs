//! The heads of chains: where each begins and ends, signed, and remembered by the writer.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::hmac;
use entity::audit_head;

use super::chain::{Broken, Chain, Head};

/// What the MAC key is derived for.
pub const KEY_LABEL: &str = "writ audit head";

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

#[cfg(test)]
mod tests {
    use entity::audit_event;

    use super::*;
    use crate::audit::{Event, Kind, Record};

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

    fn end(rows: &[audit_event::Model]) -> Option<(i64, Vec<u8>)> {
        rows.last().map(|row| (row.seq, row.hash.clone()))
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
