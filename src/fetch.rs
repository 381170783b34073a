//! The only way out: HTTP requests that a client's metadata asks for.
//!
//! Private, loopback and other special-use addresses are refused after name resolution, and the
//! connection goes to the address that was checked (RFC 6890, and the SSRF advice of RFC 9700 and
//! the MCP specification). No redirects, bounded in size and time.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use http::{HeaderMap, HeaderValue, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config;

/// Why nothing was fetched. The words may be shown to whoever gave the URL.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an https URL.
    #[error("the URL must be an https URL")]
    Url,
    /// It points to an address that outsiders have no business with.
    #[error("the URL points to an address that is not reachable from here")]
    Address,
    /// No answer, or not one with status 200.
    #[error("the URL did not answer with status 200")]
    Answer,
    /// What was sent was not taken.
    #[error("the URL answered with status {0}")]
    Status(u16),
    /// Too long.
    #[error("the answer is too long")]
    TooLong,
    /// The client library.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
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
        let client = |timeout, connect, idle| {
            reqwest::Client::builder()
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
        let mut response = self.client.get(url).send().await.map_err(|error| {
            tracing::debug!(error = %error.without_url(), "fetch failed");
            FetchError::Answer
        })?;
        if response.status() != http::StatusCode::OK {
            return Err(FetchError::Answer);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::Answer)? {
            if body.len() + chunk.len() > self.max_body {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
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
        let response = request.body(body).send().await.map_err(|error| {
            tracing::debug!(error = %error.without_url(), "post failed");
            FetchError::Answer
        })?;
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
        let mut answer = answer.map_err(|error| {
            tracing::debug!(error = %error.without_url(), "push failed");
            FetchError::Answer
        })?;
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

/// Resolves names and leaves out every address that is not public.
#[derive(Debug)]
struct Guard {
    private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One bad address is enough: a name that mixes them is an attempt.
            if !private && found.iter().any(|a| !is_public(a.ip())) {
                return Err(FetchError::Address.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet (RFC 6890 and its registries).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let low = Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    // Addresses that carry an IPv4 address are judged by it.
    if ip.to_ipv4_mapped().is_some() || (s[0] == 0x64 && s[1] == 0xff9b && s[2..6] == [0; 4]) {
        return is_public_v4(low);
    }
    if s[0] == 0x2002 {
        return is_public_v4(Ipv4Addr::from((u32::from(s[1]) << 16) | u32::from(s[2])));
    }
    // What is left of the global unicast block, without Teredo, benchmarking and documentation.
    (s[0] & 0xe000) == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

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
            ("file:///etc/passwd", "https"),
        ] {
            let error = fetch.get(url).await.unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }
}
