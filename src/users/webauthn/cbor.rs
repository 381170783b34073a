//! As much of CBOR (RFC 8949) as authenticators send, strictly in the canonical form of CTAP2 §8:
//! definite lengths, shortest numbers, no tags, no floating point, no key twice.

/// Levels of nesting, more than CTAP2 §8 allows.
const DEEPEST: usize = 8;

/// A value, as it lies in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Major types 0 and 1.
    Number(i64),
    /// Major type 2.
    Bytes(&'a [u8]),
    /// Major type 3.
    Text(&'a str),
    /// Major type 4.
    List(Vec<Value<'a>>),
    /// Major type 5.
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// `false`, `true`.
    Truth(bool),
    /// `null`.
    Null,
}

impl<'a> Value<'a> {
    /// Reads one value, and says what follows it.
    #[must_use]
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        read(bytes, DEEPEST)
    }

    /// The member of a map under this key.
    #[must_use]
    pub(super) fn member(&self, key: &Self) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The member under a number.
    #[must_use]
    pub(super) fn numbered(&self, key: i64) -> Option<&Self> {
        self.member(&Value::Number(key))
    }

    /// A number.
    #[must_use]
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A byte string.
    #[must_use]
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

fn read(bytes: &[u8], depth: usize) -> Option<(Value<'_>, &[u8])> {
    let depth = depth.checked_sub(1)?;
    let (&first, rest) = bytes.split_first()?;
    let (major, argument, rest) = argument(first, rest)?;
    match major {
        0 => Some((Value::Number(i64::try_from(argument).ok()?), rest)),
        1 => Some((Value::Number(-1 - i64::try_from(argument).ok()?), rest)),
        2 | 3 => {
            let (taken, rest) = rest.split_at_checked(usize::try_from(argument).ok()?)?;
            let value = match major {
                2 => Value::Bytes(taken),
                _ => Value::Text(std::str::from_utf8(taken).ok()?),
            };
            Some((value, rest))
        }
        4 => list(rest, argument, depth),
        5 => map(rest, argument, depth),
        7 => match argument {
            20 => Some((Value::Truth(false), rest)),
            21 => Some((Value::Truth(true), rest)),
            22 => Some((Value::Null, rest)),
            _ => None,
        },
        _ => None,
    }
}

/// The major type and the number behind it, in its shortest form (RFC 8949 §4.2.1).
fn argument(first: u8, rest: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (major, short) = (first >> 5, first & 31);
    if short < 24 {
        return Some((major, u64::from(short), rest));
    }
    // A simple value that long is none of ours, and lengths are definite.
    let length = match short {
        24..=27 if major != 7 => 1_usize << (short - 24),
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(length)?;
    let number = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let least = match length {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    (number >= least).then_some((major, number, rest))
}

fn list(mut rest: &[u8], count: u64, depth: usize) -> Option<(Value<'_>, &[u8])> {
    let mut items = Vec::new();
    // Each takes a byte at least: the bytes end before memory does.
    for _ in 0..count {
        let (item, behind) = read(rest, depth)?;
        items.push(item);
        rest = behind;
    }
    Some((Value::List(items), rest))
}

fn map(mut rest: &[u8], count: u64, depth: usize) -> Option<(Value<'_>, &[u8])> {
    let mut members: Vec<(Value<'_>, Value<'_>)> = Vec::new();
    for _ in 0..count {
        let (key, behind) = read(rest, depth)?;
        let simple = matches!(key, Value::Number(_) | Value::Text(_));
        if !simple || members.iter().any(|(known, _)| *known == key) {
            return None;
        }
        let (value, behind) = read(behind, depth)?;
        members.push((key, value));
        rest = behind;
    }
    Some((Value::Map(members), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Option<Value<'_>> {
        let (value, rest) = Value::read(bytes)?;
        rest.is_empty().then_some(value)
    }

    /// RFC 8949, appendix A.
    #[test]
    fn values() {
        for (bytes, value) in [
            (&[0x00][..], Value::Number(0)),
            (&[0x17], Value::Number(23)),
            (&[0x18, 0x18], Value::Number(24)),
            (&[0x19, 0x03, 0xe8], Value::Number(1000)),
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], Value::Number(1_000_000)),
            (&[0x20], Value::Number(-1)),
            (&[0x38, 0x63], Value::Number(-100)),
            (&[0x39, 0x01, 0x00], Value::Number(-257)),
            (&[0x44, 1, 2, 3, 4], Value::Bytes(&[1, 2, 3, 4])),
            (&[0x62, 0xc3, 0xbc], Value::Text("\u{fc}")),
            (&[0xf4], Value::Truth(false)),
            (&[0xf6], Value::Null),
            (&[0x80], Value::List(vec![])),
            (&[0xa0], Value::Map(vec![])),
        ] {
            assert_eq!(whole(bytes), Some(value), "{bytes:x?}");
        }
        let nested = [0xa2, 0x01, 0x82, 0x02, 0x03, 0x61, b'a', 0xf5];
        let value = whole(&nested).unwrap();
        let list = Value::List(vec![Value::Number(2), Value::Number(3)]);
        assert_eq!(value.numbered(1), Some(&list));
        assert_eq!(value.member(&Value::Text("a")), Some(&Value::Truth(true)));
    }

    #[test]
    fn what_is_not_canonical_is_nothing() {
        for bytes in [
            &[][..],
            // Longer than needed.
            &[0x18, 0x17],
            &[0x19, 0x00, 0xff],
            &[0x1a, 0x00, 0x00, 0xff, 0xff],
            &[0x58, 0x01, 0x00],
            // Cut off.
            &[0x19, 0x03],
            &[0x42, 0x00],
            &[0x82, 0x00],
            &[0xa1, 0x00],
            &[0x5a, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            // Beyond i64, indefinite, tagged, floating, reserved.
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5f, 0x41, 0x00, 0xff],
            &[0x9f, 0xff],
            &[0xc0, 0x00],
            &[0xf9, 0x00, 0x00],
            &[0xf8, 0x20],
            &[0xf7],
            &[0x1c],
            // No UTF-8, a key twice, a key that is a list.
            &[0x61, 0xff],
            &[0xa2, 0x00, 0x00, 0x00, 0x01],
            &[0xa1, 0x80, 0x00],
            // Deeper than anybody nests.
            &[0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x00],
        ] {
            assert_eq!(whole(bytes), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::read(&bytes);
        }
    }
}
