//! Documents that are read again and again: JSON, and for how long one may be kept.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::{Fetch, FetchError, body};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The name of the version that is here already (RFC 9110 §8.8.3).
    pub etag: Option<&'a str>,
    /// Longest body, bytes.
    pub max_body: usize,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The JSON; nothing when the version that is here is still the current one.
    pub body: Option<Vec<u8>>,
    /// The name of this version.
    pub etag: Option<String>,
    /// Seconds for which it is fresh, if anything was said about that (RFC 9111 §4.2).
    pub fresh_for: Option<u64>,
}

/// Longest `ETag` that is kept, bytes.
const MAX_ETAG: usize = 256;

impl Fetch {
    /// A JSON document. Only status 200 is one, or 304 for a version that is here (RFC 9110
    /// §15.4.5); a redirect is not followed.
    ///
    /// # Errors
    /// [`FetchError`], in words that may be shown.
    pub async fn document(&self, wanted: Wanted<'_>) -> Result<Document, FetchError> {
        let request = self.client.get(self.allowed(wanted.url)?);
        let mut request = request
            .timeout(wanted.timeout)
            .header(header::ACCEPT, "application/json");
        if let Some(etag) = wanted.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(FetchError::of)?;
        let headers = response.headers();
        let document = Document {
            body: None,
            etag: text(headers, header::ETAG)
                .filter(|etag| etag.len() <= MAX_ETAG)
                .map(str::to_owned),
            fresh_for: fresh_for(headers),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if wanted.etag.is_some() => return Ok(document),
            other => return Err(FetchError::Status(other.as_u16())),
        }
        check_json(text(headers, header::CONTENT_TYPE).unwrap_or_default())?;
        let body = Some(body(response, wanted.max_body).await?);
        Ok(Document { body, ..document })
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// RFC 6839 §3.1: JSON, or something that is written in it.
fn check_json(content_type: &str) -> Result<(), FetchError> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let json = essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json");
    if json {
        return Ok(());
    }
    let shown = essence.chars().take(100).collect();
    Err(FetchError::MediaType(shown))
}

/// What `Cache-Control` allows, less the time the answer has spent in caches before this one
/// (RFC 9111 §5.2.2, §5.1).
fn fresh_for(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut max_age = None;
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(0),
            // §4.2.1: one that cannot be read is stale.
            "max-age" => max_age = Some(value.trim().trim_matches('"').parse().unwrap_or(0)),
            _ => {}
        }
    }
    let age = text(headers, header::AGE).and_then(|age| age.trim().parse().ok());
    max_age.map(|seconds: u64| seconds.saturating_sub(age.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_caches_are_told() {
        const CONTROL: &str = "cache-control";
        for (lines, fresh) in [
            (&[][..], None),
            (&[(CONTROL, "public")], None),
            (&[(CONTROL, "public, max-age=60")], Some(60)),
            (&[(CONTROL, "MAX-AGE=\"60\"")], Some(60)),
            (&[(CONTROL, "public"), (CONTROL, "max-age=60")], Some(60)),
            (&[(CONTROL, "max-age=60"), ("age", "50")], Some(10)),
            (&[(CONTROL, "max-age=60"), ("age", "70")], Some(0)),
            (&[(CONTROL, "max-age=60, no-store")], Some(0)),
            (&[(CONTROL, "no-cache")], Some(0)),
            (&[(CONTROL, "max-age=soon")], Some(0)),
            (&[("age", "70")], None),
        ] {
            assert_eq!(fresh_for(&headers(lines)), fresh, "{lines:?}");
        }
    }

    #[test]
    fn json_by_any_name() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/oauth-client-id-document+json",
        ] {
            assert!(check_json(good).is_ok(), "{good}");
        }
        for bad in ["", "text/html", "text/plain; x=+json", "application/json5"] {
            assert!(check_json(bad).is_err(), "{bad}");
        }
    }
}
