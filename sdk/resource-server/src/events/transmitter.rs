//! The authorization server as a transmitter: its metadata, a token for its
//! API, and this resource's stream (SSF 1.0 §7, §8).

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use crate::claims::Audience;
use crate::clock::Clock;
use crate::discovery::{self, Endpoint, FetchError};
use crate::json;

/// The longest answer, bytes: what a poll may bring.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Seconds before its end that a token is not used any more.
const TOKEN_MARGIN: i64 = 30;

/// How long a token is used when its answer does not say, seconds.
const DEFAULT_TOKEN_LIFETIME: i64 = 60;

pub(super) const PUSH: &str = "urn:ietf:rfc:8935";
pub(super) const POLL: &str = "urn:ietf:rfc:8936";

/// What stands between this server and its events.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} answered {1}")]
    Refused(Url, StatusCode),
    #[error("{0}")]
    Answer(&'static str),
    #[error("a SET cannot be checked at the moment")]
    Unchecked,
    #[error("the stream is gone")]
    Gone,
    #[error("too many requests")]
    TooSoon(i64),
    #[error("nothing arrives any more")]
    Silent,
    #[error("what was revoked before was not all told")]
    Interrupted,
    #[error("verification events do not come back")]
    Mute,
    #[error("the transmitter stopped the stream, or set it going")]
    Stopped,
    #[error("another receiver uses the stream")]
    Shared,
    #[error(
        "this client has as many streams as the transmitter lets it have (403; at Writ \
         events.streams_per_client, 16 by default): `writ stream list` shows them; delete what \
         nobody uses, and give receivers that are not closed a name that stays \
         (Events::instance)"
    )]
    Full,
    /// Trying again is of no use.
    #[error("{0}")]
    Final(String),
}

/// The transmitter's metadata (SSF 1.0 §7.1), as far as it is used.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) jwks_uri: Url,
    pub(super) critical: Vec<String>,
    pub(super) feed: Option<Url>,
    configuration: Url,
    status: Option<Url>,
    verification: Url,
}

#[derive(Deserialize)]
struct RawMetadata {
    issuer: String,
    jwks_uri: String,
    configuration_endpoint: String,
    status_endpoint: Option<String>,
    verification_endpoint: String,
    feed_endpoint: Option<String>,
    #[serde(default)]
    critical_subject_members: Vec<String>,
}

/// A stream as the transmitter describes it (SSF 1.0 §8.1.1). What its push
/// deliveries carry is never in it.
#[derive(Debug, Deserialize)]
pub(super) struct Stream {
    pub(super) stream_id: String,
    pub(super) iss: String,
    pub(super) aud: Audience,
    pub(super) delivery: StreamDelivery,
    pub(super) description: Option<String>,
    /// Seconds that it may go unused.
    pub(super) inactivity_timeout: Option<i64>,
    #[serde(default)]
    pub(super) events_requested: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamDelivery {
    pub(super) method: String,
    pub(super) endpoint_url: Option<String>,
}

/// The way to the transmitter, as this resource's client.
pub(super) struct Transmitter {
    pub(super) http: reqwest::Client,
    pub(super) issuer: String,
    pub(super) issuer_url: Url,
    pub(super) clock: Clock,
    /// RFC 6749 §2.3.1.
    pub(super) authorization: String,
    pub(super) token_endpoint: OnceCell<Url>,
    pub(super) token: Mutex<Option<Token>>,
}

/// An access token for the transmitter's API.
pub(super) struct Token {
    header: String,
    until: i64,
}

impl Transmitter {
    /// SSF 1.0 §7.2: inserted between the issuer's host and path.
    pub(super) async fn discover(&self) -> Result<Metadata, Problem> {
        let mut url = self.issuer_url.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("/.well-known/ssf-configuration{path}"));
        let (body, _) = discovery::get(&self.http, &url).await?;
        let raw: RawMetadata = json::from_slice(&body)
            .map_err(|_| Problem::Answer("the transmitter's metadata cannot be read"))?;
        // SSF 1.0 §7.2.4: identical, or the document belongs to someone else.
        if raw.issuer != self.issuer {
            return Err(Problem::Answer("the transmitter's metadata is another's"));
        }
        Ok(Metadata {
            jwks_uri: self.named(&raw.jwks_uri)?,
            critical: raw.critical_subject_members,
            feed: self.named_if(raw.feed_endpoint)?,
            configuration: self.named(&raw.configuration_endpoint)?,
            status: self.named_if(raw.status_endpoint)?,
            verification: self.named(&raw.verification_endpoint)?,
        })
    }

    pub(super) fn named(&self, url: &str) -> Result<Url, Problem> {
        discovery::named(&self.issuer_url, url).map_err(Problem::Answer)
    }

    fn named_if(&self, url: Option<String>) -> Result<Option<Url>, Problem> {
        url.map(|url| self.named(&url)).transpose()
    }

    pub(super) async fn streams(&self, metadata: &Metadata) -> Result<Vec<Stream>, Problem> {
        self.json(Method::GET, &metadata.configuration, None).await
    }

    pub(super) async fn create(
        &self,
        metadata: &Metadata,
        stream: &Value,
    ) -> Result<Stream, Problem> {
        self.json(Method::POST, &metadata.configuration, Some(stream))
            .await
            .map_err(|problem| match problem {
                Problem::Refused(_, StatusCode::FORBIDDEN) => Problem::Full,
                problem => problem,
            })
    }

    /// Changes only what is named (SSF 1.0 §8.1.1.3). Writing back what was
    /// read would lose the secret that is not in it.
    pub(super) async fn update(
        &self,
        metadata: &Metadata,
        changes: &Value,
    ) -> Result<Stream, Problem> {
        self.json(Method::PATCH, &metadata.configuration, Some(changes))
            .await
    }

    pub(super) async fn delete(&self, metadata: &Metadata, stream_id: &str) -> Result<(), Problem> {
        let mut url = metadata.configuration.clone();
        url.query_pairs_mut().append_pair("stream_id", stream_id);
        self.send(&url, |http| http.delete(url.clone())).await?;
        Ok(())
    }

    /// Whether a stream delivers nothing (SSF 1.0 §8.1.2).
    pub(super) async fn is_stopped(
        &self,
        metadata: &Metadata,
        stream_id: &str,
    ) -> Result<bool, Problem> {
        #[derive(Deserialize)]
        struct Status {
            status: String,
        }
        let Some(mut url) = metadata.status.clone() else {
            return Ok(false);
        };
        url.query_pairs_mut().append_pair("stream_id", stream_id);
        let status: Status = self.json(Method::GET, &url, None).await?;
        Ok(status.status != "enabled")
    }

    /// Has a stream deliver.
    pub(super) async fn enable(&self, metadata: &Metadata, stream_id: &str) -> Result<(), Problem> {
        let Some(url) = &metadata.status else {
            return Ok(());
        };
        let enabled = json!({ "stream_id": stream_id, "status": "enabled" });
        self.json::<Value>(Method::POST, url, Some(&enabled))
            .await?;
        Ok(())
    }

    /// Asks for a verification event (SSF 1.0 §8.1.4).
    pub(super) async fn verify(
        &self,
        metadata: &Metadata,
        stream_id: &str,
        state: &str,
    ) -> Result<(), Problem> {
        let body = json!({ "stream_id": stream_id, "state": state });
        let url = &metadata.verification;
        self.send(url, |http| http.post(url.clone()).json(&body))
            .await?;
        Ok(())
    }

    /// One request and the JSON of its answer.
    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<T, Problem> {
        let response = self
            .send(url, |http| {
                let request = http
                    .request(method.clone(), url.clone())
                    .header(ACCEPT, "application/json");
                match body {
                    Some(body) => request.json(body),
                    None => request,
                }
            })
            .await?;
        read(response, url).await
    }

    /// Sends a request with a token; a refused one is renewed once.
    pub(super) async fn send(
        &self,
        url: &Url,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Problem> {
        let mut renewed = false;
        loop {
            let authorization = self.token().await?;
            let response = request(&self.http)
                .header(AUTHORIZATION, &authorization)
                .send()
                .await
                .map_err(|error| FetchError::Http(url.clone(), error.without_url()))?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if !renewed => {
                    self.forget(&authorization).await;
                    renewed = true;
                }
                StatusCode::NOT_FOUND => return Err(Problem::Gone),
                StatusCode::TOO_MANY_REQUESTS => {
                    return Err(Problem::TooSoon(retry_after(&response)));
                }
                status => return Err(Problem::Refused(url.clone(), status)),
            }
        }
    }

    async fn forget(&self, authorization: &str) {
        let mut token = self.token.lock().await;
        if token
            .as_ref()
            .is_some_and(|token| token.header == authorization)
        {
            *token = None;
        }
    }

    /// RFC 6749 §4.4. The audience follows from the scope.
    async fn token(&self) -> Result<String, Problem> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            token_type: String,
            expires_in: Option<i64>,
        }
        let mut token = self.token.lock().await;
        let now = self.clock.now();
        if let Some(token) = token.as_ref().filter(|token| now < token.until) {
            return Ok(token.header.clone());
        }
        let find =
            || discovery::endpoint(&self.http, &self.issuer, &self.issuer_url, Endpoint::Token);
        let url = self.token_endpoint.get_or_try_init(find).await?;
        let request = self
            .http
            .post(url.clone())
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=ssf.manage");
        let (body, _) = discovery::send(request, url).await?;
        let answer: Answer = json::from_slice(&body)
            .map_err(|_| Problem::Answer("the token endpoint answers something else"))?;
        if !answer.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(Problem::Answer("the token is not a bearer token"));
        }
        let lifetime = answer.expires_in.unwrap_or(DEFAULT_TOKEN_LIFETIME);
        let header = format!("Bearer {}", answer.access_token);
        *token = Some(Token {
            header: header.clone(),
            until: now.saturating_add(lifetime - TOKEN_MARGIN),
        });
        Ok(header)
    }
}

/// The JSON of an answer.
pub(super) async fn read<T: DeserializeOwned>(response: Response, url: &Url) -> Result<T, Problem> {
    let body = discovery::bounded(response, url, MAX_ANSWER).await?;
    json::from_slice(&body).map_err(|_| Problem::Answer("the transmitter answers something else"))
}

/// How long to wait, seconds (RFC 9110 §10.2.3).
fn retry_after(response: &Response) -> i64 {
    response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .unwrap_or(5)
        .clamp(1, 60)
}

/// The longest a poll is held, and some time for it to travel.
pub(super) const LONG_POLL: Duration = Duration::from_secs(40);

/// No answer goes on for longer: tokens end earlier.
pub(super) const LONGEST_FEED: Duration = Duration::from_secs(24 * 3600);
