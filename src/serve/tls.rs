//! TLS: the certificate, and the handshake.
//!
//! TLS 1.2 with ECDHE and AEAD suites, and TLS 1.3 (RFC 9325 §3.1.1, §4.2); the library has no
//! other versions and suites. The certificate is read again when its files change, because those
//! that renew it know nothing of us.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::impatient::Impatient;
use crate::config;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// RFC 6797 §6.1.1: a year. Other hosts of the domain are for their owner to decide about.
pub(super) const STRICT_TRANSPORT_SECURITY: HeaderValue =
    HeaderValue::from_static("max-age=31536000");
/// The answer to HTTP on this port, which cannot be a TLS alert: nobody would read that.
const SPOKE_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n\
    content-length: 92\r\n\r\n\
    {\"error\":\"invalid_request\",\"error_description\":\"This port speaks HTTPS: use an https URL.\"}\n";

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {path}: {problem}")]
pub struct TlsError {
    key: &'static str,
    path: PathBuf,
    problem: String,
}

/// What accepts TLS connections with the certificate of the day.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

impl Tls {
    /// With the certificate that the configuration names; nothing when it names none.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) fn new(config: &config::Tls) -> Result<Option<Self>, TlsError> {
        if !config.is_on() {
            return Ok(None);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = Arc::new(Current {
            files: config.clone(),
            key: ArcSwap::new(load(config, &provider)?),
            provider: provider.clone(),
        });
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|why| TlsError {
                key: "tls.certificate",
                path: config.certificate.clone(),
                problem: why.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self {
            acceptor: Arc::new(server).into(),
            current,
        }))
    }

    /// Shakes hands. Nothing comes of a peer that does not know how; who speaks HTTP is told.
    pub(super) async fn accept(
        &self,
        mut stream: TcpStream,
        patience: Duration,
    ) -> Option<TlsStream<Impatient<TcpStream>>> {
        let mut first = [0];
        stream.peek(&mut first).await.ok()?;
        if first[0].is_ascii_uppercase() {
            // What is not read would turn the end of the connection into a reset.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(SPOKE_HTTP).await;
            let _ = stream.shutdown().await;
            return None;
        }
        let stream = Impatient::new(stream, patience);
        self.acceptor.accept(stream).await.ok()
    }

    /// Keeps the certificate as its files have it, until the server stops.
    pub(super) async fn keep_current(self, mut stopped: watch::Receiver<bool>) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP is not heard; changed certificates are");
                None
            }
        };
        let mut seen = self.current.stamps();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                _ = asked => true,
                () = tokio::time::sleep(LOOK) => false,
                _ = stopped.changed() => return,
            };
            let now = self.current.stamps();
            if asked || now != seen {
                seen = now;
                self.current.reload();
            }
        }
    }
}

/// The certificate in use.
struct Current {
    files: config::Tls,
    key: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

/// When a file was written and how long it is; nothing when it is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Current {
    fn stamps(&self) -> [Stamp; 2] {
        [&self.files.certificate, &self.files.private_key].map(|path| {
            let file = fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len()))
        })
    }

    /// Files that cannot be used leave the old certificate in place: between two files that are
    /// written one after the other there is always such a moment.
    fn reload(&self) {
        match load(&self.files, &self.provider) {
            Ok(key) => {
                self.key.store(key);
                let path = self.files.certificate.display();
                tracing::info!(%path, "new certificate");
            }
            Err(error) => tracing::error!(%error, "the old certificate stays in use"),
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

fn load(files: &config::Tls, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let refuse = |key, path: &Path, problem: String| TlsError {
        key,
        path: path.to_owned(),
        problem,
    };
    let (chain_file, key_file) = (&files.certificate, &files.private_key);
    let no_chain = |problem| refuse("tls.certificate", chain_file, problem);
    let no_key = |problem| refuse("tls.private_key", key_file, problem);
    let chain = read(chain_file).map_err(no_chain)?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| no_chain(format!("is not PEM: {why}")))?;
    if chain.is_empty() {
        return Err(no_chain(
            "holds no certificate: write the chain as PEM, the server's own first".into(),
        ));
    }
    let key = zeroize::Zeroizing::new(read(key_file).map_err(no_key)?);
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| {
        no_key(format!(
            "holds no private key that can be read: write it as PEM, without a passphrase ({why})"
        ))
    })?;
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => no_key(format!(
                "is not the key of the certificate in {}: give the pair that belongs together",
                chain_file.display()
            )),
            other => no_key(format!("cannot be used: {other}")),
        })
}

/// A file, or what to do about it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|why| format!("cannot be read: {why}"))
}
