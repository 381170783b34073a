//! U. Junk of every kind at once, against the real program: its memory stays bounded, and who is
//! honest is served.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{
    Client,
    header::{FORWARDED, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long junk is sent.
const STORM: Duration = Duration::from_secs(8);
/// What one connection may hold: the headers with what is read beyond them, a body, an answer.
const CONNECTION: u64 = (32 + 64 + 64 + 32) * 1024;
const CONNECTIONS: u64 = 200;
/// Registered clients, with the metadata of each.
const CLIENTS: u64 = 500;
const METADATA: u64 = 16 * 1024;
/// Everything else: threads, the allocator's spare pages, tables of fixed size.
const REST: u64 = 48 * 1024 * 1024;

struct Target {
    process: Child,
    address: SocketAddr,
    issuer: String,
    _directory: TempDir,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Target {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ready = directory.path().join("ready.json");
        let process = Command::new(env!("CARGO_BIN_EXE_writ"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--ready-file", "ready.json"])
            // Every request may come from another address.
            .env("WRIT_SERVER__TRUSTED_PROXIES", "[\"127.0.0.0/8\"]")
            .env("WRIT_LIMITS__CONNECTIONS", CONNECTIONS.to_string())
            .env("WRIT_REGISTRATION__MAX_CLIENTS", CLIENTS.to_string())
            .env("WRIT_LIMITS__ADDRESS_RATE", "1000")
            .env("WRIT_LIMITS__CLIENT_RATE", "1000")
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..6000 {
            if ready.exists() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let ready: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        Self {
            process,
            address: ready["listen"].as_str().unwrap().parse().unwrap(),
            issuer: ready["issuer"].as_str().unwrap().to_owned(),
            _directory: directory,
        }
    }

    /// Bytes of memory, as the system counts them: `VmRSS` now, `VmHWM` at most so far.
    fn memory(&self, which: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        let kibibytes = line.split_whitespace().nth(1).unwrap();
        kibibytes.parse::<u64>().unwrap() * 1024
    }

    /// A new connection, now and then: it is memory that is to run out here, not time.
    async fn connect(&self) -> Option<TcpStream> {
        sleep(Duration::from_millis(100)).await;
        let connected = timeout(Duration::from_secs(1), TcpStream::connect(self.address));
        connected.await.ok()?.ok()
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let numbers = std::iter::repeat_with(|| self.next());
        numbers.flat_map(u64::to_le_bytes).take(length).collect()
    }

    /// One of many addresses, in one of both forms.
    fn address(&mut self) -> (&'static str, String) {
        let [a, b, c, d, e, f, g, h] = self.next().to_le_bytes();
        match a % 2 {
            0 => ("x-forwarded-for", format!("203.{b}.{c}.{d}")),
            _ => (
                "forwarded",
                format!("for=\"[2001:db8:{b:x}{c:x}:{d:x}{e:x}::{f:x}{g:x}{h:x}]\""),
            ),
        }
    }
}

/// What was sent of each kind.
#[derive(Default)]
struct Sent {
    bytes: AtomicU64,
    requests: AtomicU64,
    registrations: AtomicU64,
}

/// Bytes that are no HTTP.
async fn noise(target: Arc<Target>, sent: Arc<Sent>, mut numbers: Numbers) {
    loop {
        let Some(mut stream) = target.connect().await else {
            continue;
        };
        let junk = numbers.bytes(20_000);
        if stream.write_all(&junk).await.is_ok() {
            sent.bytes.fetch_add(junk.len() as u64, Ordering::Relaxed);
        }
        let _ = timeout(Duration::from_millis(200), stream.read(&mut [0; 512])).await;
    }
}

/// A head or a body that does not end.
async fn endless(target: Arc<Target>, sent: Arc<Sent>, head: String, chunk: Arc<str>) {
    loop {
        let Some(mut stream) = target.connect().await else {
            continue;
        };
        let _ = stream.write_all(head.as_bytes()).await;
        for _ in 0..64 {
            let written = timeout(
                Duration::from_millis(500),
                stream.write_all(chunk.as_bytes()),
            )
            .await;
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
            sent.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }
}

/// A connection that asks a thousand times and reads nothing.
async fn deaf(target: Arc<Target>) {
    let asked = "GET /jwks.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    loop {
        let Some(mut stream) = target.connect().await else {
            continue;
        };
        let _ = timeout(Duration::from_secs(1), stream.write_all(asked.as_bytes())).await;
        sleep(Duration::from_secs(1)).await;
    }
}

/// A connection that begins and goes no further.
async fn half_open(target: Arc<Target>) {
    loop {
        let Some(mut stream) = target.connect().await else {
            continue;
        };
        let _ = stream
            .write_all(b"POST /token HTTP/1.1\r\nhost: x\r\nx-slow: ")
            .await;
        // Until the server has enough of it.
        let _ = stream.read(&mut [0; 512]).await;
    }
}

/// Clients nobody knows and tokens nobody issued.
async fn strangers(target: Arc<Target>, sent: Arc<Sent>, mut numbers: Numbers) {
    let client = Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    loop {
        let (name, address) = numbers.address();
        let (id, token) = (numbers.next(), numbers.bytes(600));
        let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        let request = match id % 4 {
            0 => client
                .get(format!("{}/admin/clients", target.issuer))
                .bearer_auth(token),
            1 => client.get(format!("{}/t/{id}/{token}", target.issuer)),
            _ => {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", &id.to_string()),
                    ("client_secret", &token),
                ];
                client.post(format!("{}/token", target.issuer)).form(&form)
            }
        };
        if let Ok(answer) = request.header(name, address).send().await {
            let status = answer.status().as_u16();
            assert!(matches!(status, 400..500 | 503), "{status}");
            sent.requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Registrations, each from another address and as long as they may be.
async fn registrations(target: Arc<Target>, sent: Arc<Sent>, mut numbers: Numbers) {
    let client = Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    loop {
        let (name, address) = numbers.address();
        let uris = (0..20).map(|i| format!("https://{i}.example/{}", "a".repeat(500)));
        let metadata = json!({ "redirect_uris": uris.collect::<Vec<_>>() });
        let request = client.post(format!("{}/register", target.issuer));
        let answer = request.header(name, address).json(&metadata).send().await;
        if answer.is_ok_and(|answer| answer.status() == 201) {
            sent.registrations.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_of_every_kind_leaves_memory_bounded_and_the_server_well() {
    let target = Target::start().await;
    // Behind the same proxy, at an address of their own.
    let forwarded = HeaderValue::from_static("for=192.0.2.9");
    let honest = Client::builder()
        .default_headers(HeaderMap::from_iter([(FORWARDED, forwarded)]))
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let keys = format!("{}/jwks.json", target.issuer);
    assert_eq!(honest.get(&keys).send().await.unwrap().status(), 200);
    let idle = target.memory("VmRSS");
    let (target, sent) = (Arc::new(target), Arc::new(Sent::default()));
    let mut storm = JoinSet::new();
    let one = |seed: u64| Numbers(0x9E37_79B9_7F4A_7C15 ^ seed);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let body =
        format!("POST /token HTTP/1.1\r\nhost: x\r\n{form}transfer-encoding: chunked\r\n\r\n");
    let chunk: Arc<str> = format!("10000\r\n{}\r\n", "a".repeat(65_536)).into();
    for seed in 0..20 {
        storm.spawn(noise(target.clone(), sent.clone(), one(seed)));
        for head in ["GET / HTTP/1.1\r\nhost: x\r\nx: ", &body] {
            let (head, chunk) = (head.to_owned(), chunk.clone());
            storm.spawn(endless(target.clone(), sent.clone(), head, chunk));
        }
        storm.spawn(deaf(target.clone()));
    }
    for _ in 0..100 {
        storm.spawn(half_open(target.clone()));
    }
    for seed in 100..116 {
        storm.spawn(strangers(target.clone(), sent.clone(), one(seed)));
    }
    for seed in 200..204 {
        storm.spawn(registrations(target.clone(), sent.clone(), one(seed)));
    }
    let mut served = 0;
    let people = async {
        loop {
            if let Ok(answer) = honest.get(&keys).send().await {
                assert_eq!(answer.status(), 200);
                served += 1;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = timeout(STORM, people).await;
    storm.abort_all();
    while let Some(ended) = storm.join_next().await {
        assert!(
            ended.is_err_and(|why| why.is_cancelled()),
            "a sender has failed"
        );
    }
    let counts = [&sent.bytes, &sent.requests, &sent.registrations];
    let [bytes, requests, registered] = counts.map(|count| count.load(Ordering::Relaxed));
    let bound = idle + CONNECTIONS * CONNECTION + CLIENTS * METADATA + REST;
    let most = target.memory("VmHWM");
    let report = format!(
        "idle {idle}, most {most}, bound {bound}; junk: {bytes} bytes, {requests} requests, \
         {registered} registrations; honest: {served}"
    );
    assert!(most < bound, "{report}");
    // It was a storm, also on a machine with other things to do.
    assert!(bytes > bound && requests > 20 && registered > 0, "{report}");
    assert!(served > 1, "{report}");
    let honest = Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    assert_eq!(
        honest.get(&keys).send().await.unwrap().status(),
        200,
        "{report}"
    );
}
