//! Rules, each by itself, so that a developer can be shown all of them.

use crate::error::OAuthError;

/// One rule about a `T`.
pub(super) struct Rule<T> {
    /// What it asks for, in a few words.
    pub(super) name: &'static str,
    /// Says what is wrong.
    pub(super) check: fn(&T) -> Result<(), String>,
}

/// What a rule has found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What is asked for.
    pub rule: &'static str,
    /// Whether it is so.
    pub ok: bool,
    /// What is wrong, or worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Finding {
    /// What became of something that is asked for.
    #[must_use]
    pub fn of(rule: &'static str, result: Result<(), String>) -> Self {
        Self {
            rule,
            ok: result.is_ok(),
            note: result.err(),
        }
    }
}

impl<T> Rule<T> {
    pub(super) fn find(&self, about: &T) -> Finding {
        Finding::of(self.name, (self.check)(about))
    }
}

/// The first rule that says no.
pub(super) fn all<T>(rules: &[Rule<T>], about: &T) -> Result<(), String> {
    rules.iter().try_for_each(|rule| (rule.check)(about))
}

/// An error's words, as part of a sentence of ours.
pub(super) fn words(error: &OAuthError) -> String {
    error.description().trim_end_matches('.').to_owned()
}
