//! A syslog receiver (RFC 5424), by datagrams (RFC 5426) or on one connection (RFC 6587 §3.4.1).
//!
//! Nobody acknowledges a syslog message. On a connection an event counts as arrived when the
//! connection still stands a while later; what was sent shortly before it broke is sent again, and
//! what then still lay in the buffers on the way is lost. A datagram that is lost is lost, and one
//! that is too long is cut (RFC 5426 §3.2).

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
};
use url::Url;

use super::Outgoing;
use crate::{audit::ocsf::is_refusal, config::SyslogTarget};

/// Facility 13, log audit (RFC 5424 §6.2.1).
const FACILITY: u8 = 13;
/// Severity of what succeeded: informational.
const INFORMATIONAL: u8 = 6;
/// Severity of what was refused: notice.
const NOTICE: u8 = 5;
/// How long a connection may take to stand, or to take a batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest datagram there is in IPv4, bytes.
const DATAGRAM: usize = 65_507;
/// What every receiver should take, bytes (RFC 5426 §3.2).
const SAFE_DATAGRAM: usize = 2048;
/// How long a connection must stand after an event.
const LINGER: Duration = Duration::from_secs(2);

/// The receiver, and the connection to it.
pub(super) struct Syslog {
    target: SyslogTarget,
    /// Our own host and node, as each message names them.
    host: String,
    node: String,
    connection: Option<Connection>,
}

enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Syslog {
    pub(super) fn new(target: SyslogTarget, issuer: &str, node: &str) -> Self {
        let url = Url::parse(issuer).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or("-");
        Self {
            target,
            host: host.to_owned(),
            node: node.to_owned(),
            connection: None,
        }
    }

    pub(super) const fn linger(&self) -> Duration {
        if self.target.tcp {
            LINGER
        } else {
            Duration::ZERO
        }
    }

    /// Whether the connection on which events were sent still stands, or there was none.
    pub(super) fn holds(&mut self) -> bool {
        let Some(Connection::Tcp(stream)) = &self.connection else {
            return true;
        };
        // Receivers say nothing; whatever comes is the end, or of no interest.
        let mut said = [0; 256];
        let stands = match stream.try_read(&mut said) {
            Ok(length) => length > 0,
            Err(why) => why.kind() == std::io::ErrorKind::WouldBlock,
        };
        if !stands {
            self.connection = None;
        }
        stands
    }

    /// Sends events.
    ///
    /// # Errors
    /// What is in the way; some may have arrived.
    pub(super) async fn send(&mut self, events: &[Outgoing]) -> Result<(), String> {
        let sent = tokio::time::timeout(PATIENCE, self.try_send(events)).await;
        let sent = match sent {
            Ok(sent) => sent.map_err(|why| why.to_string()),
            Err(_) => Err("it does not answer in time".to_owned()),
        };
        sent.map_err(|why| {
            self.connection = None;
            format!("{}: {why}", self.target.address)
        })
    }

    async fn try_send(&mut self, events: &[Outgoing]) -> std::io::Result<()> {
        let messages = events
            .iter()
            .map(|event| message(&self.host, &self.node, event));
        let messages: Vec<String> = messages.collect();
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.target).await?),
        };
        match connection {
            Connection::Tcp(stream) => {
                let framed = messages.iter().map(|text| format!("{} {text}", text.len()));
                let framed: String = framed.collect();
                stream.write_all(framed.as_bytes()).await
            }
            Connection::Udp(socket) => {
                for text in &messages {
                    send_datagram(socket, text).await?;
                }
                Ok(())
            }
        }
    }
}

/// Sends a message, without its end where that is too long for a datagram: it would stand in the
/// way of all that follow.
async fn send_datagram(socket: &UdpSocket, text: &str) -> std::io::Result<()> {
    let whole = text.len() <= DATAGRAM;
    match socket.send(start(text, DATAGRAM)).await {
        Ok(_) if whole => return Ok(()),
        Ok(_) => {}
        // Nobody listens there: that says nothing about the length.
        Err(why) if why.kind() == std::io::ErrorKind::ConnectionRefused => return Err(why),
        Err(why) if text.len() <= SAFE_DATAGRAM => return Err(why),
        Err(_) => drop(socket.send(start(text, SAFE_DATAGRAM)).await?),
    }
    let bytes = text.len();
    tracing::error!(
        bytes,
        "an event is too long for a datagram: its end was not sent to syslog"
    );
    Ok(())
}

/// The first bytes of a text, up to the end of a character.
fn start(text: &str, longest: usize) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(longest)]
}

async fn connect(target: &SyslogTarget) -> std::io::Result<Connection> {
    if target.tcp {
        let stream = TcpStream::connect(&target.address).await?;
        return Ok(Connection::Tcp(stream));
    }
    let address = tokio::net::lookup_host(&target.address).await?.next();
    let address = address.ok_or_else(|| std::io::Error::other("the name does not resolve"))?;
    let ours = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(ours).await?;
    socket.connect(address).await?;
    Ok(Connection::Udp(socket))
}

/// One message: PRI and version, time, host, application, node as process, kind as message id,
/// position as `sequenceId` (RFC 5424 §7.3.1), the event.
fn message(host: &str, node: &str, event: &Outgoing) -> String {
    let severity = if is_refusal(&event.kind) {
        NOTICE
    } else {
        INFORMATIONAL
    };
    let at = DateTime::from_timestamp_millis(event.at).unwrap_or_default();
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    // From 1 to 2147483647, and then from 1 again.
    let sequence = (event.seq - 1).rem_euclid(i64::from(i32::MAX)) + 1;
    format!(
        "<{}>1 {at} {host} writ {node} {} [meta sequenceId=\"{sequence}\"] {}",
        FACILITY * 8 + severity,
        event.kind,
        event.line,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_fields_of_rfc_5424() {
        let mut event = Outgoing {
            seq: 7,
            at: 1_800_000_000_123,
            kind: "token.issued".into(),
            line: "{}".into(),
        };
        assert_eq!(
            message("auth.example", "1", &event),
            "<110>1 2027-01-15T08:00:00.123Z auth.example writ 1 token.issued \
             [meta sequenceId=\"7\"] {}"
        );
        event.kind = "client.refused".into();
        event.seq = i64::from(i32::MAX) + 1;
        let message = message("-", "1", &event);
        assert!(message.starts_with("<109>1 "), "{message}");
        assert!(message.contains("sequenceId=\"1\""), "{message}");
    }
}
