//! URIs as RFC 3986 writes them.
//!
//! URL libraries follow browsers, which repair what they are given: white space, backslashes, a
//! missing `//`, numbers for an address. What is compared as text must not need repair.

use url::Url;

/// The URL that `text` is, when it needs no repair.
#[must_use]
pub fn parse(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    if !plain {
        return None;
    }
    match url.host_str() {
        None => Some(url),
        Some(host) => {
            let rest = text.get(url.scheme().len()..)?;
            let as_written = rest.starts_with("://") && text.to_ascii_lowercase().contains(host);
            (as_written && !host.contains('*')).then_some(url)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_repair_is_no_uri() {
        for bad in [
            "https:mcp.example",
            "https:\\\\mcp.example",
            " https://mcp.example",
            "https://mcp.example\n",
            "https://mcp.exa\nmple",
            "http://127.1:8000/mcp",
            "http://2130706433/",
            "https://*.example/cb",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for good in [
            "https://mcp.example",
            "HTTPS://MCP.example/a",
            "com.example.app:/cb",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
    }
}
