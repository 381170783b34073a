//! What the receivers were told, read when it is over.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use writ_resource::jws::{KeySet, Unverified};

use super::Failure;
use super::api::kill_switch;
use super::fleet::{Fleet, Manner};

/// Every so manyth receiver's SETs have their signatures checked.
const SAMPLE: usize = 25;

#[derive(Deserialize)]
struct Set {
    jti: String,
    sub_id: Subject,
}

#[derive(Deserialize)]
struct Subject {
    application: Option<Application>,
    session: Option<Session>,
}

#[derive(Deserialize)]
struct Application {
    sub: String,
}

#[derive(Deserialize)]
struct Session {}

impl Set {
    fn read(compact: &str) -> Result<Self, Failure> {
        Ok(Unverified::parse(compact)?.unverified_claims()?)
    }

    /// The agent that has ended everywhere.
    fn ended(&self) -> Option<&str> {
        let whole = self.sub_id.session.is_none();
        let application = self.sub_id.application.as_ref().filter(|_| whole)?;
        Some(&application.sub)
    }
}

/// When each good receiver was first told that this agent has ended, in order of time.
pub(super) fn when(fleet: &Fleet, agent: &str) -> Result<Vec<Instant>, Failure> {
    let mut all = Vec::new();
    for receiver in fleet.good() {
        for arrival in receiver.arrivals() {
            if Set::read(&arrival.set)?.ended() == Some(agent) {
                all.push(arrival.at);
                break;
            }
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// What is wrong with what arrived.
#[derive(Debug, Default, Serialize)]
pub(super) struct Books {
    /// Agents that a good receiver was not told of.
    lost: usize,
    /// SETs that it got more than once.
    duplicate: usize,
    /// SETs that came after one of a later agent.
    out_of_order: usize,
    /// SETs about what is none of its business.
    misrouted: usize,
    /// SETs that bad receivers got more than once: they never said that they had them.
    repeated_to_bad: usize,
    /// Signatures that were checked; the first bad one ends everything.
    verified: usize,
}

/// Compares what arrived with what was done.
pub(super) fn audit(fleet: &Fleet, agents: usize, keys: &KeySet) -> Result<Books, Failure> {
    let places: HashMap<String, usize> = (0..agents).map(|n| (kill_switch(n), n)).collect();
    let mut books = Books::default();
    for (number, receiver) in fleet.receivers.iter().enumerate() {
        let (mut names, mut told) = (HashSet::new(), HashSet::new());
        let (mut last, good) = (0, receiver.manner == Manner::Good);
        for arrival in receiver.arrivals() {
            if number % SAMPLE == 0 {
                verify(&arrival.set, keys)?;
                books.verified += 1;
            }
            let set = Set::read(&arrival.set)?;
            let place = set.ended().and_then(|agent| places.get(agent).copied());
            let first = names.insert(set.jti);
            match place {
                _ if !first && good => books.duplicate += 1,
                _ if !first => books.repeated_to_bad += 1,
                None => books.misrouted += 1,
                Some(place) => {
                    books.out_of_order += usize::from(place < last);
                    last = place;
                    told.insert(place);
                }
            }
        }
        if good {
            books.lost += agents - told.len();
        }
    }
    Ok(books)
}

fn verify(compact: &str, keys: &KeySet) -> Result<(), Failure> {
    let set = Unverified::parse(compact)?;
    if !set.is_typ("secevent+jwt") {
        return Err("a SET is of another type".into());
    }
    let key = keys
        .find(set.kid(), set.alg())
        .ok_or("a SET names an unknown key")?;
    set.verify(key)?;
    Ok(())
}
