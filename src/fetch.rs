//! The only way out: HTTP requests that a client's metadata asks for.
//!
//! Private, loopback and other special-use addresses are refused after name resolution, and the
//! connection goes to the address that was checked (RFC 6890, and the SSRF advice of RFC 9700 and
//! the MCP specification). No redirects, bounded in size and time.

mod address;
mod answer;
mod document;

use std::{error::Error as _, fs, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use chrono::DateTime;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Certificate, Response};
use url::{Host, Url};

use self::address::Guard;
pub use self::{
    address::is_public,
    answer::Answer,
    document::{Document, Wanted},
};
use crate::config;

/// Why nothing was fetched. The words may be shown to whoever gave the URL.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an https URL.
    #[error("the URL must be an https URL")]
    Url,
    /// It points to an address that outsiders have no business with, or to none.
    #[error("the URL points to an address that is not reachable from here")]
    Address,
    /// No connection, no certificate that holds, or no HTTP.
    #[error("the URL did not answer")]
    Answer,
    /// Not soon enough.
    #[error("the URL did not answer in time")]
    Late,
    /// Another status than the one that is needed.
    #[error("the URL answered with status {0}")]
    Status(u16),
    /// Too long.
    #[error("the answer is too long")]
    TooLong,
    /// Not JSON.
    #[error(
        "the answer's Content-Type is '{0}', and not application/json or one that ends in +json"
    )]
    MediaType(String),
    /// A file of certificates.
    #[error("fetch.extra_ca: {0}: {1}")]
    Authorities(PathBuf, io::Error),
    /// The client library.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

impl FetchError {
    /// Why a request was not answered. What exactly is wrong with a connection is in the log.
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        tracing::debug!(error = ?error, "no answer");
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(Self::Address) = inner.downcast_ref() {
                return Self::Address;
            }
            cause = inner.source();
        }
        if error.is_timeout() {
            return Self::Late;
        }
        Self::Answer
    }

    /// Whether the other side may answer if it is asked again: nothing has been said against what
    /// it said before.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Address | Self::Answer | Self::Late => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// The guarded HTTP client.
#[derive(Clone, Debug)]
pub struct Fetch {
    client: reqwest::Client,
    /// For receivers of security events: connections to them stay open.
    pushes: reqwest::Client,
    max_body: usize,
    private: bool,
}

/// What a receiver answered to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The status.
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// Of a refusal, its body as far as it was read.
    pub body: Vec<u8>,
}

/// Longest answer of a receiver that is read, bytes.
const PUSH_ANSWER: usize = 8 * 1024;
/// Idle connections to one receiver's host.
const PUSH_IDLE: usize = 64;

impl Fetch {
    /// A client with these limits.
    ///
    /// # Errors
    /// When the library cannot make one.
    pub fn new(config: &config::Fetch, events: &config::Events) -> Result<Self, FetchError> {
        let private = config.allow_private_addresses_for_tests;
        let authorities = authorities(config)?;
        let client = |timeout, connect, idle| {
            reqwest::Client::builder()
                .tls_certs_merge(authorities.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(Duration::from_secs(timeout))
                .connect_timeout(Duration::from_secs(connect))
                .pool_max_idle_per_host(idle)
                .dns_resolver(Arc::new(Guard { private }))
                .user_agent(concat!("writ/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Self {
            client: client(config.timeout, config.timeout, 1)?,
            pushes: client(events.push_timeout, events.push_connect_timeout, PUSH_IDLE)?,
            max_body: config.max_body,
            private,
        })
    }

    /// The body at `url`.
    ///
    /// # Errors
    /// [`FetchError`], in words that may be shown.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url = self.allowed(url)?;
        let response = self.client.get(url).send().await;
        let response = response.map_err(FetchError::of)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        body(response, self.max_body).await
    }

    /// Posts `body` to `url`; any 2xx status means that it was taken.
    ///
    /// # Errors
    /// [`FetchError`], in words that may be shown.
    pub async fn post(
        &self,
        url: &str,
        media_type: &str,
        token: Option<&str>,
        body: String,
    ) -> Result<(), FetchError> {
        let request = self.client.post(self.allowed(url)?);
        let mut request = request.header(header::CONTENT_TYPE, media_type);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.body(body).send().await;
        let response = response.map_err(FetchError::of)?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(FetchError::Status(response.status().as_u16()))
    }

    /// Posts a SET to a receiver (RFC 8935 §2), with exactly the `Authorization` it asked for.
    ///
    /// # Errors
    /// [`FetchError`] when there is no answer.
    pub async fn push(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
        set: String,
    ) -> Result<Pushed, FetchError> {
        let request = self.pushes.post(self.allowed(url)?);
        let mut request = request
            .header(header::CONTENT_TYPE, "application/secevent+jwt")
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let answer = request.body(set).send().await;
        let mut answer = answer.map_err(FetchError::of)?;
        let retry_after = retry_after(answer.headers());
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        if status == 400 {
            // Whoever sends more than that, or stops in between, has said nothing.
            while let Ok(Some(chunk)) = answer.chunk().await {
                if body.len() + chunk.len() > PUSH_ANSWER {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
        }
        Ok(Pushed {
            status,
            retry_after,
            body,
        })
    }

    /// Whether something may be sent to a URL, as far as can be said without resolving its host.
    ///
    /// # Errors
    /// [`FetchError::Url`] or [`FetchError::Address`].
    pub fn check(&self, url: &str) -> Result<(), FetchError> {
        self.allowed(url).map(drop)
    }

    /// A URL that may be asked.
    fn allowed(&self, url: &str) -> Result<Url, FetchError> {
        let url = Url::parse(url).map_err(|_| FetchError::Url)?;
        if url.scheme() != "https" && !(self.private && url.scheme() == "http") {
            return Err(FetchError::Url);
        }
        // A literal address is not resolved, so the resolver never sees it.
        let own = |name: &str| name == "localhost" || name.ends_with(".localhost");
        let literal = match url.host() {
            // RFC 6761 §6.3: never anybody else's.
            Some(Host::Domain(name)) if !self.private && own(name.trim_end_matches('.')) => {
                return Err(FetchError::Address);
            }
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) => None,
            None => return Err(FetchError::Url),
        };
        if literal.is_some_and(|ip| !self.private && !is_public(ip)) {
            return Err(FetchError::Address);
        }
        Ok(url)
    }
}

/// Certificate authorities that are believed beside those of the system.
fn authorities(config: &config::Fetch) -> Result<Vec<Certificate>, FetchError> {
    let file = &config.extra_ca;
    if file.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let broken = |error| FetchError::Authorities(file.clone(), error);
    let found = Certificate::from_pem_bundle(&fs::read(file).map_err(broken)?)?;
    if found.is_empty() {
        return Err(broken(io::Error::other("no certificate in it")));
    }
    Ok(found)
}

/// A body, as far as it may go: what is longer is not read to its end.
async fn body(mut response: Response, max: usize) -> Result<Vec<u8>, FetchError> {
    if response
        .content_length()
        .is_some_and(|length| length > max as u64)
    {
        return Err(FetchError::TooLong);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(FetchError::of)? {
        if body.len() + chunk.len() > max {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Seconds for which a server asks to be left alone: a number, or a moment, which is compared with
/// that of the answer by the server's own clock (RFC 9110 §10.2.3, §6.6.1).
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name)?.to_str().ok();
    let asked = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(seconds);
    }
    let moment = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let pause = moment(asked)? - moment(text(header::DATE)?)?;
    u64::try_from(pause.num_seconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_before_it_connects() {
        let fetch = Fetch::new(&config::Fetch::default(), &config::Events::default()).unwrap();
        for (url, why) in [
            ("http://example.com/", "https"),
            ("https://127.0.0.1/", "address"),
            ("https://[::1]/", "address"),
            ("https://localhost/", "address"),
            ("https://a.localhost./", "address"),
            ("https://169.254.169.254/latest/", "address"),
            // Other spellings of loopback, and of what carries it.
            ("https://2130706433/", "address"),
            ("https://0x7f.1/", "address"),
            ("https://0177.0.0.1/", "address"),
            ("https://127.1/", "address"),
            ("https://127.0.0.1./", "address"),
            ("https://\u{ff11}27.0.0.1/", "address"),
            ("https://0/", "address"),
            ("https://[::ffff:127.0.0.1]/", "address"),
            ("https://[64:ff9b::7f00:1]/", "address"),
            ("https://[2002:7f00:1::]/", "address"),
            ("https://%6cocalhost/", "address"),
            ("file:///etc/passwd", "https"),
        ] {
            let error = fetch.get(url).await.unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
