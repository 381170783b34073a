//! Subject identifiers (RFC 9493 §3, SSF 1.0 §3).

use serde_json::{Map, Value, json};

/// Formats of simple identifiers with the members each has, all of them texts.
const SIMPLE: &[(&str, &[&str])] = &[
    ("iss_sub", &["iss", "sub"]),
    ("email", &["email"]),
    ("opaque", &["id"]),
    ("account", &["uri"]),
    ("phone_number", &["phone_number"]),
    ("did", &["url"]),
    ("uri", &["uri"]),
    ("jwt_id", &["iss", "jti"]),
    ("saml_assertion_id", &["issuer", "assertion_id"]),
];

/// Members of a complex identifier that SSF names; others are allowed.
const MOST_MEMBERS: usize = 16;

/// Whether this is a subject identifier with nothing in it that its format does not define.
///
/// # Errors
/// A sentence for whoever wrote it.
pub fn check(subject: &Value) -> Result<(), String> {
    let Some(members) = subject.as_object() else {
        return Err("subject: an object with a 'format' (RFC 9493)".to_owned());
    };
    match members.get("format").and_then(Value::as_str) {
        None => Err("subject: its 'format' is missing (RFC 9493 section 3)".to_owned()),
        Some("complex") => {
            let parts = members.iter().filter(|(name, _)| *name != "format");
            let parts: Vec<_> = parts.collect();
            if parts.is_empty() || parts.len() > MOST_MEMBERS {
                return Err(format!(
                    "subject: a complex one has 1 to {MOST_MEMBERS} members"
                ));
            }
            // No nesting: every member is simple (SSF 1.0 §3.2).
            parts.into_iter().try_for_each(|(name, part)| {
                let part = part.as_object().ok_or("an object with a 'format'");
                part.map_err(str::to_owned)
                    .and_then(check_simple)
                    .map_err(|why| format!("subject: {name}: {why}"))
            })
        }
        Some("aliases") => {
            let aliases = members.get("identifiers").and_then(Value::as_array);
            let aliases = aliases.filter(|all| !all.is_empty() && members.len() == 2);
            let aliases =
                aliases.ok_or("subject: aliases have 'identifiers', a list, and nothing else")?;
            aliases.iter().try_for_each(|alias| {
                let alias = alias.as_object().ok_or("an object with a 'format'");
                alias
                    .map_err(str::to_owned)
                    .and_then(check_simple)
                    .map_err(|why| format!("subject: identifiers: {why}"))
            })
        }
        Some(_) => check_simple(members).map_err(|why| format!("subject: {why}")),
    }
}

fn check_simple(members: &Map<String, Value>) -> Result<(), String> {
    let format = members.get("format").and_then(Value::as_str);
    let format = format.ok_or("its 'format' is missing")?;
    let known = SIMPLE.iter().find(|(name, _)| *name == format);
    let Some((_, names)) = known else {
        let known: Vec<&str> = SIMPLE.iter().map(|(name, _)| *name).collect();
        return Err(format!("format '{format}' is none of {}", known.join(", ")));
    };
    for name in *names {
        let text = members.get(*name).and_then(Value::as_str);
        if !text.is_some_and(|text| !text.is_empty() && text.len() <= 2000) {
            return Err(format!("format {format} needs '{name}', a text"));
        }
    }
    if members.len() != names.len() + 1 {
        return Err(format!(
            "format {format} has no members but {}",
            names.join(" and ")
        ));
    }
    Ok(())
}

/// Whether two identifiers may mean the same, when events are sorted to streams: simple ones when
/// they are identical, complex ones when every member is, or is missing on one side (SSF 1.0 §3).
#[must_use]
pub fn overlap(a: &Value, b: &Value) -> bool {
    let complex = |subject: &Value| subject["format"] == "complex";
    match (a.as_object(), b.as_object()) {
        (Some(left), Some(right)) if complex(a) && complex(b) => left
            .iter()
            .all(|(name, member)| right.get(name).is_none_or(|other| other == member)),
        _ => a == b,
    }
}

/// Whether it names a person or whoever else tokens speak for, and nothing narrower.
#[must_use]
pub fn is_plain(subject: &Value) -> bool {
    matches!(subject["format"].as_str(), Some("iss_sub" | "email"))
}

/// Whom tokens speak for.
#[must_use]
pub fn user(issuer: &str, sub: &str) -> Value {
    json!({ "format": "iss_sub", "iss": issuer, "sub": sub })
}

/// A stream.
#[must_use]
pub fn stream(id: &str) -> Value {
    opaque(id)
}

fn opaque(id: &str) -> Value {
    json!({ "format": "opaque", "id": id })
}

/// What tokens have in common: all that is named has to hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokens<'a> {
    /// Whom they speak for.
    pub user: Option<&'a str>,
    /// The client that holds them, or acts in them.
    pub application: Option<&'a str>,
    /// The grant that they hang from.
    pub grant: Option<&'a str>,
    /// The only one.
    pub jti: Option<&'a str>,
    /// The issuer that made them.
    pub tenant: Option<&'a str>,
}

impl Tokens<'_> {
    /// The complex identifier.
    #[must_use]
    pub fn of(self, issuer: &str) -> Value {
        let mut subject = json!({ "format": "complex" });
        if let Some(sub) = self.user {
            subject["user"] = user(issuer, sub);
        }
        if let Some(client_id) = self.application {
            subject["application"] = user(issuer, client_id);
        }
        if let Some(grant) = self.grant {
            subject["session"] = opaque(grant);
        }
        if let Some(jti) = self.jti {
            subject["session"] = json!({ "format": "jwt_id", "iss": issuer, "jti": jti });
        }
        if let Some(tenant) = self.tenant {
            subject["tenant"] = opaque(tenant);
        }
        subject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_hold_what_their_format_defines() {
        for good in [
            json!({"format": "iss_sub", "iss": "https://a", "sub": "s"}),
            json!({"format": "email", "email": "a@b.example"}),
            json!({"format": "complex", "user": {"format": "email", "email": "a@b.example"}}),
            json!({"format": "aliases", "identifiers": [{"format": "opaque", "id": "x"}]}),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
        for bad in [
            json!("a"),
            json!({}),
            json!({"format": "iss_sub", "iss": "https://a"}),
            json!({"format": "email", "email": 7}),
            json!({"format": "email", "email": "a@b", "sub": "s"}),
            json!({"format": "shoe_size", "size": "44"}),
            json!({"format": "complex"}),
            json!({"format": "complex", "user": {"format": "complex", "user": {}}}),
            json!({"format": "complex", "user": {"format": "aliases", "identifiers": []}}),
            json!({"format": "aliases", "identifiers": []}),
            json!({"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": []}]}),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn complex_identifiers_overlap_where_nothing_differs() {
        let both = Tokens {
            user: Some("u"),
            application: Some("a"),
            ..Tokens::default()
        }
        .of("i");
        let user = Tokens {
            user: Some("u"),
            ..Tokens::default()
        }
        .of("i");
        let other = Tokens {
            user: Some("v"),
            ..Tokens::default()
        }
        .of("i");
        assert!(overlap(&both, &user) && overlap(&user, &both));
        assert!(!overlap(&both, &other));
        assert!(!overlap(&both, &super::user("i", "u")));
    }
}
