//! Which scope an operation needs, and which scopes include which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::claims::AccessClaims;
use crate::rpc::Call;
use crate::verifier::SetupError;

/// The scope that allows calling the tool of this name: `tool:` and the name.
///
/// Octets of the UTF-8 name that a scope cannot hold (RFC 6749 §3.3: only
/// `%x21`, `%x23-5B` and `%x5D-7E`), and `%` itself, are written as `%` and two
/// upper-case hexadecimal digits, so that no two tools share a scope.
///
/// ```
/// use writ_resource::tool_scope;
///
/// assert_eq!(tool_scope("forecast"), "tool:forecast");
/// assert_eq!(tool_scope("día 100%"), "tool:d%C3%ADa%20100%25");
/// ```
#[must_use]
pub fn tool_scope(name: &str) -> String {
    let mut scope = String::with_capacity("tool:".len() + name.len());
    scope.push_str("tool:");
    for octet in name.bytes() {
        if is_scope_octet(octet) && octet != b'%' {
            scope.push(char::from(octet));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(scope, "%{octet:02X}");
        }
    }
    scope
}

const fn is_scope_octet(octet: u8) -> bool {
    matches!(octet, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

/// A scope of this resource that may be asked for and announced.
pub(crate) fn checked_scope(scope: &str) -> Result<(), SetupError> {
    if scope == "offline_access" {
        return Err(SetupError::OfflineAccess);
    }
    if scope.is_empty() || !scope.bytes().all(is_scope_octet) {
        return Err(SetupError::Scope(scope.to_owned()));
    }
    Ok(())
}

/// What the author declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Tools that need another scope than [`tool_scope`].
    pub(crate) tools: BTreeMap<String, String>,
    /// Methods that need a scope.
    pub(crate) methods: BTreeMap<String, String>,
    /// Scopes, and the wider ones any of which stands for them.
    wider: BTreeMap<String, BTreeSet<String>>,
}

impl Policy {
    pub(crate) fn new(
        tools: BTreeMap<String, String>,
        methods: BTreeMap<String, String>,
        includes: &BTreeMap<String, BTreeSet<String>>,
    ) -> Self {
        let mut wider: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for wide in includes.keys() {
            // Everything reachable from `wide`, however many steps away.
            let mut reached = BTreeSet::new();
            let mut open = vec![wide];
            while let Some(scope) = open.pop() {
                for narrow in includes.get(scope).into_iter().flatten() {
                    if reached.insert(narrow) {
                        open.push(narrow);
                    }
                }
            }
            for narrow in reached {
                wider
                    .entry(narrow.clone())
                    .or_default()
                    .insert(wide.clone());
            }
        }
        Self {
            tools,
            methods,
            wider,
        }
    }

    /// The scope a call needs; `None` when a valid token is enough.
    fn needed(&self, call: &Call<'_>) -> Option<String> {
        match call {
            Call::Tool(name) => Some(
                self.tools
                    .get(&**name)
                    .cloned()
                    .unwrap_or_else(|| tool_scope(name)),
            ),
            Call::Method(method) => self.methods.get(&**method).cloned(),
            Call::Response => None,
        }
    }

    fn allows(&self, claims: &AccessClaims, scope: &str) -> bool {
        claims.has_scope(scope)
            || self
                .wider
                .get(scope)
                .is_some_and(|wider| wider.iter().any(|wide| claims.has_scope(wide)))
    }

    /// Everything these calls need, when the token does not allow all of it.
    pub(crate) fn missing(
        &self,
        claims: &AccessClaims,
        calls: &[Call<'_>],
    ) -> Option<BTreeSet<String>> {
        let needed: BTreeSet<String> = calls.iter().filter_map(|call| self.needed(call)).collect();
        let allowed = needed.iter().all(|scope| self.allows(claims, scope));
        (!allowed).then_some(needed)
    }
}
