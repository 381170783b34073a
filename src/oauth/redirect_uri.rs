//! Redirect URIs a client may register (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §4.1).

use super::{resource::is_loopback, uri};

/// What kind of program the client is (OpenID Connect Registration §2 `application_type`).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// Runs on a web server: `https` redirect URIs.
    #[default]
    Web,
    /// Runs on a person's machine: loopback or a private-use scheme, `https` too.
    Native,
}

/// Schemes and hosts of widespread MCP clients that stand against RFC 8252 §7.1, their scheme being
/// no domain name. §8.4 leaves room for them. The host is theirs for answers like ours: their other
/// links do more than that.
const KNOWN_APPS: [(&str, &str); 1] = [("cursor", "anysphere.cursor-mcp")];

/// Checks a redirect URI that a client wants to register.
///
/// # Errors
/// A sentence for the client's developer.
pub fn check(text: &str, kind: ApplicationType) -> Result<(), String> {
    let url = uri::parse(text)
        .ok_or_else(|| format!("'{text}' is not an absolute URI as RFC 3986 writes it"))?;
    if url.fragment().is_some() {
        return Err(format!(
            "'{text}' must not have a fragment (RFC 6749 section 3.1.2)"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("'{text}' must not hold user information"));
    }
    match url.scheme() {
        "https" => Ok(()),
        // Clients of MCP register loopback URIs whatever their application type says.
        "http" if is_loopback(&url) => Ok(()),
        "http" => Err(format!(
            "'{text}' must use https; http is for loopback only"
        )),
        // They say they are web applications as well.
        scheme if KNOWN_APPS.contains(&(scheme, url.host_str().unwrap_or_default())) => Ok(()),
        // RFC 8252 §7.1: a private-use scheme is a reversed domain name, so it holds a dot. This
        // also keeps javascript:, data:, file: and their kind out.
        scheme if kind == ApplicationType::Native && scheme.contains('.') => Ok(()),
        scheme => Err(format!(
            "'{text}': scheme '{scheme}' cannot be a redirect target; one of an app's own holds a dot \
             and needs application_type native (RFC 8252 section 7.1)"
        )),
    }
}

/// Whether a request that names `sent` goes to what is registered: the same text, but for the
/// port of a loopback address, which a native program is given anew at each start (RFC 8252
/// §7.3). The name `localhost` counts as one.
#[must_use]
pub fn matches(registered: &str, sent: &str) -> bool {
    registered == sent || same_loopback(registered, sent).unwrap_or(false)
}

fn same_loopback(registered: &str, sent: &str) -> Option<bool> {
    let (registered, sent) = (loopback(registered)?, loopback(sent)?);
    Some(registered == sent)
}

/// A loopback URI as text, in three parts: up to the host, and what follows the port.
fn loopback(text: &str) -> Option<(&str, &str)> {
    let url = uri::parse(text).filter(|url| url.scheme() == "http" && is_loopback(url))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return None;
    }
    let authority = text.split_once("://")?.1;
    let end = authority.find(['/', '?']).unwrap_or(authority.len());
    let (authority, rest) = authority.split_at(end);
    let host = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are within brackets.
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    Some((host, rest))
}

/// Whether a redirect URI goes to a program on the person's own machine, whichever that is.
#[must_use]
pub fn is_local(text: &str) -> bool {
    uri::parse(text)
        .is_some_and(|url| is_loopback(&url) || !matches!(url.scheme(), "https" | "http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_targets() {
        use ApplicationType::{Native, Web};
        assert!(check("https://app.example/cb", Web).is_ok());
        assert!(check("http://localhost:1/cb", Native).is_ok());
        assert!(check("http://[::1]/cb", Web).is_ok());
        assert!(check("com.example.app:/cb", Native).is_ok());
        assert!(check("com.example.app:/cb", Web).is_err());
        assert!(check("cursor://anysphere.cursor-mcp/oauth/callback", Web).is_ok());
        for bad in [
            "http://app.example/cb",
            "https://app.example/cb#x",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "about:blank",
            "ms-msdt:x",
            "cursors://x/cb",
            "cursor://anysphere.cursor-deeplink/mcp/install",
            "/cb",
        ] {
            assert!(check(bad, Native).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_port_of_loopback_may_differ() {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let registered = format!("http://{host}/cb");
            for sent in ["", ":1", ":33418"] {
                let sent = format!("http://{host}{sent}/cb");
                assert!(matches(&registered, &sent), "{sent}");
                assert!(matches(&sent, &registered), "{sent}");
                assert!(matches(&format!("http://{host}:5/cb"), &sent), "{sent}");
            }
            for sent in ["/cb/", "/CB", "/cb?x=1", "", "/"] {
                let sent = format!("http://{host}:1{sent}");
                assert!(!matches(&registered, &sent), "{sent}");
            }
            assert!(!matches(&registered, &format!("https://{host}:1/cb")));
            assert!(!matches(&registered, &format!("http://a@{host}:1/cb")));
            assert!(!matches(&registered, &format!("http://{host}:1/cb#x")));
        }
        assert!(!matches("http://127.0.0.1/cb", "http://localhost:1/cb"));
        assert!(!matches(
            "https://a.example/cb",
            "https://a.example:8443/cb"
        ));
        assert!(!matches("http://127.0.0.1/cb", "http://127.0.0.1:x/cb"));
    }
}
