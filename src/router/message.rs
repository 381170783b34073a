//! What a request must be before the table sees it, whatever its path.
//!
//! | check | answer |
//! |---|---|
//! | the target is not too long | 414 |
//! | nor are the headers | 431 |
//! | one `Host` that names a host | 400 |
//! | no `Transfer-Encoding` but one `chunked` | 400 |
//! | no content coding | 415 |

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};

/// Bytes of a request target. The longest is a sign-in page's, which carries an authorization
/// request sealed twice.
const LONGEST_TARGET: usize = 24 * 1024;

/// A status, and what to mend.
type Refusal = (StatusCode, &'static str);

/// Checks all of the table above.
///
/// # Errors
/// The first that does not hold.
pub(super) fn check<B>(request: &Request<B>, longest_headers: usize) -> Result<(), Refusal> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    if target + authority > LONGEST_TARGET {
        return Err((
            StatusCode::URI_TOO_LONG,
            "The URI is limited to 24576 bytes.",
        ));
    }
    // As they were on the wire: name, colon, space, value, line end.
    let fields = headers.iter();
    let size: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if size > longest_headers {
        return Err((
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The headers are too long.",
        ));
    }
    host(headers, request.version())?;
    // RFC 9112 §6.1: `chunked` once, or two readers may find two ends of such a body.
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some() || !coding.is_none_or(chunked) {
        return Err((
            StatusCode::BAD_REQUEST,
            "The one Transfer-Encoding there may be is chunked.",
        ));
    }
    // RFC 9110 §8.4: nothing here decodes it.
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding is not supported.",
        ));
    }
    Ok(())
}

/// Whether the connection must end with the answer. A `Content-Length` beside the
/// `Transfer-Encoding` has been taken away when we look, so it may always have been there
/// (RFC 9112 §6.1).
pub(super) fn ends_connection<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(header::TRANSFER_ENCODING)
}

/// RFC 9112 §3.2: one `Host`, which HTTP/1.0 may leave out.
fn host(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let holds = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    if holds {
        return Ok(());
    }
    Err((
        StatusCode::BAD_REQUEST,
        "There must be one Host header, and it must name a host.",
    ))
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2), and not empty (RFC 9110 §4.2.1).
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else {
        return false;
    };
    let (valid, port) = match value.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(None) => return false,
        Some(Some((address, port))) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (name, port) = value.split_at(value.find(':').unwrap_or(value.len()));
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b);
            (!name.is_empty() && name.bytes().all(allowed), port)
        }
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let port =
        port.is_empty() || port.starts_with(':') && digits.bytes().all(|b| b.is_ascii_digit());
    valid && port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for host in [
            "auth.example",
            "auth.example:8443",
            "auth.example:",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "localhost",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a b", "a/b", "a@b", "a:b", "a:80:80", "[::1", "[::1]80", "[x]", "\u{ff}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(&[0xff]));
    }
}
