//! `WWW-Authenticate` (RFC 9110 §11.6.1), read as clients read it.

use std::collections::BTreeMap;

/// The parameters of the first Bearer or DPoP challenge; names in lower case.
pub(super) fn bearer(header: &str) -> Option<BTreeMap<String, String>> {
    parse(header)
        .into_iter()
        .find(|(scheme, _)| ["bearer", "dpop"].contains(&scheme.to_ascii_lowercase().as_str()))
        .map(|(_, parameters)| parameters)
}

type Challenge = (String, BTreeMap<String, String>);

/// All challenges. What cannot be read is skipped.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for item in items(header) {
        // `Scheme name=value`, `name=value` or `Scheme`.
        let name_end = item.find('=').unwrap_or(item.len());
        let (scheme, parameter) = match item[..name_end].trim_end().split_once(' ') {
            Some((scheme, _)) => (Some(scheme), item[scheme.len()..].trim_start()),
            None if name_end == item.len() => (Some(item.as_str()), ""),
            None => (None, item.as_str()),
        };
        if let Some(scheme) = scheme {
            challenges.push((scheme.to_owned(), BTreeMap::new()));
        }
        if let (Some((_, parameters)), Some((name, value))) =
            (challenges.last_mut(), parameter.split_once('='))
        {
            parameters.insert(name.trim().to_ascii_lowercase(), unquote(value.trim()));
        }
    }
    challenges
}

/// The comma-separated items; a comma in quotes separates nothing.
fn items(header: &str) -> Vec<String> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in header.chars() {
        if c == ',' && !quoted {
            items.push(std::mem::take(&mut item));
            continue;
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        item.push(c);
    }
    items.push(item);
    let trimmed = items.iter().map(|item| item.trim().to_owned());
    trimmed.filter(|item| !item.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        text.extend(if c == '\\' {
            characters.next()
        } else {
            Some(c)
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_as_servers_write_them() {
        let one = bearer(
            r#"Bearer error="invalid_token", error_description="no, \"really\"", scope="a b""#,
        )
        .unwrap();
        assert_eq!(one["error"], "invalid_token");
        assert_eq!(one["error_description"], "no, \"really\"");
        assert_eq!(one["scope"], "a b");
        let second = bearer(r#"Basic realm="x, y", bearer Resource_Metadata=https://a/b?c=d"#);
        assert_eq!(second.unwrap()["resource_metadata"], "https://a/b?c=d");
        assert!(bearer("Bearer").unwrap().is_empty());
        assert!(bearer("Basic realm=\"Bearer\"").is_none());
        assert!(bearer("").is_none());
    }
}
