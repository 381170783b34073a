//! HTTP as the command line uses it: no redirects, bounded in time and size, failures in words.

use std::{error::Error as _, time::Duration};

use http::{HeaderMap, StatusCode, header};
use reqwest::{Client, IntoUrl, Method, RequestBuilder, Response, redirect::Policy};
use serde::de::DeserializeOwned;
use url::Url;

use super::Failure;
use crate::oauth::resource::is_loopback;

/// Seconds until a connection stands.
const CONNECT: u64 = 5;
/// Seconds for a whole exchange.
const TIMEOUT: u64 = 20;
/// Bytes of an answer that are read: a long list of clients fits.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Makes requests. The person who typed the URL decides where they go, private addresses too.
#[derive(Debug)]
pub(super) struct Http {
    proxied: Client,
    direct: Client,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client of the system's proxy settings; this machine is always reached directly.
    ///
    /// # Errors
    /// When the library cannot make one.
    pub(super) fn new() -> Result<Self, Failure> {
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .connect_timeout(Duration::from_secs(CONNECT))
                .timeout(Duration::from_secs(TIMEOUT))
                .user_agent(concat!("writ/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            proxied: builder().build()?,
            direct: builder().no_proxy().build()?,
        })
    }

    /// A request that can be dressed further.
    pub(super) fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        match url.into_url() {
            Ok(url) if is_loopback(&url) => self.direct.request(method, url),
            Ok(url) => self.proxied.request(method, url),
            // The builder keeps the error for `send`.
            Err(_) => self.direct.request(method, ""),
        }
    }

    /// GET.
    ///
    /// # Errors
    /// One sentence that says why there is no answer.
    pub(super) async fn get(&self, url: impl IntoUrl) -> Result<Answer, String> {
        let request = self.request(Method::GET, url);
        send(request.header(header::ACCEPT, "application/json")).await
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// One sentence that says why there is no answer.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| explain(&error))?;
    read(response).await
}

/// Reads the rest of an answer.
///
/// # Errors
/// When it breaks off or does not end.
pub(super) async fn read(mut response: Response) -> Result<Answer, String> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| explain(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("the answer is longer than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        headers,
        body,
    })
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|why| format!("the answer is not read: {why}"))
    }

    /// A header, if it is there and readable.
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The media type without parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let value = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }
}

/// Whether credentials may travel to this URL: encrypted, or not leaving the machine.
pub(super) fn is_safe(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "https" || is_loopback(&url))
}

/// What went wrong below HTTP, with what usually helps.
pub(super) fn explain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    let deepest = causes.last().cloned().unwrap_or_else(|| error.to_string());
    if error.is_builder() {
        return format!("not a URL that can be asked: {deepest}");
    }
    if error.is_timeout() {
        return format!(
            "no answer in time ({CONNECT} s to connect, {TIMEOUT} s in all): is the port open and \
             the name right?"
        );
    }
    match hint(&causes.join(": ")) {
        Some(hint) => format!("{deepest}: {hint}"),
        None => deepest,
    }
}

/// What usually helps, for the failures people meet.
fn hint(causes: &str) -> Option<&'static str> {
    let lower = causes.to_ascii_lowercase();
    let known = [
        (
            "connection refused",
            "nothing listens there; is the server running, and is this its port?",
        ),
        ("dns error", "the name does not resolve from this machine"),
        (
            "unknownissuer",
            "the certificate's authority is not known here; serve the whole chain, or install the \
             authority's certificate in this machine's trust store",
        ),
        (
            "notvalidforname",
            "the certificate is for another name; get one for the host in the URL",
        ),
        (
            "causedasendentity",
            "the certificate is self-signed; clients accept one from an authority they know",
        ),
        ("expired", "the certificate has expired; renew it"),
        (
            "notvalidyet",
            "the certificate is not valid yet; check both clocks",
        ),
        (
            "invalid peer certificate",
            "clients do not accept this certificate",
        ),
        (
            "corrupt message",
            "this port does not speak TLS; is it an http:// URL?",
        ),
        (
            "incompletemessage",
            "the server closed the connection without an answer; is it https on this port?",
        ),
    ];
    let squeezed: String = lower.split_whitespace().collect();
    known
        .iter()
        .find(|(sign, _)| lower.contains(sign) || squeezed.contains(sign))
        .map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_travel_encrypted_or_not_at_all() {
        for safe in [
            "https://auth.example",
            "http://127.0.0.1:1",
            "http://[::1]:1",
        ] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_url in ["http://auth.example", "http://10.0.0.1", "auth.example"] {
            assert!(!is_safe(unsafe_url), "{unsafe_url}");
        }
    }

    #[tokio::test]
    async fn failures_are_explained() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let http = Http::new().unwrap();
        let closed = http.get(format!("http://{address}")).await.unwrap_err();
        assert!(closed.contains("nothing listens there"), "{closed}");
        let bad = http.get("no url").await.unwrap_err();
        assert!(bad.contains("URL"), "{bad}");
    }
}
