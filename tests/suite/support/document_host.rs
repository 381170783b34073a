//! A web server of a client that publishes its metadata, on loopback: it counts who comes, and
//! answers as a test says, to the byte.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{Certificate, app::overlay};

/// What it answers.
#[derive(Clone, Default)]
struct Served {
    status: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// A request that names this version is told that nothing has changed.
    etag: Option<String>,
    delay: Duration,
}

/// What it serves, and who came.
#[derive(Clone)]
pub(crate) struct DocumentHost {
    pub(crate) origin: String,
    served: Arc<Mutex<Served>>,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl DocumentHost {
    /// One with a good document, by http.
    pub(crate) async fn start() -> Self {
        Self::listen("http", None).await
    }

    /// The same by https.
    pub(crate) async fn with(certificate: &Certificate) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate.chain()).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen("https", Some(Arc::new(config).into())).await
    }

    async fn listen(scheme: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            origin: format!("{scheme}://{}", listener.local_addr().unwrap()),
            served: Arc::default(),
            connections: Arc::default(),
            heads: Arc::default(),
        };
        host.publish(&host.document(&json!({})));
        let own = host.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(own.clone().greet(stream, tls.clone()));
            }
        });
        host
    }

    async fn greet(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        match tls {
            None => self.serve(stream).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    /// Reads one request and answers it.
    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        self.heads.lock().unwrap().push(head.clone());
        let served = self.served.lock().unwrap().clone();
        tokio::time::sleep(served.delay).await;
        let named = |etag: &String| head.contains(&format!("if-none-match: {etag}"));
        let unchanged = served.etag.as_ref().is_some_and(named);
        let (status, body) = if unchanged {
            ("304 Not Modified", &b""[..])
        } else {
            (&*served.status, &*served.body)
        };
        let mut answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
        for (name, value) in &served.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(etag) = &served.etag {
            answer.push_str(&format!("etag: {etag}\r\n"));
        }
        answer.push_str("\r\n");
        // Whoever has read enough hangs up.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.write_all(body).await;
        let _ = stream.shutdown().await;
    }

    /// The client's id.
    pub(crate) fn url(&self) -> String {
        format!("{}/client.json", self.origin)
    }

    /// A document for [`DocumentHost::url`]; members of `change` replace its own, and `null` takes
    /// one away.
    pub(crate) fn document(&self, change: &Value) -> Value {
        let mut document = json!({
            "client_id": self.url(),
            "client_name": "Travel agent",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
        });
        overlay(&mut document, change);
        document
    }

    /// Publishes another document from now on.
    pub(crate) fn publish(&self, document: &Value) {
        self.answer(
            "200 OK",
            "application/json",
            document.to_string().as_bytes(),
        );
    }

    /// Answers with these to the letter from now on.
    pub(crate) fn answer(&self, status: &str, content_type: &str, body: &[u8]) {
        *self.served.lock().unwrap() = Served {
            status: status.to_owned(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.to_owned(),
            ..Served::default()
        };
    }

    /// Adds a header to the answer.
    pub(crate) fn header(&self, name: &str, value: &str) {
        let mut served = self.served.lock().unwrap();
        served.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Gives the version that is published a name.
    pub(crate) fn etag(&self, etag: &str) {
        self.served.lock().unwrap().etag = Some(etag.to_owned());
    }

    /// Takes this long for an answer.
    pub(crate) fn delay(&self, delay: Duration) {
        self.served.lock().unwrap().delay = delay;
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// The last request's head, in lower case.
    pub(crate) fn last(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap()
    }
}
