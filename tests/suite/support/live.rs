//! A server behind real sockets, and a client that sends bytes as they are.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use writ::{clock::Clock, config::Config, entropy::Entropy, serve::Server};

use super::{
    Home,
    app::{NOW, after_first_start},
};

/// Long enough for a machine with other things to do; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct LiveServer {
    pub(crate) server: Server,
    _home: Home,
}

impl LiveServer {
    /// Starts one on a free port.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let home = after_first_start().await;
        let mut config = home.settle(Config::default());
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        change(&mut config);
        let server = Server::start(config, Clock::manual(NOW), Entropy::seeded(7))
            .await
            .unwrap();
        Self {
            server,
            _home: home,
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.server.address).await
    }

    /// Sends one request on a connection of its own and reads until the server closes.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> String {
        let mut connection = self.connect().await;
        connection.write(request).await;
        connection.rest().await
    }

    /// Status of an honest request on a connection of its own.
    pub(crate) async fn honest(&self) -> u16 {
        let request = "GET /jwks.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        status(&self.send(request).await)
    }
}

/// The status of a response text; 0 when there is none.
pub(crate) fn status(response: &str) -> u16 {
    let line = response.lines().next().unwrap_or_default();
    let code = line.strip_prefix("HTTP/1.1 ").unwrap_or_default();
    code.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0)
}

/// A connection whose bytes a test writes itself.
pub(crate) struct Connection(TcpStream);

impl Connection {
    /// A new one to any address.
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends bytes; a server that has closed already is no failure.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
        let _ = self.0.flush().await;
    }

    /// Says that nothing more will come.
    pub(crate) async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.0.read_to_end(&mut text);
        // A reset after the answer is how a server ends a request it will not read.
        let _ = tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the server keeps the connection open");
        String::from_utf8_lossy(&text).into_owned()
    }
}
