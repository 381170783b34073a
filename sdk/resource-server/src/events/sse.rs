//! Reads a stream of server-sent events (WHATWG HTML §9.2.6), of which none
//! is longer than a SET.

use super::set::MAX_SET;

/// What a field's name and an `id` may add to a SET.
const MAX_LINE: usize = MAX_SET + 64;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) event: String,
    /// Empty when it was too long to be kept.
    pub(super) data: String,
}

/// Collects octets until an event is complete.
#[derive(Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    after_return: bool,
    too_long: bool,
    begun: bool,
    message: Message,
    has_data: bool,
}

impl Reader {
    /// Takes what has arrived, and gives each event that it completes.
    pub(super) fn push(&mut self, octets: &[u8], mut complete: impl FnMut(Message)) {
        for &octet in octets {
            match octet {
                b'\n' if self.after_return => self.after_return = false,
                b'\r' | b'\n' => {
                    self.after_return = octet == b'\r';
                    if let Some(message) = self.end_line() {
                        complete(message);
                    }
                }
                _ => {
                    self.after_return = false;
                    if self.line.len() < MAX_LINE {
                        self.line.push(octet);
                    } else {
                        self.too_long = true;
                    }
                }
            }
        }
    }

    fn end_line(&mut self) -> Option<Message> {
        let mut line = std::mem::take(&mut self.line);
        let too_long = std::mem::take(&mut self.too_long);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        // A comment begins with a colon: its field has no name.
        let colon = line.iter().position(|octet| *octet == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let value = if too_long { &[] } else { value };
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            b"id" if !value.contains(&0) => self.message.id = text(),
            b"event" => self.message.event = text(),
            // A compact JWS is on one line; more of them are no SET.
            b"data" if self.has_data => self.message.data.clear(),
            b"data" => {
                self.message.data = text();
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Message> {
        let mut reader = Reader::default();
        let mut messages = Vec::new();
        for piece in pieces {
            reader.push(piece, |message| messages.push(message));
        }
        messages
    }

    fn message(id: &str, event: &str, data: &str) -> Message {
        Message {
            id: id.into(),
            event: event.into(),
            data: data.into(),
        }
    }

    #[test]
    fn lines_end_in_three_ways_and_arrive_in_any_pieces() {
        let text = "\u{feff}: hello\n\nid: 1\r\nevent: set\r\ndata: a.b.c\r\n\r\nid:2\rdata:x\r\r";
        let expected = [message("1", "set", "a.b.c"), message("2", "", "x")];
        assert_eq!(read(&[text.as_bytes()]), expected);
        let octets: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&octets), expected);
    }

    #[test]
    fn what_is_not_a_message_is_none() {
        for text in ["id: 1\n\n", ":\n\n\n\n", "data: x\n", "retry: 5\n\n"] {
            assert_eq!(read(&[text.as_bytes()]), [], "{text:?}");
        }
    }

    #[test]
    fn too_long_a_line_costs_its_own_message_only() {
        let long = "x".repeat(MAX_LINE * 2);
        let text = format!("id: 1\ndata: {long}\n\nid: 2\ndata: y\n\n");
        let messages = read(&[text.as_bytes()]);
        assert_eq!(messages, [message("1", "", ""), message("2", "", "y")]);
    }

    #[test]
    fn several_lines_of_data_are_not_a_set() {
        let messages = read(&[b"id: 1\ndata: a.\ndata: b.c\n\n"]);
        assert_eq!(messages, [message("1", "", "")]);
    }
}
