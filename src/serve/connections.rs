//! The connections of a server: how many there are, which one leaves when there are too many, and
//! how they end.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::header;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::{Id, JoinSet},
    time::{sleep, timeout},
};
use tower::Service as _;

use super::{
    impatient::Impatient,
    tls::{STRICT_TRANSPORT_SECURITY, Tls},
};
use crate::{app::AppState, config::Limits, context::Peer, router};

/// Time that connections may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// Time a connection that was asked to leave may take for the rest of its last answer.
const LINGER: Duration = Duration::from_secs(1);
/// How often the next one is asked while nobody leaves.
const PATIENCE: Duration = Duration::from_millis(50);
/// Seconds, beyond those for a request, after which a peer that takes nothing of its answer is
/// given up.
const STALLED: u64 = 5;
/// Bytes that may be read beyond the limit of the headers, so that what is too long is told so.
const SLACK: usize = 64 * 1024;

/// Accepts connections until the server stops, and returns when the last one has ended.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    app: AppState,
    mut stopped: watch::Receiver<bool>,
) {
    let mut room = Room::new(app, tls, stopped.clone());
    loop {
        let accepted = tokio::select! {
            () = room.one_leaves() => continue,
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => tokio::select! {
                () = room.make_place() => room.admit(stream, Peer(peer)),
                _ = stopped.changed() => break,
            },
            // Out of file descriptors, or the peer left: take a breath and go on.
            Err(_) => {
                room.ask_longest_waiting();
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    room.close().await;
}

/// All connections there are.
struct Room {
    service: router::Issuers,
    http: http1::Builder,
    tls: Option<Tls>,
    limits: Limits,
    stopped: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    seats: HashMap<Id, Arc<Seat>>,
    /// Counts how often a connection began to wait: an order without a clock.
    turns: Arc<AtomicU64>,
}

impl Room {
    fn new(app: AppState, tls: Option<Tls>, stopped: watch::Receiver<bool>) -> Self {
        let limits = app.config.limits.clone();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(limits.header_timeout))
            .max_buf_size(limits.headers + SLACK)
            .max_headers(100)
            .half_close(false);
        Self {
            service: router::service(app),
            http,
            tls,
            limits,
            stopped,
            tasks: JoinSet::new(),
            seats: HashMap::new(),
            turns: Arc::new(AtomicU64::new(FIRST_TURN)),
        }
    }

    /// Waits until a connection has ended; for ever when there is none.
    async fn one_leaves(&mut self) {
        let gone = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(broken)) => broken.id(),
            None => return pending().await,
        };
        self.seats.remove(&gone);
    }

    /// Waits until one more may come. Whoever waits for a request longest has to leave for it.
    async fn make_place(&mut self) {
        while self.tasks.len() >= self.limits.connections {
            self.ask_longest_waiting();
            let _ = timeout(PATIENCE, self.one_leaves()).await;
        }
    }

    fn ask_longest_waiting(&self) {
        let waiting = self.seats.values().filter_map(|seat| {
            let since = seat.waiting_since.load(Ordering::Relaxed);
            (since >= FIRST_TURN).then_some((since, seat))
        });
        if let Some((since, seat)) = waiting.min_by_key(|(since, _)| *since) {
            seat.ask_to_leave(since);
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: Peer) {
        let _ = stream.set_nodelay(true);
        let seat = Arc::new(Seat {
            waiting_since: AtomicU64::new(self.turns.fetch_add(1, Ordering::Relaxed)),
            has_asked: AtomicBool::new(false),
            leave: Notify::new(),
        });
        let guest = Guest {
            peer,
            seat: seat.clone(),
            turns: self.turns.clone(),
            service: self.service.clone(),
            http: self.http.clone(),
            stopped: self.stopped.clone(),
            secure: self.tls.is_some(),
        };
        let stalled = Duration::from_secs(self.limits.request_timeout + STALLED);
        let handshake = Duration::from_secs(self.limits.header_timeout);
        let tls = self.tls.clone();
        let open = self.service.app().metrics.connections.one();
        let task = self.tasks.spawn(async move {
            let _open = open;
            let Some(tls) = tls else {
                return guest.converse(Impatient::new(stream, stalled)).await;
            };
            // In the connection's own task, so that nobody waits for another's handshake; on the
            // heap, so that not every task has room for one, and for the state of TLS.
            let shaken = timeout(handshake, Box::pin(tls.accept(stream, stalled)));
            if let Some(Ok(Some(stream))) = guest.unless_it_leaves(shaken).await {
                Box::pin(guest.converse(stream)).await;
            }
        });
        self.seats.insert(task.id(), seat);
    }

    /// Every connection has been told by `stopped`; those that have not ended in time are ended.
    async fn close(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(GRACE, all).await;
        self.tasks.shutdown().await;
    }
}

/// One connection, as its own task sees it.
struct Guest {
    peer: Peer,
    seat: Arc<Seat>,
    turns: Arc<AtomicU64>,
    service: router::Issuers,
    http: http1::Builder,
    stopped: watch::Receiver<bool>,
    secure: bool,
}

impl Guest {
    /// What comes of `work`; nothing when the connection has to end before.
    async fn unless_it_leaves<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            done = work => Some(done),
            _ = stopped.changed() => None,
            () = self.seat.leave.notified() => None,
        }
    }

    /// Answers requests until either side ends it.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) {
        let Self {
            peer,
            seat: own,
            turns,
            service,
            http,
            mut stopped,
            secure,
        } = self;
        let seat = own.clone();
        let answering = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let at_work = AtWork::begin(&seat, &turns);
            let answer = service.clone().call(request);
            async move {
                let mut answer = answer.await;
                if let (true, Ok(answer)) = (secure, &mut answer) {
                    let name = header::STRICT_TRANSPORT_SECURITY;
                    answer.headers_mut().insert(name, STRICT_TRANSPORT_SECURITY);
                }
                drop(at_work);
                answer
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), answering);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // A peer that breaks off is its own business.
            _ = connection.as_mut() => return,
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
            () = own.leave.notified() => {
                if !own.has_asked.load(Ordering::Relaxed) {
                    // There is no last answer to wait for.
                    return;
                }
                connection.as_mut().graceful_shutdown();
                let ended = timeout(LINGER, connection.as_mut()).await;
                if ended.is_ok() || own.is_waiting() {
                    return;
                }
            }
        }
        let _ = connection.await;
    }
}

/// A request is being answered.
const AT_WORK: u64 = 0;
/// Waits, and has been asked to leave.
const ASKED: u64 = 1;
const FIRST_TURN: u64 = 2;

/// What the room knows of one connection.
struct Seat {
    /// [`AT_WORK`], [`ASKED`], or since which turn it waits for a request.
    waiting_since: AtomicU64,
    /// A request has come on it, now or before.
    has_asked: AtomicBool,
    leave: Notify,
}

impl Seat {
    fn is_waiting(&self) -> bool {
        self.waiting_since.load(Ordering::Relaxed) != AT_WORK
    }

    /// Unless a request has come since.
    fn ask_to_leave(&self, since: u64) {
        let (all, mine) = (Ordering::Relaxed, &self.waiting_since);
        if mine.compare_exchange(since, ASKED, all, all).is_ok() {
            self.leave.notify_one();
        }
    }
}

/// While it lives, its connection answers a request.
struct AtWork {
    seat: Arc<Seat>,
    turns: Arc<AtomicU64>,
}

impl AtWork {
    fn begin(seat: &Arc<Seat>, turns: &Arc<AtomicU64>) -> Self {
        seat.has_asked.store(true, Ordering::Relaxed);
        seat.waiting_since.store(AT_WORK, Ordering::Relaxed);
        Self {
            seat: seat.clone(),
            turns: turns.clone(),
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        self.seat.waiting_since.store(turn, Ordering::Relaxed);
    }
}
