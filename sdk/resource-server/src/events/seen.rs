//! SETs that were taken before. Nothing rests on it: taking one twice changes
//! nothing that taking it once has not.

use std::collections::{HashSet, VecDeque};

use aws_lc_rs::digest::{SHA256, digest};

/// How long a `jti` is remembered, seconds.
const KEPT: i64 = 24 * 3600;

/// How many are.
const MOST: usize = 65_536;

/// The digests of the `jti` of the last day.
#[derive(Default)]
pub(super) struct Seen {
    names: HashSet<[u8; 32]>,
    order: VecDeque<(i64, [u8; 32])>,
}

impl Seen {
    pub(super) fn contains(&mut self, jti: &str, now: i64) -> bool {
        while let Some((at, name)) = self.order.front()
            && (now.saturating_sub(*at) > KEPT || self.order.len() > MOST)
        {
            self.names.remove(name);
            self.order.pop_front();
        }
        self.names.contains(&named(jti))
    }

    pub(super) fn insert(&mut self, jti: &str, now: i64) {
        let name = named(jti);
        if self.names.insert(name) {
            self.order.push_back((now, name));
        }
    }
}

fn named(jti: &str) -> [u8; 32] {
    let mut name = [0; 32];
    name.copy_from_slice(digest(&SHA256, jti.as_bytes()).as_ref());
    name
}
