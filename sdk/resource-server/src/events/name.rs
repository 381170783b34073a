//! What a receiver is called at its transmitter. A stream belongs to one
//! receiver: two that share one each get a part of what is revoked.

use aws_lc_rs::rand;

use crate::verifier::SetupError;

/// How one receiver knows what is its own.
pub(super) struct Name {
    /// The description of its stream.
    pub(super) description: String,
    /// Nobody will have this name again.
    pub(super) is_drawn: bool,
    /// What the state of each verification event begins with that it asks for.
    pub(super) mark: String,
}

impl Name {
    /// The name that an author gave, or one that no other process has, nor a
    /// second receiver of this one.
    pub(super) fn new(given: Option<&str>) -> Result<Self, SetupError> {
        let mut octets = [0; 3];
        rand::fill(&mut octets).map_err(|_| SetupError::Random)?;
        let [one, two, three] = octets;
        let mark = format!("{one:02x}{two:02x}{three:02x}");
        let description = match (given, gethostname::gethostname().to_str()) {
            (Some(given), _) => format!("writ-resource {given}"),
            (None, Some(host)) if !host.is_empty() => format!("writ-resource {host}-{mark}"),
            (None, _) => format!("writ-resource {mark}"),
        };
        Ok(Self {
            description,
            is_drawn: given.is_none(),
            mark,
        })
    }

    /// Whether a verification event with this state is one of its own.
    pub(super) fn asked_for(&self, state: &str) -> bool {
        state
            .split_once('.')
            .is_some_and(|(mark, _)| mark == self.mark)
    }
}
