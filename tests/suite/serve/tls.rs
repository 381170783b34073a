//! TLS on real sockets, with a real client.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use writ::{clock::Clock, config::Config, entropy::Entropy, serve::Server};

use crate::support::{Certificate, LiveServer, short_limits, status};

const METADATA: &str = "/.well-known/oauth-authorization-server";

#[tokio::test]
async fn with_a_certificate_everything_is_https() {
    let certificate = Certificate::new();
    let server = LiveServer::start(|config| certificate.configure(config)).await;
    let address = server.server.address;
    assert_eq!(server.server.issuer, format!("https://{address}"));
    let answer = certificate.get(address, METADATA).await.unwrap();
    assert_eq!(status(&answer), 200);
    assert!(answer.contains(&format!("\"issuer\":\"https://{address}\"")));
    // RFC 6797 §7.1: also beside a refusal.
    for path in [METADATA, "/nowhere"] {
        let answer = certificate.get(address, path).await.unwrap();
        let wanted = "\r\nstrict-transport-security: max-age=31536000\r\n";
        assert!(answer.contains(wanted), "{path}: {answer}");
    }
    server.server.stop().await;
}

#[tokio::test]
async fn without_a_certificate_nothing_is_said_of_transport_security() {
    let server = LiveServer::start(short_limits).await;
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = server.send(request).await;
    // RFC 6797 §7.2.
    assert!(!answer.contains("strict-transport-security"), "{answer}");
}

/// A ClientHello of this version that offers these cipher suites and P-256.
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let long = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|s| s.to_be_bytes()).collect();
    let groups = long(&long(&23_u16.to_be_bytes()));
    let algorithms = long(&long(&[4, 3, 2, 3]));
    let extensions = [&[0, 10], &groups[..], &[0, 13], &algorithms[..]].concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &long(&suites),
        &[1, 0],
        &long(&extensions),
    ]
    .concat();
    let handshake = [&[1, 0], &long(&body)[..]].concat();
    [&[22, 3, 1], &long(&handshake)[..]].concat()
}

async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = [0; 7];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut answer));
    read.await.unwrap().unwrap();
    answer.to_vec()
}

// AC-326
#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() {
    // RFC 5246 §7.2: a fatal alert, and which.
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    // ECDHE_ECDSA with AES-GCM; the same with CBC, which is no AEAD; RSA key exchange with GCM.
    const GOOD: u16 = 0xC02B;
    const WEAK: [u16; 3] = [0xC009, 0xC023, 0x009C];
    let certificate = Certificate::new();
    let server = LiveServer::start(|config| certificate.configure(config)).await;
    let address = server.server.address;
    for version in [0x0300, 0x0301, 0x0302] {
        let answer = answer_to(address, &client_hello(version, &[GOOD])).await;
        assert_eq!((answer[0], answer[6]), (21, PROTOCOL_VERSION), "{answer:?}");
    }
    for weak in WEAK {
        let answer = answer_to(address, &client_hello(0x0303, &[weak])).await;
        assert_eq!(
            (answer[0], answer[6]),
            (21, HANDSHAKE_FAILURE),
            "{answer:?}"
        );
    }
    // The same bytes with a good suite are answered with a ServerHello.
    let answer = answer_to(address, &client_hello(0x0303, &[GOOD])).await;
    assert_eq!((answer[0], answer[5]), (22, 2), "{answer:?}");
    for (version, suite) in [(&TLS12, "TLS_ECDHE_"), (&TLS13, "TLS13_")] {
        let stream = certificate.connect(address, &[version]).await.unwrap();
        let chosen = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        let name = format!("{:?}", chosen.suite());
        assert!(name.starts_with(suite), "{name}");
        assert!(name.contains("GCM") || name.contains("POLY1305"), "{name}");
    }
    assert!(certificate.get(address, "/healthz").await.is_ok());
}

#[tokio::test]
async fn http_on_the_port_of_https_is_told_and_closed() {
    let certificate = Certificate::new();
    let server = LiveServer::start(|config| certificate.configure(config)).await;
    let answer = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&answer), 400);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = format!("content-length: {}", body.len());
    assert!(head.contains(&length), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"], "invalid_request");
    // What is neither ends as well.
    let answer = server.send(b"\x00\x01\x02junk\r\n\r\n").await;
    assert!(!answer.contains("HTTP/"), "{answer}");
    let address = server.server.address;
    assert!(certificate.get(address, "/healthz").await.is_ok());
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let certificate = Certificate::new();
    let server = LiveServer::start(|config| {
        short_limits(config);
        config.limits.connections = 4;
        certificate.configure(config);
    })
    .await;
    let address = server.server.address;
    let hello = client_hello(0x0303, &[0xC02B]);
    let mut slow = Vec::new();
    for half in [&[][..], &hello[..1], &hello[..20], &hello[..]] {
        let mut connection = server.connect().await;
        connection.write(half).await;
        slow.push(connection);
    }
    // They fill the server, and an honest client is served all the same.
    let answer = certificate.get(address, "/healthz").await.unwrap();
    assert_eq!(status(&answer), 200);
    for mut connection in slow {
        connection.rest().await;
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let mut certificate = Certificate::new();
    let server = LiveServer::start(|config| certificate.configure(config)).await;
    let address = server.server.address;
    assert!(certificate.get(address, "/healthz").await.is_ok());
    // Half of a renewal: the old pair goes on.
    std::fs::write(certificate.chain(), "not PEM").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(certificate.get(address, "/healthz").await.is_ok());
    certificate.renew();
    assert!(shows(&certificate, address).await);
}

/// Whether the server comes to show this certificate.
async fn shows(certificate: &Certificate, address: SocketAddr) -> bool {
    for _ in 0..100 {
        if certificate.get(address, "/healthz").await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_hangup_has_the_certificate_read_again() {
    let mut certificate = Certificate::new();
    // Files that look unchanged are read again only when somebody asks.
    let (length, written) = (4096, std::time::SystemTime::UNIX_EPOCH);
    let disguise = |certificate: &Certificate| {
        for path in [certificate.chain(), certificate.key()] {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("{text:\n<length$}")).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(written).unwrap();
        }
    };
    disguise(&certificate);
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready.json");
    let mut process = Process(
        Command::new(env!("CARGO_BIN_EXE_writ"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--ready-file", "ready.json"])
            .env("WRIT_TLS__CERTIFICATE", certificate.chain())
            .env("WRIT_TLS__PRIVATE_KEY", certificate.key())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    for _ in 0..3000 {
        if ready.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    let address: SocketAddr = ready["listen"].as_str().unwrap().parse().unwrap();
    assert!(certificate.get(address, "/healthz").await.is_ok());
    // Written away from the server's eyes, and moved in with the old looks.
    certificate.renew_unseen(disguise);
    assert!(certificate.get(address, "/healthz").await.is_err());
    let pid = process.0.id().to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    assert!(sent.success());
    assert!(shows(&certificate, address).await);
    assert!(process.0.try_wait().unwrap().is_none(), "it has ended");
}

#[tokio::test]
async fn what_cannot_be_a_certificate_is_refused_at_the_start() {
    let (good, other) = (Certificate::new(), Certificate::new());
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = directory.path().join("missing.pem");
    for (chain, key, wanted) in [
        (&missing, &good.key(), "tls.certificate: "),
        (&empty, &good.key(), "holds no certificate"),
        (&good.key(), &good.key(), "holds no certificate"),
        (&good.chain(), &missing, "tls.private_key: "),
        (&good.chain(), &good.chain(), "holds no private key"),
        (&good.chain(), &other.key(), "is not the key of"),
    ] {
        let mut config = Config::default();
        config.server.listen.set_port(0);
        config.storage.data_dir = directory.path().join("data");
        config.tls.certificate.clone_from(chain);
        config.tls.private_key.clone_from(key);
        let started = Server::start(config, Clock::System, Entropy::Os).await;
        let error = started.err().unwrap().to_string();
        assert!(error.contains(wanted), "{error}");
        let named = error.contains(&chain.display().to_string())
            || error.contains(&key.display().to_string());
        assert!(named, "{error}");
    }
    assert!(!directory.path().join("data").exists(), "nothing was begun");
}
