//! Receivers that only note what arrives, and when.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::post;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{Administrator, other};
use super::feed::Feed;
use super::{Case, Failure, Way};

/// Requests of the preparation that are under way at a time.
const TOGETHER: usize = 32;
/// What a slow receiver takes for an answer.
const SLOW: Duration = Duration::from_secs(5);

/// What a receiver is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    /// Nobody listens there.
    Dead,
    /// It answers after [`SLOW`].
    Slow,
}

/// A SET, and when it arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Instant,
    pub(super) set: String,
}

/// One stream's other end.
pub(super) struct Receiver {
    pub(super) manner: Manner,
    token: String,
    stream_id: String,
    endpoint_url: String,
    arrivals: Mutex<Vec<Arrival>>,
    /// SETs that have arrived at good receivers of this fleet.
    arrived: Arc<AtomicUsize>,
}

impl Receiver {
    pub(super) fn note(&self, set: String) {
        let at = Instant::now();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push(Arrival { at, set });
        if self.manner == Manner::Good {
            self.arrived.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.clone()
    }
}

/// All of them.
pub(super) struct Fleet {
    way: Way,
    pub(super) receivers: Vec<Arc<Receiver>>,
    pub(super) arrived: Arc<AtomicUsize>,
    listener: Option<TcpListener>,
    following: JoinSet<Result<(), Failure>>,
}

impl Fleet {
    /// Makes their streams.
    pub(super) async fn subscribe(
        administrator: &Administrator,
        case: &Case,
        count: usize,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let somebody = listener.local_addr()?;
        let arrived = Arc::new(AtomicUsize::new(0));
        let clients = (0..count).step_by(case.streams_each);
        let made = together(clients, async |first| {
            let token = administrator
                .receivers_token(&other(first / case.streams_each))
                .await?;
            let mut made = Vec::new();
            for number in first..count.min(first + case.streams_each) {
                let manner = manner(number, case);
                let place = if manner == Manner::Dead {
                    nobody
                } else {
                    somebody
                };
                let delivery = match case.way {
                    Way::Feed | Way::Poll => json!({ "method": "urn:ietf:rfc:8936" }),
                    Way::Push => json!({
                        "method": "urn:ietf:rfc:8935",
                        "endpoint_url": format!("http://{place}/{number}"),
                        "authorization_header": authorization(number),
                    }),
                };
                let stream = administrator.stream(&token, &delivery).await?;
                made.push(Receiver {
                    manner,
                    token: token.clone(),
                    stream_id: stream.stream_id,
                    endpoint_url: stream.delivery.endpoint_url,
                    arrivals: Mutex::default(),
                    arrived: Arc::clone(&arrived),
                });
            }
            Ok((first, made))
        });
        let mut made = made.await?;
        made.sort_unstable_by_key(|(first, _)| *first);
        let receivers = made.into_iter().flat_map(|(_, receivers)| receivers);
        Ok(Self {
            way: case.way,
            receivers: receivers.map(Arc::new).collect(),
            arrived,
            listener: Some(listener),
            following: JoinSet::new(),
        })
    }

    /// Has them listen; returns when all of them do.
    pub(super) async fn listen(&mut self, administrator: &Administrator) -> Result<(), Failure> {
        match self.way {
            Way::Push => {
                let receivers: Arc<[Arc<Receiver>]> = self.receivers.clone().into();
                let app = Router::new()
                    .route("/{number}", post(take))
                    .with_state(receivers);
                if let Some(listener) = self.listener.take() {
                    self.following
                        .spawn(async move { Ok(axum::serve(listener, app).await?) });
                }
            }
            Way::Feed => {
                let issuer = &administrator.issuer;
                let opened = together(self.receivers.iter().cloned(), async |receiver| {
                    let feed = Feed::open(issuer, &receiver.token, &receiver.stream_id).await?;
                    Ok((feed, receiver))
                });
                for (feed, receiver) in opened.await? {
                    self.following.spawn(feed.follow(receiver));
                }
            }
            Way::Poll => {
                for receiver in self.receivers.iter().cloned() {
                    self.following
                        .spawn(poll(administrator.http.clone(), receiver));
                }
            }
        }
        // Polls are under way, and what making all of this took is over.
        sleep(Duration::from_secs(1)).await;
        self.still_listens()
    }

    /// # Errors
    /// What became of the first one that does not any more.
    pub(super) fn still_listens(&mut self) -> Result<(), Failure> {
        match self.following.try_join_next() {
            None => Ok(()),
            Some(ended) => Err(ended??).map_err(|()| "a receiver has ended".into()),
        }
    }

    /// Those that answer, and at once.
    pub(super) fn good(&self) -> impl Iterator<Item = &Arc<Receiver>> {
        self.receivers
            .iter()
            .filter(|receiver| receiver.manner == Manner::Good)
    }
}

/// The bad ones are spread over all.
fn manner(number: usize, case: &Case) -> Manner {
    let place = number % 10;
    match place {
        _ if place < case.dead * 10 / case.receivers => Manner::Dead,
        _ if place < (case.dead + case.slow) * 10 / case.receivers => Manner::Slow,
        _ => Manner::Good,
    }
}

fn authorization(number: usize) -> String {
    format!("Bearer of-receiver-{number}")
}

/// A push (RFC 8935 §2).
async fn take(
    State(receivers): State<Arc<[Arc<Receiver>]>>,
    Path(number): Path<usize>,
    headers: http::HeaderMap,
    set: String,
) -> StatusCode {
    let known = headers
        .get("authorization")
        .is_some_and(|value| *value == *authorization(number));
    let Some(receiver) = receivers.get(number).filter(|_| known) else {
        return StatusCode::UNAUTHORIZED;
    };
    receiver.note(set);
    if receiver.manner == Manner::Slow {
        sleep(SLOW).await;
    }
    StatusCode::ACCEPTED
}

/// Long polls (RFC 8936 §2), one after the other.
async fn poll(http: reqwest::Client, receiver: Arc<Receiver>) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Answer {
        sets: HashMap<String, String>,
    }
    let mut known: Vec<String> = Vec::new();
    loop {
        let asked: Value = json!({ "ack": known, "returnImmediately": false });
        let request = http
            .post(&receiver.endpoint_url)
            .bearer_auth(&receiver.token);
        let answer = request.json(&asked).send().await?.error_for_status()?;
        let answer: Answer = answer.json().await?;
        // Names are in the order of what they name.
        let mut sets: Vec<_> = answer.sets.into_iter().collect();
        sets.sort_unstable();
        known.clear();
        for (jti, set) in sets {
            receiver.note(set);
            known.push(jti);
        }
    }
}

/// Does something with all of them, some at a time.
async fn together<T, R, F: Future<Output = Result<R, Failure>>>(
    all: impl Iterator<Item = T>,
    work: impl Fn(T) -> F,
) -> Result<Vec<R>, Failure> {
    let queue = Mutex::new(all);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = async || {
        let mut done = Vec::new();
        while let Some(one) = next() {
            done.push(work(one).await?);
        }
        Ok::<_, Failure>(done)
    };
    let workers = (0..TOGETHER).map(|_| worker());
    let done = futures_util::future::try_join_all(workers).await?;
    Ok(done.into_iter().flatten().collect())
}

/// Resident memory of a process, KiB (proc(5)).
pub(super) fn resident(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("an unknown /proc/PID/status")?.parse()?)
}
