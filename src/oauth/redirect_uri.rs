//! Redirect URIs a client may register (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §4.1).

use super::{resource::is_loopback, uri};

/// What kind of program the client is (OpenID Connect Registration §2 `application_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// Runs on a web server: `https` redirect URIs.
    #[default]
    Web,
    /// Runs on a person's machine: loopback or a private-use scheme, `https` too.
    Native,
}

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
        // RFC 8252 §7.1: a private-use scheme is a reversed domain name, so it holds a dot. This
        // also keeps javascript:, data:, file: and their kind out.
        scheme if kind == ApplicationType::Native && scheme.contains('.') => Ok(()),
        scheme => Err(format!(
            "'{text}': scheme '{scheme}' cannot be a redirect target; one of an app's own holds a dot \
             and needs application_type native (RFC 8252 section 7.1)"
        )),
    }
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
        for bad in [
            "http://app.example/cb",
            "https://app.example/cb#x",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "about:blank",
            "/cb",
        ] {
            assert!(check(bad, Native).is_err(), "{bad}");
        }
    }
}
