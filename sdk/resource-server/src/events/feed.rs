//! SETs of one answer that stays open (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use http::header::ACCEPT;
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use super::poll::{Ask, Report};
use super::sse::{Message, Reader};
use super::state::State;
use super::transmitter::{LONGEST_FEED, Problem, Transmitter};
use crate::discovery::FetchError;

/// Seconds without an octet after which nobody is believed to be there: three
/// times what a transmitter waits with its comments.
const SILENCE: i64 = 45;

/// How long opening may take.
const OPENING: Duration = Duration::from_secs(10);

/// How long reports are collected.
const COLLECT: Duration = Duration::from_millis(200);

/// The least time between two openings.
const REOPEN: Duration = Duration::from_secs(1);

/// A feed of one stream.
pub(super) struct Feed<'a> {
    pub(super) transmitter: &'a Transmitter,
    pub(super) state: &'a State,
    pub(super) url: &'a Url,
    pub(super) stream_id: &'a str,
}

/// An open answer.
pub(super) struct Open {
    response: Response,
    /// What was revoked before comes first.
    pub(super) replays: bool,
}

/// How an answer ended.
enum End {
    /// With the event that says so: there is no more of the past.
    Told,
    /// Without.
    Closed,
}

impl Feed<'_> {
    /// Opens it; with what the last so many seconds brought first, when they
    /// are given and the transmitter has them.
    pub(super) async fn open(&self, replay: Option<i64>) -> Result<Open, Problem> {
        match self.request(replay, None).await {
            Err(Problem::Refused(_, StatusCode::BAD_REQUEST)) if replay.is_some() => {
                tracing::warn!("the transmitter does not tell what was revoked before");
                let response = self.request(None, None).await?;
                Ok(Open {
                    response,
                    replays: false,
                })
            }
            answer => Ok(Open {
                response: answer?,
                replays: replay.is_some(),
            }),
        }
    }

    async fn request(&self, replay: Option<i64>, last: Option<&str>) -> Result<Response, Problem> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("stream_id", self.stream_id);
        if let Some(seconds) = replay {
            url.query_pairs_mut()
                .append_pair("replay", &seconds.to_string());
        }
        let opened = self.transmitter.send(&url, |http| {
            let request = http
                .get(url.clone())
                .timeout(LONGEST_FEED)
                .header(ACCEPT, "text/event-stream");
            match last {
                Some(last) => request.header("Last-Event-ID", last),
                None => request,
            }
        });
        let opened = tokio::time::timeout(OPENING, opened).await;
        opened.unwrap_or(Err(Problem::Silent))
    }

    /// Takes what comes, opens the next answer when one has ended, and
    /// reports at `reports` what became of the SETs.
    ///
    /// # Errors
    /// The [`Problem`] that ended it.
    pub(super) async fn follow(&self, open: Open, reports: &Url) -> Result<Infallible, Problem> {
        let (sender, receiver) = mpsc::channel(1024);
        tokio::select! {
            ended = self.take_on(open.response, sender) => ended,
            never = self.report(receiver, reports) => never,
        }
    }

    /// Takes all of an answer that tells the past and no more.
    ///
    /// # Errors
    /// The [`Problem`] that ended it too early: an answer that merely ends was
    /// not told to its end.
    pub(super) async fn take_all(&self, open: Open) -> Result<(), Problem> {
        match self.take(open.response, &mut None, None).await? {
            End::Told => Ok(()),
            End::Closed => Err(Problem::Interrupted),
        }
    }

    async fn take_on(
        &self,
        mut response: Response,
        reports: mpsc::Sender<Report>,
    ) -> Result<Infallible, Problem> {
        let mut last = None;
        loop {
            let opened = Instant::now();
            self.take(response, &mut last, Some(&reports)).await?;
            // The next answer would not tell the rest of the past.
            if !self.state.is_settled(self.stream_id) {
                return Err(Problem::Interrupted);
            }
            // Its token has ended, or the stream was stopped.
            tokio::time::sleep(REOPEN.saturating_sub(opened.elapsed())).await;
            response = self.request(None, last.as_deref()).await?;
        }
    }

    async fn take(
        &self,
        mut response: Response,
        last: &mut Option<String>,
        reports: Option<&mpsc::Sender<Report>>,
    ) -> Result<End, Problem> {
        let mut reader = Reader::default();
        loop {
            let chunk = tokio::select! {
                chunk = response.chunk() => chunk,
                () = self.state.clock.sleep(SILENCE) => return Err(Problem::Silent),
            };
            let failed =
                |error: reqwest::Error| FetchError::Http(self.url.clone(), error.without_url());
            let Some(chunk) = chunk.map_err(failed)? else {
                return Ok(End::Closed);
            };
            let mut messages = Vec::new();
            reader.push(&chunk, |message| messages.push(message));
            for Message { id, event, data } in messages {
                if event == "end" {
                    return Ok(End::Told);
                }
                if event != "set" || id.is_empty() {
                    continue;
                }
                let mut report = Report::default();
                report.note(id.clone(), self.state.receive_only_once(&data).await)?;
                // The name acknowledges all before it as well: only now.
                *last = Some(id);
                if let Some(reports) = reports {
                    // Fails only when nobody reports any more, who ends this too.
                    let _ = reports.send(report).await;
                }
            }
        }
    }

    /// Sends reports together. One that fails is left: the SETs come again.
    async fn report(
        &self,
        mut reports: mpsc::Receiver<Report>,
        url: &Url,
    ) -> Result<Infallible, Problem> {
        while let Some(mut report) = reports.recv().await {
            tokio::time::sleep(COLLECT).await;
            while let Ok(more) = reports.try_recv() {
                report.join(more);
            }
            if let Err(error) = report.send(self.transmitter, url, Ask::Nothing).await {
                tracing::warn!(%error, "SETs were taken, and the transmitter could not be told");
            }
        }
        Err(Problem::Silent)
    }
}
