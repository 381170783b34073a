//! SETs that are asked for (RFC 8936).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LANGUAGE};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::set::SetError;
use super::state::State;
use super::transmitter::{LONG_POLL, Problem, Transmitter, read};

/// The most SETs of one answer, so that all of them fit in what is read.
const MAX_EVENTS: usize = 100;

/// The least time between two questions that bring nothing: a stream that is
/// stopped answers at once.
const IDLE: Duration = Duration::from_secs(1);

/// What became of SETs, to be told to the transmitter (RFC 8936 §2.4.2).
#[derive(Debug, Default)]
pub(super) struct Report {
    taken: Vec<String>,
    refused: Map<String, Value>,
}

impl Report {
    /// Notes what became of a SET.
    ///
    /// # Errors
    /// [`Problem::Unchecked`] for one that must come again.
    pub(super) fn note(
        &mut self,
        jti: String,
        result: Result<(), SetError>,
    ) -> Result<(), Problem> {
        match result {
            Ok(()) => self.taken.push(jti),
            Err(SetError::Unavailable) => return Err(Problem::Unchecked),
            Err(error) => {
                let why = json!({ "err": error.code(), "description": error.to_string() });
                self.refused.insert(jti, why);
            }
        }
        Ok(())
    }

    /// Takes in another one.
    pub(super) fn join(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.refused.extend(other.refused);
    }

    /// Sends it, and asks for more.
    pub(super) async fn send(
        &self,
        transmitter: &Transmitter,
        url: &Url,
        ask: Ask,
    ) -> Result<Sets, Problem> {
        let mut body = match ask {
            Ask::Wait => json!({ "maxEvents": MAX_EVENTS, "returnImmediately": false }),
            Ask::Nothing => json!({ "maxEvents": 0, "returnImmediately": true }),
        };
        if !self.taken.is_empty() {
            body["ack"] = json!(self.taken);
        }
        if !self.refused.is_empty() {
            body["setErrs"] = json!(self.refused);
        }
        let answer = transmitter
            .send(url, |http| {
                http.post(url.clone())
                    .timeout(LONG_POLL)
                    .header(ACCEPT, "application/json")
                    .header(CONTENT_LANGUAGE, "en")
                    .json(&body)
            })
            .await?;
        read(answer, url).await
    }
}

/// What a report asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// What there is, or what comes next.
    Wait,
    /// No SETs.
    Nothing,
}

/// An answer (RFC 8936 §2.5).
#[derive(Debug, Deserialize)]
pub(super) struct Sets {
    sets: BTreeMap<String, String>,
}

/// Asks again and again.
///
/// # Errors
/// The [`Problem`] that ended it.
pub(super) async fn follow(
    transmitter: &Transmitter,
    state: &State,
    url: &Url,
) -> Result<Infallible, Problem> {
    let mut report = Report::default();
    loop {
        let asked = Instant::now();
        let answer = report.send(transmitter, url, Ask::Wait).await?;
        report = Report::default();
        if answer.sets.is_empty() && asked.elapsed() < IDLE {
            tokio::time::sleep(IDLE).await;
        }
        for (jti, compact) in answer.sets {
            let result = state.receive_only_once(&compact).await;
            report.note(jti, result)?;
        }
    }
}
