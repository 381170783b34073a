//! An agent that calls a tool without a pause, until it is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::Failure;
use super::api::TOOL;

/// A call that is answered later than this after the revocation counts as never refused.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first call that was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) at: Instant,
    /// How long one call takes, on the average: nothing finer can be seen.
    pub(super) call: Duration,
}

/// Calls on one connection, one call after the other, and counts those that were answered.
pub(super) async fn until_refused(
    http: reqwest::Client,
    resource: String,
    token: String,
    answered: Arc<AtomicU64>,
) -> Result<Refused, Failure> {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": TOOL, "arguments": {} } });
    let body = call.to_string();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let request = http
            .post(&resource)
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.clone());
        let answer = request.send().await?;
        let at = Instant::now();
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                let challenge = answer.headers().get("www-authenticate");
                let challenge = challenge.and_then(|value| value.to_str().ok());
                if !challenge.is_some_and(|text| text.contains("error=\"invalid_token\"")) {
                    return Err(format!("refused for another reason: {challenge:?}").into());
                }
                let calls = u32::try_from(answered.load(Ordering::Relaxed) + 1)?;
                return Ok(Refused {
                    at,
                    call: (at - began) / calls,
                });
            }
            status => return Err(format!("a call was answered with {status}").into()),
        }
        let said = answer.bytes().await?;
        if !said.windows(6).any(|word| word == b"Sunny.") {
            return Err("a call was answered with something else".into());
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Err("no call was refused".into())
}
