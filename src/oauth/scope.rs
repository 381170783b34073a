//! `scope` (RFC 6749 §3.3): a set of tokens, compared as a set, printed sorted.
//!
//! The alphabet and the set order are oxide-auth's. What is ours: one printed form for one set
//! (oxide-auth prints in the order of a hash map), and serde as plain text.

use std::{cmp::Ordering, fmt, str::FromStr};

use oxide_auth::primitives::scope as oxide;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of scope tokens. `a <= b` means every token of `a` is in `b`.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope(oxide::Scope);

/// A character outside RFC 6749's scope alphabet (`%x21 / %x23-5B / %x5D-7E`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scope may hold only printable ASCII without space, quote and backslash")]
pub struct InvalidScope;

impl Scope {
    /// Tokens in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter()
    }

    /// Tokens in byte order: the printed order.
    #[must_use]
    pub fn sorted(&self) -> Vec<&str> {
        let mut tokens: Vec<&str> = self.0.iter().collect();
        tokens.sort_unstable();
        tokens
    }

    /// What oxide-auth's machines take.
    #[must_use]
    pub fn into_inner(self) -> oxide::Scope {
        self.0
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().next().is_none()
    }

    /// Whether `token` is a member.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|t| t == token)
    }
}

impl PartialOrd for Scope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        // oxide-auth splits on any white space; the grammar knows only %x20.
        if text.bytes().any(|b| b.is_ascii_whitespace() && b != b' ') {
            return Err(InvalidScope);
        }
        text.parse().map(Self).map_err(|_| InvalidScope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, token) in self.sorted().into_iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Whether `text` is one scope token (RFC 6749 §3.3 `scope-token`).
#[must_use]
pub fn is_scope_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

pub use writ_resource::tool_scope;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_sorted_and_once() {
        let scope: Scope = "b a  b c".parse().unwrap();
        assert_eq!(scope.to_string(), "a b c");
    }

    #[test]
    fn order_is_inclusion() {
        let small: Scope = "a".parse().unwrap();
        let large: Scope = "a b".parse().unwrap();
        assert!(small <= large);
        assert!(large.partial_cmp(&"c".parse().unwrap()).is_none());
    }

    #[test]
    fn refuses_characters_outside_the_alphabet() {
        for bad in ["a\"b", "a\\b", "ä", "a\tb", "a\nb"] {
            assert_eq!(bad.parse::<Scope>(), Err(InvalidScope), "{bad:?}");
        }
    }

    #[test]
    fn every_tool_name_makes_a_scope_token() {
        for name in ["forecast", "a b", "a%20b", "ü\"\\"] {
            assert!(is_scope_token(&tool_scope(name)), "{name}");
        }
    }
}
