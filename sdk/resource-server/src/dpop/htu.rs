//! URLs as proofs name them.

use url::Url;

/// An `htu` value in its normal form: what is equal here is the same URL.
///
/// Query and fragment do not count (RFC 9449 §4.3); scheme and host are in
/// lower case, the default port is left out, dot segments are resolved, and
/// percent-encoding is used only where it is needed, with upper-case digits
/// (RFC 3986 §6.2.2, §6.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Htu(String);

impl Htu {
    /// Reads an http or https URL; `None` for anything that is not one
    /// (RFC 3986 appendix A), and for one with credentials in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // The reader below mends what browsers mend: blanks, backslashes.
        if !text.bytes().all(is_uri_octet) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let (scheme, rest) = text.split_once(':')?;
        let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        let authority = rest.strip_prefix("//")?;
        if !is_web || authority.starts_with('/') || has_credentials(authority) {
            return None;
        }
        let mut normal = url.origin().ascii_serialization();
        push_normal(url.path(), &mut normal)?;
        Some(Self(normal))
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `unreserved`, `reserved` and `%` (RFC 3986 §2).
const fn is_uri_octet(octet: u8) -> bool {
    is_unreserved(octet)
        || matches!(
            octet,
            b':' | b'/'
                | b'?'
                | b'#'
                | b'['
                | b']'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b'%'
        )
}

/// RFC 3986 §2.3.
const fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

fn has_credentials(authority: &str) -> bool {
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    authority[..end].contains('@')
}

/// Normalises the percent-encoding of a path; `None` when it is broken.
fn push_normal(path: &str, normal: &mut String) -> Option<()> {
    let mut segments = path.split('%');
    normal.push_str(segments.next()?);
    for segment in segments {
        let digits = segment.get(..2)?;
        // `from_str_radix` takes a sign as well.
        if !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return None;
        }
        let octet = u8::from_str_radix(digits, 16).ok()?;
        if is_unreserved(octet) {
            normal.push(char::from(octet));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(&segment[2..]);
    }
    Some(())
}
