//! What is denied, and until when that has to be known.
//!
//! Requests look without a lock; events change one entry at a time under one.
//! A token is looked for under each of its names (`subject::keys`), and what
//! is found there is compared with all of its claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::health::{Attention, Flag};
use super::subject::{self, Key, Subject};
use crate::claims::AccessClaims;

/// What holds for the tokens of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Over, for tokens with an `iat` until then; for all of them, finally,
    /// when there is no such time.
    Ended { cut_off: Option<i64> },
    /// The user's account, as it was at that time.
    Account { disabled: bool, at: i64 },
    /// Only these scopes are left of what was issued until then.
    Narrowed {
        scopes: Arc<BTreeSet<Box<str>>>,
        at: i64,
    },
}

impl Rule {
    /// Takes in another rule of the same kind, which came in whatever order:
    /// the later one holds, of two at one time the stricter. Nothing for
    /// rules of different kinds.
    fn merged(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Ended { cut_off: one }, Self::Ended { cut_off: other }) => Some(Self::Ended {
                cut_off: one.zip(*other).map(|(one, other)| one.max(other)),
            }),
            (
                Self::Account { disabled, at },
                Self::Account {
                    disabled: other_disabled,
                    at: other_at,
                },
            ) => {
                // `false < true`: disabled is the stricter.
                let (at, disabled) = (*at, *disabled).max((*other_at, *other_disabled));
                Some(Self::Account { disabled, at })
            }
            (
                Self::Narrowed { scopes, at },
                Self::Narrowed {
                    scopes: other_scopes,
                    at: other_at,
                },
            ) => Some(match at.cmp(other_at) {
                std::cmp::Ordering::Less => other.clone(),
                std::cmp::Ordering::Greater => self.clone(),
                std::cmp::Ordering::Equal => Self::Narrowed {
                    scopes: Arc::new(scopes.intersection(other_scopes).cloned().collect()),
                    at: *at,
                },
            }),
            _ => None,
        }
    }

    /// The last second of tokens it is needed for.
    fn at(&self, now: i64) -> i64 {
        match self {
            Self::Ended { cut_off: Some(at) } | Self::Account { at, .. } => *at,
            // No time is compared: the youngest such token may be of now.
            Self::Ended { cut_off: None } => now,
            Self::Narrowed { at, .. } => now.max(*at),
        }
    }
}

#[derive(Clone, Debug)]
struct Marker {
    subject: Subject,
    rule: Rule,
    until: i64,
    /// The second of [`Book::ends`] it is listed under.
    listed: i64,
}

/// Every marker.
pub(super) struct Deny {
    markers: papaya::HashMap<Key<Box<str>>, Vec<Marker>>,
    book: Mutex<Book>,
    attention: Arc<Attention>,
    needed: i64,
    capacity: usize,
}

#[derive(Default)]
struct Book {
    count: usize,
    /// Under which keys something may end at each second: one entry for each
    /// marker, however often that is prolonged.
    ends: BTreeMap<i64, Vec<Key<Box<str>>>>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It changed something.
    New,
    /// It was known, or is about tokens that have all ended.
    Known,
    /// There is no room; it would have been needed until then.
    Full { until: i64 },
}

/// What the markers say about a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing.
    Stands,
    /// It is over.
    Ended,
    /// It stands for this scope only.
    Narrowed(String),
}

impl Deny {
    /// `needed` is how many seconds from its `iat` a token may come.
    pub(super) fn new(attention: Arc<Attention>, needed: i64, capacity: usize) -> Self {
        Self {
            markers: papaya::HashMap::new(),
            book: Mutex::default(),
            attention,
            needed,
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.book
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count
    }

    /// Applying a rule twice, or in another order, comes to the same.
    pub(super) fn apply(&self, subject: Subject, rule: Rule, now: i64) -> Kept {
        let until = rule.at(now).saturating_add(self.needed);
        if until <= now {
            return Kept::Known;
        }
        let key = subject.key();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.count >= self.capacity {
            self.give_up(&mut book, now);
        }
        let markers = self.markers.pin();
        let mut list = markers.get(&key).cloned().unwrap_or_default();
        let known = list.iter_mut().find_map(|marker| {
            let same = marker.subject == subject;
            let merged = same.then(|| marker.rule.merged(&rule)).flatten()?;
            Some((marker, merged))
        });
        let kept = match known {
            Some((marker, merged)) => {
                let kept = if marker.rule == merged {
                    Kept::Known
                } else {
                    Kept::New
                };
                marker.rule = merged;
                marker.until = marker.until.max(until);
                kept
            }
            None if book.count >= self.capacity => return Kept::Full { until },
            None => {
                book.count += 1;
                list.push(Marker {
                    subject,
                    rule,
                    until,
                    listed: until,
                });
                book.ends.entry(until).or_default().push(key.clone());
                Kept::New
            }
        };
        markers.insert(key, list);
        self.attention.set(Flag::Markers);
        kept
    }

    /// Gives up what no token can need any more.
    pub(super) fn forget_before(&self, now: i64) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        self.give_up(&mut book, now);
    }

    fn give_up(&self, book: &mut Book, now: i64) {
        let markers = self.markers.pin();
        while let Some(first) = book.ends.first_entry() {
            let second = *first.key();
            if second > now {
                break;
            }
            for key in first.remove() {
                let Some(mut list) = markers.get(&key).cloned() else {
                    continue;
                };
                book.count -= list.extract_if(.., |marker| marker.until <= now).count();
                for marker in list.iter_mut().filter(|marker| marker.listed == second) {
                    marker.listed = marker.until;
                    book.ends.entry(marker.until).or_default().push(key.clone());
                }
                if list.is_empty() {
                    markers.remove(&key);
                } else {
                    markers.insert(key, list);
                }
            }
        }
        if book.count == 0 {
            self.attention.clear(Flag::Markers);
        }
    }

    pub(super) fn judge(&self, claims: &AccessClaims, now: i64) -> Judgement {
        let markers = self.markers.pin();
        let mut narrowed: Option<String> = None;
        for key in subject::keys(claims) {
            let found = markers.get(&key).into_iter().flatten();
            for marker in found.filter(|m| m.until > now && m.subject.selects(claims)) {
                match &marker.rule {
                    Rule::Ended { cut_off } if cut_off.is_none_or(|last| claims.iat <= last) => {
                        return Judgement::Ended;
                    }
                    Rule::Account { disabled: true, .. } => return Judgement::Ended,
                    Rule::Narrowed { scopes, at }
                        if marker.subject.token().is_some() || claims.iat <= *at =>
                    {
                        let scope = narrowed.as_deref().or(claims.scope.as_deref());
                        narrowed = Some(left_of(scope.unwrap_or_default(), scopes));
                    }
                    Rule::Ended { .. } | Rule::Account { .. } | Rule::Narrowed { .. } => {}
                }
            }
        }
        narrowed.map_or(Judgement::Stands, Judgement::Narrowed)
    }
}

/// Never more than there was.
fn left_of(scope: &str, scopes: &BTreeSet<Box<str>>) -> String {
    scope
        .split(' ')
        .filter(|held| scopes.contains(*held))
        .collect::<Vec<_>>()
        .join(" ")
}
