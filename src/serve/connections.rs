//! The connections of a server: how many there are, which one leaves when there are too many, and
//! how they end.

use std::{
    collections::HashMap,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::{Id, JoinSet},
    time::{Sleep, sleep, timeout},
};
use tower::Service as _;

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
    app: AppState,
    mut stopped: watch::Receiver<bool>,
) {
    let mut room = Room::new(app, stopped.clone());
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
    limits: Limits,
    stopped: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    seats: HashMap<Id, Arc<Seat>>,
    /// Counts how often a connection began to wait: an order without a clock.
    turns: Arc<AtomicU64>,
}

impl Room {
    fn new(app: AppState, stopped: watch::Receiver<bool>) -> Self {
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
            None => return std::future::pending().await,
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
        let stalled = Duration::from_secs(self.limits.request_timeout + STALLED);
        let seat = Arc::new(Seat {
            waiting_since: AtomicU64::new(self.turns.fetch_add(1, Ordering::Relaxed)),
            leave: Notify::new(),
        });
        let answering = {
            let (seat, turns, service) = (seat.clone(), self.turns.clone(), self.service.clone());
            service_fn(move |mut request: http::Request<Incoming>| {
                request.extensions_mut().insert(peer);
                let at_work = AtWork::begin(&seat, &turns);
                let answer = service.clone().call(request);
                async move {
                    let answer = answer.await;
                    drop(at_work);
                    answer
                }
            })
        };
        let open = self.service.app().metrics.connections.one();
        let stream = TokioIo::new(Impatient::new(stream, stalled));
        let connection = self.http.serve_connection(stream, answering);
        let (own, mut stopped) = (seat.clone(), self.stopped.clone());
        let task = self.tasks.spawn(async move {
            let (_open, mut connection) = (open, pin!(connection));
            tokio::select! {
                // A peer that breaks off is its own business.
                _ = connection.as_mut() => return,
                _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
                () = own.leave.notified() => {
                    connection.as_mut().graceful_shutdown();
                    let ended = timeout(LINGER, connection.as_mut()).await;
                    if ended.is_ok() || own.is_waiting() {
                        return;
                    }
                }
            }
            let _ = connection.await;
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

/// A request is being answered.
const AT_WORK: u64 = 0;
/// Waits, and has been asked to leave.
const ASKED: u64 = 1;
const FIRST_TURN: u64 = 2;

/// What the room knows of one connection.
struct Seat {
    /// [`AT_WORK`], [`ASKED`], or since which turn it waits for a request.
    waiting_since: AtomicU64,
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

/// A stream that fails when the peer takes nothing of what is written for `patience`.
struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Runs while a write is pending.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    const fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            stalled: None,
        }
    }

    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (near, _far) = duplex(8);
        let mut stream = Impatient::new(near, Duration::from_millis(20));
        let error = stream.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_is_only_slow_gets_everything() {
        let (near, mut far) = duplex(8);
        let mut stream = Impatient::new(near, Duration::from_millis(500));
        let reader = tokio::spawn(async move {
            let mut chunk = [0; 8];
            for _ in 0..8 {
                sleep(Duration::from_millis(100)).await;
                far.read_exact(&mut chunk).await.unwrap();
            }
        });
        stream.write_all(&[7; 64]).await.unwrap();
        reader.await.unwrap();
    }
}
