//! A feed on a bare connection: ten thousand of them have to cost little here.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::Failure;
use super::fleet::Receiver;

/// An open answer (RFC 9112 §7.1, chunked).
pub(super) struct Feed {
    connection: TcpStream,
    /// What has been read and is not understood yet.
    raw: Vec<u8>,
    /// What is left of the chunk.
    chunk: usize,
    /// Text of events whose end has not come.
    text: Vec<u8>,
}

impl Feed {
    /// Opens it; returns when its header is there.
    pub(super) async fn open(issuer: &str, token: &str, stream_id: &str) -> Result<Self, Failure> {
        let url = Url::parse(issuer)?;
        let addresses = url.socket_addrs(|| None)?;
        let mut connection = TcpStream::connect(&*addresses).await?;
        let (host, path) = (url.authority(), url.path().trim_end_matches('/'));
        let request = format!(
            "GET {path}/ssf/feed?stream_id={stream_id} HTTP/1.1\r\nHost: {host}\r\n\
             Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await?;
        let mut feed = Self {
            connection,
            raw: Vec::new(),
            chunk: 0,
            text: Vec::new(),
        };
        let head = loop {
            if let Some(end) = find(&feed.raw, b"\r\n\r\n") {
                break feed.raw.drain(..end + 4).collect::<Vec<_>>();
            }
            feed.read().await?;
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") || !head.contains("transfer-encoding: chunked") {
            return Err(format!("a feed was not opened: {head}").into());
        }
        Ok(feed)
    }

    /// Notes what comes, until it ends.
    pub(super) async fn follow(mut self, receiver: Arc<Receiver>) -> Result<(), Failure> {
        loop {
            self.unpack()?;
            while let Some(end) = find(&self.text, b"\n\n") {
                let event = self.text.drain(..end + 2).collect::<Vec<_>>();
                let event = std::str::from_utf8(&event)?;
                if let Some(set) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                    receiver.note(set.to_owned());
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.connection.read_buf(&mut self.raw).await? {
            0 => Err("a feed has ended".into()),
            _ => Ok(()),
        }
    }

    /// Takes the text out of its chunks.
    fn unpack(&mut self) -> Result<(), Failure> {
        loop {
            if self.chunk > 0 {
                let here = self.chunk.min(self.raw.len());
                self.text.extend(self.raw.drain(..here));
                self.chunk -= here;
                if self.chunk > 0 {
                    return Ok(());
                }
            }
            // What ends the chunk before stands in front of the next one's length.
            let from = if self.raw.starts_with(b"\r\n") { 2 } else { 0 };
            let Some(end) = find(&self.raw[from..], b"\r\n") else {
                return Ok(());
            };
            let length = std::str::from_utf8(&self.raw[from..from + end])?;
            self.chunk = usize::from_str_radix(length, 16)?;
            if self.chunk == 0 {
                return Err("a feed has ended".into());
            }
            self.raw.drain(..from + end + 2);
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|some| some == wanted)
}
