//! The administrator: credentials from a file, everything else through the admin API.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    agent::{Answer, send},
    show::Failed,
};
use crate::{admin::tenants::Credentials, oauth::grant_type::CLIENT_CREDENTIALS};

/// No more of the admin API than is needed here.
const SCOPE: &str = "writ:read writ:clients writ:keys writ:revocations";

/// An administrator with a token.
pub(super) struct Operator {
    http: reqwest::Client,
    /// The admin API's URL, which is its resource URI too.
    api: String,
    token: String,
}

impl Operator {
    /// Reads the credentials and gets a token for the admin API.
    pub(super) async fn sign_in(http: &reqwest::Client, file: &Path) -> Result<Self, Failed> {
        let expected = "the administrator's credentials are in the file";
        let text = std::fs::read(file).map_err(|why| Failed::new(expected, why))?;
        let known: Credentials =
            serde_json::from_slice(&text).map_err(|why| Failed::new(expected, why))?;
        let form = [
            ("grant_type", CLIENT_CREDENTIALS),
            ("resource", &known.resource),
            ("scope", SCOPE),
        ];
        let request = http
            .post(format!("{}/token", known.issuer))
            .basic_auth(&known.client_id, Some(&known.client_secret))
            .form(&form);
        let answer = send(request).await?.success()?;
        Ok(Self {
            http: http.clone(),
            api: known.resource,
            token: answer.text("access_token")?.to_owned(),
        })
    }

    /// Makes a declaration true.
    pub(super) async fn apply(&self, declaration: &Value) -> Result<Answer, Failed> {
        self.post("/apply", declaration).await
    }

    /// Replaces the signing keys at once.
    pub(super) async fn rotate<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        let answer = self.post("/keys/rotate", &json!({ "now": true })).await?;
        answer.read("a list of keys")
    }

    /// Ends everything a client was granted.
    pub(super) async fn revoke(&self, client_id: &str) -> Result<(), Failed> {
        let answer = self
            .post("/revocations", &json!({ "client": client_id }))
            .await;
        answer.map(drop)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failed> {
        let request = self.http.post(format!("{}{path}", self.api));
        send(request.bearer_auth(&self.token).json(body))
            .await?
            .success()
    }
}
