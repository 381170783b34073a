//! Form parameters as RFC 6749 wants them read: no repeats, empty means absent.

use std::borrow::Cow;

/// Parameters that may be given more than once (RFC 8707 §2, RFC 8693 §2.1).
const MAY_REPEAT: [&str; 2] = ["resource", "audience"];

/// Parameters of an authorization request without which nobody knows where an answer goes.
const SAYS_WHERE: [&str; 2] = ["client_id", "redirect_uri"];

/// Most parameters of one request.
const MAX: usize = 64;

/// A request's parameters, in the order sent.
#[derive(Debug)]
pub struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// Why a form was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// RFC 6749 §3.2: parameters MUST NOT be included more than once.
    #[error("parameter '{0}' is given more than once")]
    Repeated(String),
    /// More than any request needs; looking for repeats costs their square.
    #[error("there are more than {MAX} parameters")]
    TooMany,
    /// Appendix B of RFC 6749: the encoding is percent-encoded UTF-8.
    #[error("the body is not application/x-www-form-urlencoded UTF-8")]
    Encoding,
}

impl<'a> Params<'a> {
    /// Reads an `application/x-www-form-urlencoded` body.
    ///
    /// # Errors
    /// When a parameter repeats that may not, or the text is not UTF-8 after decoding.
    pub fn parse(body: &'a [u8]) -> Result<Self, ParamsError> {
        Self::once(Self::read(body, None)?)
    }

    /// The same of a form of ours in which `choice` is given once for each thing that was chosen:
    /// any number of them.
    ///
    /// # Errors
    /// As [`Params::parse`].
    pub fn parse_with_choice(body: &'a [u8], choice: &str) -> Result<Self, ParamsError> {
        Self::once(Self::read(body, Some(choice))?)
    }

    fn once((params, repeated): (Self, Option<String>)) -> Result<Self, ParamsError> {
        repeated.map_or(Ok(params), |name| Err(ParamsError::Repeated(name)))
    }

    /// The same where the answer to a repeat depends on which parameter it is: its name, with the
    /// first value of each. One that says where an answer goes is named before all others.
    ///
    /// # Errors
    /// When the text is not UTF-8 after decoding.
    pub fn parse_with_repeats(body: &'a [u8]) -> Result<(Self, Option<String>), ParamsError> {
        Self::read(body, None)
    }

    fn read(body: &'a [u8], choice: Option<&str>) -> Result<(Self, Option<String>), ParamsError> {
        let mut repeated: Option<String> = None;
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(8);
        let mut chosen = 0;
        for part in body.split(|b| *b == b'&').filter(|part| !part.is_empty()) {
            if pairs.len() - chosen == MAX {
                return Err(ParamsError::TooMany);
            }
            let (name, value) = match part.iter().position(|b| *b == b'=') {
                Some(at) => (&part[..at], &part[at + 1..]),
                None => (part, &[][..]),
            };
            let (name, value) = (decode(name)?, decode(value)?);
            if choice == Some(name.as_ref()) {
                chosen += 1;
                pairs.push((name, value));
                continue;
            }
            if pairs.iter().any(|(known, _)| *known == name) && !MAY_REPEAT.contains(&name.as_ref())
            {
                if repeated.is_none() || SAYS_WHERE.contains(&name.as_ref()) {
                    repeated = Some(name.chars().take(64).collect());
                }
                continue;
            }
            pairs.push((name, value));
        }
        Ok((Self(pairs), repeated))
    }

    /// The same parameters for as long as they are wanted.
    #[must_use]
    pub fn into_owned(self) -> Params<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let pairs = self.0.into_iter();
        Params(pairs.map(|(name, value)| (own(name), own(value))).collect())
    }

    /// Names and values, in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// The value of `name`; a parameter without a value counts as omitted (RFC 6749 §3.2).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, v)| n == name && !v.is_empty())
            .map(|(_, v)| v.as_ref())
    }

    /// Every value of `name`, for parameters that may repeat.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.0
            .iter()
            .filter(move |(n, v)| n == name && !v.is_empty())
            .map(|(_, v)| v.as_ref())
    }
}

/// One form-urlencoded component; broken escapes and non-UTF-8 are refused, not repaired.
fn decode(raw: &[u8]) -> Result<Cow<'_, str>, ParamsError> {
    if !raw.iter().any(|b| matches!(b, b'+' | b'%')) {
        return std::str::from_utf8(raw)
            .map(Cow::Borrowed)
            .map_err(|_| ParamsError::Encoding);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(&byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = hex(rest.next()).ok_or(ParamsError::Encoding)?;
                let low = hex(rest.next()).ok_or(ParamsError::Encoding)?;
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| ParamsError::Encoding)
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    char::from(*digit?)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Decodes one form-urlencoded component to text, as HTTP Basic credentials need it
/// (RFC 6749 §2.3.1). `None` when the encoding is broken.
#[must_use]
pub fn decode_component(raw: &str) -> Option<Cow<'_, str>> {
    decode(raw.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_absent_and_unknown_is_kept_out_of_the_way() {
        let params = Params::parse(b"scope=&x=1&grant_type=client%5Fcredentials").unwrap();
        assert_eq!(params.get("scope"), None);
        assert_eq!(params.get("grant_type"), Some("client_credentials"));
    }

    #[test]
    fn repeats_are_refused_except_targets() {
        assert_eq!(
            Params::parse(b"scope=a&scope=b").unwrap_err(),
            ParamsError::Repeated("scope".into())
        );
        let params = Params::parse(b"resource=a&resource=b").unwrap();
        assert_eq!(params.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_choice_may_be_of_any_number() {
        let many = "scope=a&".repeat(MAX * 2);
        let body = format!("{many}scope=b&csrf=x");
        let params = Params::parse_with_choice(body.as_bytes(), "scope").unwrap();
        assert_eq!(params.all("scope").count(), MAX * 2 + 1);
        assert_eq!(params.get("csrf"), Some("x"));
        let twice = format!("{body}&csrf=y");
        assert_eq!(
            Params::parse_with_choice(twice.as_bytes(), "scope").unwrap_err(),
            ParamsError::Repeated("csrf".into())
        );
        let others: String = (0..=MAX).map(|n| format!("a{n}=&")).collect();
        assert_eq!(
            Params::parse_with_choice(others.as_bytes(), "scope").unwrap_err(),
            ParamsError::TooMany
        );
    }

    #[test]
    fn broken_encoding_is_refused() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"\xff=1"] {
            assert_eq!(Params::parse(body).unwrap_err(), ParamsError::Encoding);
        }
        assert_eq!(Params::parse(b"a=b+c%2B").unwrap().get("a"), Some("b c+"));
    }
}
