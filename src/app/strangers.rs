//! What is written down of those whom nobody answers for: they have proved nothing, or only to be
//! a client that registered itself.

use chrono::{DateTime, SecondsFormat};

use super::App;
use crate::{
    audit::{Event, Kind, Record, refusals::Summary},
    journal::{Command, JournalError},
    registry::Tenant,
    store::Change,
};

impl App {
    /// Remembers that somebody was refused whom nobody answers for, as far as the budget for that
    /// goes; beyond it they are counted. What the request used up is written in any case.
    ///
    /// # Errors
    /// As `Journal::commit`.
    pub async fn remember_stranger(
        &self,
        tenant: &Tenant,
        kind: Kind,
        event: &Event<'_>,
        spent: Vec<Change>,
    ) -> Result<(), JournalError> {
        let (written, ended) = self.refusals.spend(tenant.name(), self.clock.millis());
        let mut audit: Vec<_> = ended.iter().map(|ended| self.counted(ended)).collect();
        audit.extend(written.then(|| self.record(tenant, kind, event)));
        let command = Command::new(spent, audit);
        self.remember_counted(command, ended.as_slice()).await
    }

    /// Says how many refusals were only counted, in the minutes that have ended; at the end of the
    /// server, in the one under way too.
    ///
    /// # Errors
    /// As `Journal::commit`.
    pub async fn sum_up_refusals(&self, at_the_end: bool) -> Result<(), JournalError> {
        let now = (!at_the_end).then(|| self.clock.millis());
        let ended = self.refusals.ended(now);
        let command = Command {
            audit: ended.iter().map(|ended| self.counted(ended)).collect(),
            ..Command::default()
        };
        self.remember_counted(command, &ended).await
    }

    fn counted(&self, ended: &Summary) -> Record {
        let since = DateTime::from_timestamp_millis(ended.since).unwrap_or_default();
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let reason = format!(
            "{} more were refused in the minute from {since}",
            ended.count
        );
        let event = Event {
            count: Some(ended.count),
            reason: Some(&reason),
            ..Event::default()
        };
        Record::new(
            &ended.tenant,
            self.clock.millis(),
            Kind::RefusalsCounted,
            &event,
        )
    }

    async fn remember_counted(
        &self,
        command: Command,
        ended: &[Summary],
    ) -> Result<(), JournalError> {
        if command.audit.is_empty() && command.changes.is_empty() {
            return Ok(());
        }
        let committed = self.journal.commit(command).await;
        if committed.is_err() {
            for ended in ended {
                self.refusals.give_back(ended);
            }
        }
        committed
    }
}
