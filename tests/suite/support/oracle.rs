//! What holds of every answer, whatever was asked: no failure of our own, a readable refusal,
//! nothing secret, nothing cached that must not be.

use http::{Method, header};
use serde_json::Value;

use super::Answer;

/// A request and its answer.
pub(super) struct Seen<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) authorized: bool,
    pub(super) secrets: &'a [String],
    pub(super) unavailable: bool,
    pub(super) answer: &'a Answer,
}

pub(super) fn check(seen: &Seen<'_>) {
    let Seen {
        method,
        path,
        answer,
        ..
    } = seen;
    let place = format!(
        "{method} {path}: {} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    assert!(
        answer.status < 500 || (seen.unavailable && answer.status == 503),
        "our own failure: {place}"
    );
    // RFC 6585 §4.
    if matches!(answer.status, 429 | 503) {
        assert!(answer.header("retry-after").is_some(), "{place}");
    }
    check_refusal(seen, &place);
    check_caching(seen, &place);
    check_secrets(seen, &place);
    check_page(seen, &place);
    assert!(!answer.headers.contains_key(header::SERVER), "{place}");
}

/// What people see guards itself, and nothing else sets cookies (RFC 9700 §4.2, §4.16).
fn check_page(seen: &Seen<'_>, place: &str) {
    const PAGES: [&str; 5] = ["/login", "/signup", "/account", "/authorize", "/logout"];
    let headers = &seen.answer.headers;
    let path = seen.path.strip_prefix("/t/").map_or(seen.path, |named| {
        named.find('/').map_or("", |at| &named[at..])
    });
    let may_set = PAGES.iter().any(|page| path.starts_with(page));
    for cookie in headers.get_all(header::SET_COOKIE) {
        let cookie = cookie.to_str().unwrap();
        assert!(may_set && cookie.starts_with("__Host-writ-"), "{place}");
        assert!(
            cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"),
            "{cookie}: {place}"
        );
    }
    let media_type = seen.answer.header("content-type").unwrap_or_default();
    if !media_type.starts_with("text/html") {
        return;
    }
    let policy = seen.answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}: {place}");
    }
    assert!(!policy.contains("unsafe"), "{policy}: {place}");
    assert_eq!(seen.answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(seen.answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(seen.answer.header("cache-control"), Some("no-store"));
    // No script and no style but files of our own, and nothing of anybody else's.
    let page = seen.answer.text();
    let scripts = page.matches("<script").count();
    assert_eq!(scripts, page.matches("<script src=\"").count(), "{place}");
    for word in ["<style", " style=", " onclick=", "src=\"http", "src=\"//"] {
        assert!(!page.contains(word), "{word}: {place}");
    }
}

/// RFC 6749 §5.2: JSON with `error`, and an `error_description` of its alphabet.
fn check_refusal(seen: &Seen<'_>, place: &str) {
    let answer = seen.answer;
    if answer.status < 400 {
        return;
    }
    if answer.status == 401 && seen.authorized {
        // RFC 6749 §5.2, RFC 6750 §3, RFC 9110 §15.5.2.
        assert!(answer.header("www-authenticate").is_some(), "{place}");
    }
    let media_type = answer.header("content-type").unwrap_or_default();
    if media_type.starts_with("text/html") || *seen.method == Method::HEAD {
        return;
    }
    assert_eq!(media_type, "application/json", "{place}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{place}"));
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["error", "error_description"], "{place}");
    let error = body["error"].as_str().unwrap();
    assert!(
        !error.is_empty() && error.bytes().all(is_described),
        "{place}"
    );
    let description = body["error_description"].as_str().unwrap();
    assert!(!description.is_empty(), "{place}");
    assert!(description.bytes().all(is_described), "{place}");
}

/// `%x20-21 / %x23-5B / %x5D-7E`.
fn is_described(byte: u8) -> bool {
    matches!(byte, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

/// RFC 6749 §5.1, RFC 7591 §3.2.1: answers with tokens or credentials are not stored.
fn check_caching(seen: &Seen<'_>, place: &str) {
    let path = seen.path.split('?').next().unwrap_or_default();
    let private = ["/token", "/introspect", "/revoke"]
        .iter()
        .any(|end| path.ends_with(end))
        || path.contains("/register");
    let answered = !matches!(seen.answer.status, 204 | 405) && *seen.method != Method::OPTIONS;
    if private && answered {
        assert_eq!(
            seen.answer.header("cache-control"),
            Some("no-store"),
            "{place}"
        );
    }
}

/// Nothing that authenticates comes back, in body or header.
fn check_secrets(seen: &Seen<'_>, place: &str) {
    // RFC 7592 §3: the client information response holds the token that manages it.
    let managing = seen.path.contains("/register/") && seen.answer.status == 200;
    let body = String::from_utf8_lossy(&seen.answer.body);
    for secret in seen.secrets.iter().filter(|secret| secret.len() >= 8) {
        assert!(managing || !body.contains(secret.as_str()), "{place}");
        for value in seen.answer.headers.values() {
            let value = String::from_utf8_lossy(value.as_bytes());
            assert!(!value.contains(secret.as_str()), "{value}: {place}");
        }
    }
}
