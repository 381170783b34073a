//! Claims of an access token (RFC 9068 §2.2) and of delegation (RFC 8693 §4.1, §4.4).
//!
//! The types are those of the layer for MCP servers: what is issued and what is read cannot drift
//! apart.

pub use writ_resource::claims::{AccessClaims, Actor, Audience, Confirmation};

/// Seconds that an access token lives at most.
pub const LONGEST_LIFETIME: i64 = 3600;

/// How many actors a chain names, current and earlier.
#[must_use]
pub fn depth(actor: Option<&Actor>) -> usize {
    std::iter::successors(actor, |a| a.act.as_deref()).count()
}

/// `actor` in front of the chain it continues (RFC 8693 §4.1: the most recent actor is outermost).
#[must_use]
pub fn extend(actor: &str, earlier: Option<Actor>) -> Actor {
    Actor {
        sub: actor.to_owned(),
        iss: None,
        act: earlier.map(Box::new),
        extra: std::collections::BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_actor_is_outermost() {
        let chain = extend("second", Some(extend("first", None)));
        assert_eq!(depth(Some(&chain)), 2);
        let text = serde_json::to_string(&chain).unwrap();
        assert_eq!(text, r#"{"sub":"second","act":{"sub":"first"}}"#);
    }
}
