//! What each type of event does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{State, Trust};
use crate::events::deny::{Kept, Rule};
use crate::events::health::Flag;
use crate::events::set::{self, Set, SetError};
use crate::events::settings::{Event, Reaction, Revocation};
use crate::events::subject::{self, Meant, Subject};
use crate::events::types;

impl State {
    /// # Errors
    /// [`SetError`]; nothing was changed then.
    pub(super) fn take(&self, set: &Set, trust: &Trust, now: i64) -> Result<(), SetError> {
        let at = set.at;
        match &*set.event_type {
            types::VERIFICATION => return self.echoed(set),
            types::STREAM_UPDATED => {
                self.updated(set);
                return Ok(());
            }
            _ => {}
        }
        let meant =
            subject::read(&set.sub_id, &self.issuer, &trust.critical).map_err(SetError::Claims)?;
        match &*set.event_type {
            types::SESSION_REVOKED => self.end(set, meant, now),
            types::TOKEN_CLAIMS_CHANGE => {
                let claims = set.payload.get("claims").and_then(Value::as_object);
                let claims = claims.ok_or(SetError::Claims("claims must be an object"))?;
                if let Some(scope) = set::text(claims, "scope")? {
                    let scopes = scope.split(' ').map(Into::into).collect();
                    let scopes = Arc::new(scopes);
                    self.mark(set, meant, |_| Rule::Narrowed { scopes, at }, now);
                }
                self.react(set, now);
            }
            types::ACCOUNT_DISABLED | types::ACCOUNT_PURGED => {
                let meant = of_account(meant);
                self.mark(set, meant, |_| Rule::Account { disabled: true, at }, now);
            }
            types::ACCOUNT_ENABLED => {
                let enabled = Rule::Account {
                    disabled: false,
                    at,
                };
                // What widens a refusal would let in more than was meant; and
                // who is meant need not be known to refuse nobody.
                if matches!(&meant, Meant::Tokens(subject) if subject.is_user_alone()) {
                    self.mark(set, meant, |_| enabled, now);
                }
            }
            _ => self.react(set, now),
        }
        Ok(())
    }

    /// The transmitter stopped the stream, or set it going (SSF 1.0 §8.1.5).
    fn updated(&self, set: &Set) {
        // What is told of the past was so then.
        if self.attention.look().has(Flag::Starting) {
            return;
        }
        if set.payload.get("status").and_then(Value::as_str) == Some("enabled") {
            // It was stopped before: of that nothing may have been kept.
            self.lacks_past();
        } else {
            self.degrade(Flag::Delivery, "the transmitter stopped the stream");
        }
        self.stop.notify_one();
    }

    /// `session-revoked`: for one grant or token it is final, for anything
    /// wider it ends what was issued until then (CAEP 1.0 §3.1).
    fn end(&self, set: &Set, meant: Meant, now: i64) {
        let at = set.at;
        let rule = |subject: &Subject| Rule::Ended {
            cut_off: (!subject.is_session()).then_some(at),
        };
        self.mark(set, meant, rule, now);
    }

    /// The author decides.
    fn react(&self, set: &Set, now: i64) {
        let reaction = self.hooks.decide(&Event {
            event_type: &set.event_type,
            sub_id: &set.sub_id,
            payload: &set.payload,
            at: set.at,
            jti: &set.jti,
            txn: set.txn.as_deref(),
        });
        if reaction == Reaction::EndTokens {
            let critical = self.trusted();
            let critical = critical.as_ref().map_or(&[][..], |trust| &trust.critical);
            if let Ok(meant) = subject::read(&set.sub_id, &self.issuer, critical) {
                self.end(set, meant, now);
            }
        }
    }

    fn mark(&self, set: &Set, meant: Meant, rule: impl FnOnce(&Subject) -> Rule, now: i64) {
        let needed = set.at.max(now).saturating_add(self.needed);
        let subject = match meant {
            Meant::Others => return,
            Meant::Tokens(subject) | Meant::Fewer(subject) => subject,
            Meant::Unknown => return self.doubt(needed, "its subject is not in the tokens"),
            Meant::Critical => return self.doubt(needed, "a critical member is not understood"),
        };
        let rule = rule(&subject);
        match self.deny.apply(subject.clone(), rule.clone(), now) {
            Kept::Known => {}
            Kept::Full { until } => self.doubt(until, "there is no room to remember it"),
            Kept::New => self.changed(set, subject, &rule),
        }
    }

    fn changed(&self, set: &Set, subject: Subject, rule: &Rule) {
        if let Some(answers) = &self.answers {
            answers.forget();
        }
        self.changes.send_modify(|count| *count += 1);
        tracing::info!(
            jti = set.jti,
            txn = set.txn,
            event_type = set.event_type,
            ?subject,
            "an event changed what tokens are good for"
        );
        let cut_off = match rule {
            Rule::Ended { cut_off } => *cut_off,
            Rule::Account { disabled: true, .. } => None,
            Rule::Account { .. } | Rule::Narrowed { .. } => return,
        };
        self.hooks.tell(&Revocation {
            subject,
            cut_off,
            event_type: set.event_type.clone(),
            jti: set.jti.clone(),
            txn: set.txn.clone(),
        });
    }

    /// Every token is doubtful until then.
    pub(super) fn doubt(&self, until: i64, why: &str) {
        tracing::warn!(
            why,
            until,
            "an event may be about any token: all are asked about or refused"
        );
        self.doubt_until.fetch_max(until, Ordering::AcqRel);
        self.attention.set(Flag::Doubt);
    }
}

/// An account is a user's, whatever else a subject names.
fn of_account(meant: Meant) -> Meant {
    match meant {
        Meant::Tokens(subject) | Meant::Fewer(subject) => subject
            .of_user_alone()
            .map_or(Meant::Unknown, Meant::Tokens),
        meant => meant,
    }
}
