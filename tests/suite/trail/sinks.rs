//! Events are delivered at least once and in order, to real receivers that go away and come back.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use writ::{
    audit::Kind, clock::Clock, config::Config, entropy::Entropy, journal::Command, serve::Server,
};

use crate::support::{Home, NOW, after_first_start};

/// Long enough for a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a directory that can be started again.
struct Scene {
    home: Home,
    config: Config,
    server: Option<Server>,
}

impl Scene {
    async fn start(change: impl FnOnce(&mut Config, &Path)) -> Self {
        let home = after_first_start().await;
        let mut config = home.settle(Config::default());
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.issuer = "http://127.0.0.1:1".into();
        change(&mut config, home.path());
        let mut scene = Self {
            home,
            config,
            server: None,
        };
        scene.up().await;
        scene
    }

    async fn up(&mut self) {
        let (clock, entropy) = (Clock::manual(NOW), Entropy::seeded(7));
        let server = Server::start(self.config.clone(), clock, entropy).await;
        self.server = Some(server.unwrap());
    }

    async fn down(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    /// Writes events that name these numbers.
    async fn write(&self, numbers: std::ops::Range<u64>) {
        let app = &self.server.as_ref().unwrap().app;
        for number in numbers {
            let event = writ::audit::Event {
                client_id: Some("agent"),
                sub: Some("agent"),
                count: Some(number),
                ..writ::audit::Event::default()
            };
            let audit = vec![app.record(app.registry.root(), Kind::TokenIssued, &event)];
            let command = Command {
                audit,
                ..Command::default()
            };
            app.journal.commit(command).await.unwrap();
        }
    }

    /// Rows that wait for a sink, as operators see it.
    fn lag(&self, sink: &str) -> i64 {
        let app = &self.server.as_ref().unwrap().app;
        app.deliveries.find(sink).unwrap().lag()
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The numbers of the events among these lines, each checked to be one of the schema.
fn numbers(lines: impl IntoIterator<Item = String>) -> Vec<u64> {
    let events = lines.into_iter().filter_map(|line| {
        let event: Value =
            serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let class = event["class_uid"].as_u64().unwrap();
        assert_eq!(event["category_uid"], class / 1000);
        assert_eq!(
            event["type_uid"],
            class * 100 + event["activity_id"].as_u64().unwrap()
        );
        for member in ["time", "severity_id", "status_id", "metadata"] {
            assert!(!event[member].is_null(), "{member}: {line}");
        }
        event["unmapped"]["count"].as_u64()
    });
    events.collect()
}

/// Nothing is missing, and nothing comes before what it follows, but for repetitions.
#[track_caller]
fn complete(numbers: &[u64], until: u64) {
    let mut next = 0;
    for number in numbers {
        assert!(*number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
    assert_eq!(next, until);
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // The last one may be half there.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_file_gets_every_event_and_a_restart_goes_on() {
    let mut scene = Scene::start(|config, directory| {
        config.audit.export_file = directory.join("audit.jsonl");
    })
    .await;
    let file: PathBuf = scene.home.path().join("audit.jsonl");
    scene.write(0..10).await;
    until("ten events", || numbers(lines(&file)).len() >= 10).await;
    until("no lag", || scene.lag("file") == 0).await;
    // Somebody moves the file away, and a line is cut short.
    std::fs::rename(&file, file.with_extension("1")).unwrap();
    std::fs::write(&file, "{\"half\":").unwrap();
    scene.write(10..15).await;
    until("five more", || lines(&file).len() >= 6).await;
    scene.down().await;
    scene.up().await;
    scene.write(15..20).await;
    until("the last five", || {
        lines(&file)
            .iter()
            .any(|line| line.contains("\"count\":19"))
    })
    .await;
    let mut all = lines(&file.with_extension("1"));
    let rest = lines(&file);
    assert_eq!(rest[0], "{\"half\":");
    all.extend(rest.into_iter().skip(1));
    complete(&numbers(all), 20);
}

/// A real HTTP receiver that can refuse.
#[derive(Clone, Default)]
struct Receiver {
    refuses: Arc<AtomicBool>,
    got: Arc<Mutex<Vec<String>>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    assert_eq!(headers["authorization"], "Bearer of-the-receiver");
    assert_eq!(headers["content-type"], "application/x-ndjson");
    if receiver.refuses.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let mut got = receiver.got.lock().unwrap();
    got.extend(body.lines().map(str::to_owned));
    StatusCode::NO_CONTENT
}

#[tokio::test]
async fn a_webhook_gets_every_event_also_those_of_the_time_it_was_away() {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = Router::new()
        .route("/events", post(receive))
        .with_state(receiver.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    let mut scene = Scene::start(|config, directory| {
        let token = directory.join("token");
        std::fs::write(&token, "of-the-receiver\n").unwrap();
        config.audit.export_webhook = format!("http://{address}/events");
        config.audit.export_webhook_token_file = token;
        config.audit.export_webhook_private = true;
    })
    .await;
    let seen = || numbers(receiver.got.lock().unwrap().clone());
    scene.write(0..5).await;
    until("five events", || seen().len() >= 5).await;
    receiver.refuses.store(true, Ordering::Relaxed);
    scene.write(5..10).await;
    let delivery = |scene: &Scene| {
        let app = scene.server.as_ref().unwrap().app.clone();
        app.deliveries.find("webhook").unwrap().trouble()
    };
    until("trouble", || {
        delivery(&scene).is_some_and(|t| t.why.contains("503"))
    })
    .await;
    assert!(scene.lag("webhook") >= 5);
    // What waits is not forgotten by a restart.
    scene.down().await;
    scene.up().await;
    receiver.refuses.store(false, Ordering::Relaxed);
    until("the rest", || seen().contains(&9)).await;
    until("no lag", || scene.lag("webhook") == 0).await;
    assert_eq!(delivery(&scene), None);
    complete(&seen(), 10);
    serving.abort();
}

#[tokio::test]
async fn what_a_receiver_refuses_of_one_tenant_does_not_keep_the_others() {
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let longest: Arc<Mutex<usize>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = (got.clone(), longest.clone());
    // It takes nothing of the tenant that comes first, and never more than two events.
    let refusing = async |State((got, longest)): State<(Arc<Mutex<Vec<String>>>, _)>,
                          body: String| {
        let longest: Arc<Mutex<usize>> = longest;
        let mut longest = longest.lock().unwrap();
        *longest = body.len().max(*longest);
        if body.contains("/t/acme") || body.lines().count() > 2 {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        got.lock().unwrap().extend(body.lines().map(str::to_owned));
        StatusCode::NO_CONTENT
    };
    let service = Router::new()
        .route("/events", post(refusing))
        .with_state(state);
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    let scene = Scene::start(|config, _| {
        config.audit.export_webhook = format!("http://{address}/events");
        config.audit.export_webhook_private = true;
    })
    .await;
    let app = scene.server.as_ref().unwrap().app.clone();
    let event = writ::audit::Event {
        reason: Some("refused by the receiver"),
        ..writ::audit::Event::default()
    };
    let record = writ::audit::Record::new("acme", 1, Kind::TokenIssued, &event);
    let command = Command {
        audit: vec![record],
        ..Command::default()
    };
    app.journal.commit(command).await.unwrap();
    // More than one batch may have.
    let long = "x".repeat(20_000);
    for number in 0..30 {
        let event = writ::audit::Event {
            object: Some(&long),
            count: Some(number),
            ..writ::audit::Event::default()
        };
        let record = app.record(app.registry.root(), Kind::TokenIssued, &event);
        let command = Command {
            audit: vec![record],
            ..Command::default()
        };
        app.journal.commit(command).await.unwrap();
    }
    let seen = || numbers(got.lock().unwrap().clone());
    until("the other tenant's events", || seen().contains(&29)).await;
    complete(&seen(), 30);
    assert!(*longest.lock().unwrap() <= 300 * 1024);
    let delivery = app.deliveries.find("webhook").unwrap();
    assert!(delivery.trouble().is_some_and(|t| t.why.contains("413")));
    assert_eq!(delivery.progress("acme").unwrap().delivered, 0);
    serving.abort();
}

/// A real syslog receiver on one connection after the other, with octet counting.
fn syslog(listener: TcpListener, got: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            read_frames(stream, &got).await;
        }
    })
}

async fn read_frames(mut stream: TcpStream, got: &Mutex<Vec<String>>) {
    let mut buffer = Vec::new();
    loop {
        while let Some(space) = buffer.iter().position(|byte| *byte == b' ') {
            let length: usize = std::str::from_utf8(&buffer[..space])
                .unwrap()
                .parse()
                .unwrap();
            let end = space + 1 + length;
            if buffer.len() < end {
                break;
            }
            let message = String::from_utf8(buffer[space + 1..end].to_vec()).unwrap();
            got.lock().unwrap().push(message);
            buffer.drain(..end);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => buffer.extend_from_slice(&chunk[..length]),
        }
    }
}

/// The event of a message, once its header was looked at.
fn content(message: &str) -> String {
    let header = message.strip_prefix("<1").unwrap();
    assert!(
        header.starts_with("10>1 2027-01-15T") || header.starts_with("09>1 "),
        "{message}"
    );
    let (_, event) = message.split_once("\"] ").unwrap();
    event.to_owned()
}

#[tokio::test]
async fn a_syslog_receiver_that_breaks_and_comes_back_misses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = || {
        let messages = got.lock().unwrap().clone();
        numbers(messages.iter().map(|message| content(message)))
    };
    let receiving = syslog(listener, got.clone());
    let scene = Scene::start(|config, _| {
        config.audit.export_syslog = format!("tcp://{address}");
    })
    .await;
    scene.write(0..5).await;
    until("five events", || seen().len() >= 5).await;
    // The receiver goes, and with it everything it was sent and has not read.
    receiving.abort();
    let _ = receiving.await;
    scene.write(5..10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.write(10..15).await;
    assert!(scene.lag("syslog") >= 10);
    let listener = TcpListener::bind(address).await.unwrap();
    let receiving = syslog(listener, got.clone());
    until("the rest", || seen().contains(&14)).await;
    until("no lag", || scene.lag("syslog") == 0).await;
    complete(&seen(), 15);
    receiving.abort();
}

#[tokio::test]
async fn datagrams_carry_one_message_each() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let scene = Scene::start(|config, _| {
        config.audit.export_syslog = format!("udp://{address}");
    })
    .await;
    scene.write(0..3).await;
    let mut seen = Vec::new();
    let mut buffer = [0; 65_536];
    while !seen.contains(&2) {
        let read = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        let length = read.unwrap().unwrap();
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        seen.extend(numbers([content(message)]));
    }
    complete(&seen, 3);
    // One that is longer than any datagram does not stand in the way of the next.
    let app = &scene.server.as_ref().unwrap().app;
    let long = "ä".repeat(40_000);
    let event = writ::audit::Event {
        object: Some(&long),
        ..writ::audit::Event::default()
    };
    let audit = vec![app.record(app.registry.root(), Kind::TokenIssued, &event)];
    let command = Command {
        audit,
        ..Command::default()
    };
    app.journal.commit(command).await.unwrap();
    scene.write(3..4).await;
    let mut cut = 0;
    while !seen.contains(&3) {
        let read = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        let length = read.unwrap().unwrap();
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        if length > 2000 {
            cut += 1;
        } else {
            seen.extend(numbers([content(message)]));
        }
    }
    assert_eq!(cut, 1);
}
