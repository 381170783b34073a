//! Certificates made for one test, and a client that believes them.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use writ::config::Config;

/// A certificate for 127.0.0.1 with its key, in files.
pub(crate) struct Certificate {
    directory: TempDir,
    pub(crate) der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let made = make();
        let certificate = Self {
            directory,
            der: made.cert.der().clone(),
        };
        certificate.write(&made);
        certificate
    }

    /// Where the chain is.
    pub(crate) fn chain(&self) -> PathBuf {
        self.directory.path().join("chain.pem")
    }

    /// Where the private key is.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    /// Puts another certificate into the same files.
    pub(crate) fn renew(&mut self) {
        let made = make();
        self.der = made.cert.der().clone();
        self.write(&made);
    }

    /// The same with files that `disguise` has changed before they get their names.
    pub(crate) fn renew_unseen(&mut self, disguise: impl FnOnce(&Self)) {
        let aside = Self::new();
        disguise(&aside);
        std::fs::rename(aside.key(), self.key()).unwrap();
        std::fs::rename(aside.chain(), self.chain()).unwrap();
        self.der = aside.der;
    }

    fn write(&self, made: &CertifiedKey<KeyPair>) {
        // The key first: the files fit together at the end.
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.chain(), made.cert.pem()).unwrap();
    }

    /// Has a server use it.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.tls.certificate = self.chain();
        config.tls.private_key = self.key();
    }

    /// A connection that accepts nothing but this certificate.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// The answer to one honest request, when the server shows this certificate.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> std::io::Result<String> {
        let mut stream = self.connect(address, &[&TLS13, &TLS12]).await?;
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

fn make() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap()
}
