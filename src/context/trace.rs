//! W3C Trace Context: the trace a request is a part of.

use http::{HeaderMap, HeaderName};

use super::Text;
use crate::entropy::Entropy;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where a request stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: Text<32>,
    parent: Option<Text<16>>,
    sampled: bool,
}

impl Trace {
    /// The caller's trace, or a new one when it sends none, several or one that does not hold
    /// (Trace Context §3.2.2, §4.3).
    pub(super) fn of(headers: &HeaderMap, entropy: &Entropy) -> Self {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        let only = sent.next().filter(|_| sent.next().is_none());
        only.and_then(|value| Self::parse(value.as_bytes()))
            .unwrap_or_else(|| Self {
                id: Text::hexadecimal(&entropy.bytes::<16>()),
                parent: None,
                sampled: false,
            })
    }

    /// `version "-" trace-id "-" parent-id "-" trace-flags`, hexadecimal in lower case.
    fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(55)?;
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let (version, id, parent, flags) =
            (&known[..2], &known[3..35], &known[36..52], &known[53..55]);
        let digits = [version, id, parent, flags]
            .into_iter()
            .flatten()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
        // §3.2.2.1: version ff is none. §3.2.4: a later version may add to the end, not change
        // what we know; this version adds nothing.
        let ends = more.is_empty() || (version != b"00" && more[0] == b'-');
        if !dashes || !digits || version == b"ff" || !ends || zero(id) || zero(parent) {
            return None;
        }
        Some(Self {
            id: Text(id.try_into().ok()?),
            parent: Some(Text(parent.try_into().ok()?)),
            // §3.2.2.5: the lowest bit; what the others mean is not ours to say.
            sampled: matches!(
                flags[1],
                b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'
            ),
        })
    }

    /// `trace-id`, 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// `parent-id` of the caller, 16 hexadecimal digits; none in a trace that begins here.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_ref().map(Text::as_str)
    }

    /// Whether the caller records this trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn of(sent: &[&str]) -> Trace {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        Trace::of(&headers, &Entropy::seeded(1))
    }

    #[test]
    fn a_trace_is_continued() {
        for (sent, sampled) in [
            (format!("00-{ID}-{PARENT}-01"), true),
            (format!("00-{ID}-{PARENT}-00"), false),
            (format!("00-{ID}-{PARENT}-fe"), false),
            (format!("00-{ID}-{PARENT}-03"), true),
            (format!("cc-{ID}-{PARENT}-01"), true),
            (format!("cc-{ID}-{PARENT}-01-what-the-future-brings"), true),
        ] {
            let trace = of(&[&sent]);
            assert_eq!(
                (trace.id(), trace.parent(), trace.is_sampled()),
                (ID, Some(PARENT), sampled),
                "{sent}"
            );
        }
    }

    #[test]
    fn what_does_not_hold_begins_a_new_one() {
        let (zeros, good) = ("0".repeat(32), format!("00-{ID}-{PARENT}-01"));
        let bad = [
            String::new(),
            "00".into(),
            format!("ff-{ID}-{PARENT}-01"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{ID}-{}-01", &zeros[..16]),
            format!("00-{}-{PARENT}-01", ID.to_uppercase()),
            format!("00-{ID}-{PARENT}-01-more"),
            format!("00-{ID}-{PARENT}-01-"),
            format!("cc-{ID}-{PARENT}-01.more"),
            format!("00-{ID}-{PARENT}-1"),
            format!("00-{ID}-{PARENT}-0g"),
            format!("00_{ID}-{PARENT}-01"),
            format!("0-{ID}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", &ID[1..]),
            format!(" {good}"),
        ];
        for sent in &bad {
            let trace = of(&[sent]);
            assert_ne!(trace.id(), ID, "{sent}");
            assert_eq!(
                (trace.parent(), trace.is_sampled()),
                (None, false),
                "{sent}"
            );
        }
        assert_ne!(of(&[&good, &good]).id(), ID);
        let begun = of(&[]);
        assert_eq!(begun.id().len(), 32);
        assert!(begun.id().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(begun.id(), zeros);
    }
}
