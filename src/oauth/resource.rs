//! Resource indicators: what may name a protected resource, and when two names are the same.

use url::Url;

use super::uri;

/// Longest resource URI, bytes: it is in every token for the resource, and in indexes.
const LONGEST: usize = 1000;

/// A resource URI that may be registered: absolute, `https` (or `http` on loopback), no fragment,
/// no user information, no query.
///
/// # Errors
/// A sentence for the person who declares the resource.
pub fn check(text: &str) -> Result<Url, String> {
    if text.len() > LONGEST {
        return Err(format!("a resource URI has at most {LONGEST} bytes"));
    }
    let url = uri::parse(text)
        .ok_or_else(|| format!("'{text}' is not an absolute URI as RFC 3986 writes it"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(format!("'{text}' must be an https URI with a host"));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(format!(
            "'{text}' must use https; http is accepted on loopback only"
        ));
    }
    if url.fragment().is_some() {
        return Err(format!(
            "'{text}' must not have a fragment (RFC 8707 section 2)"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("'{text}' must not hold user information"));
    }
    if url.query().is_some() {
        return Err(format!(
            "'{text}' must not have a query (RFC 9728 section 1.2)"
        ));
    }
    Ok(url)
}

/// The form two resource indicators are compared in: scheme and host in lower case, no default
/// port, no slash at the end. `None` when it is not an absolute URI or has a fragment.
///
/// Clients send a pathless resource with a slash, or with another letter case; the registered
/// text is what goes into `aud`.
#[must_use]
pub fn normalise(text: &str) -> Option<String> {
    let url = uri::parse(text).filter(|url| url.fragment().is_none() && url.has_host())?;
    let mut text = url.to_string();
    if url.query().is_none() {
        text.truncate(text.trim_end_matches('/').len());
    }
    Some(text)
}

/// Whether the URL's host is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_resource_in_other_clothes() {
        for other in [
            "https://MCP.example",
            "https://mcp.example/",
            "HTTPS://mcp.example:443",
        ] {
            assert_eq!(
                normalise(other),
                normalise("https://mcp.example"),
                "{other}"
            );
        }
        assert_ne!(
            normalise("https://mcp.example/a"),
            normalise("https://mcp.example/A")
        );
        assert_eq!(
            normalise("https://mcp.example/mcp/"),
            normalise("https://mcp.example/mcp")
        );
    }

    #[test]
    fn what_cannot_be_registered() {
        for bad in [
            "mcp.example",
            "/mcp",
            "http://mcp.example",
            "https://mcp.example/#x",
            "https://u@mcp.example",
            "https://mcp.example/?a=1",
            "urn:x:y",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("http://127.0.0.1:8000/mcp").is_ok());
    }
}
