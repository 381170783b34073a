//! Requests whose answers are read whatever their status: those of a client to its provider.

use http::{HeaderValue, header};
use reqwest::RequestBuilder;

use super::{Fetch, FetchError, body};

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status; a redirect is not followed.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Fetch {
    /// Posts a form.
    ///
    /// # Errors
    /// [`FetchError`], in words that may be shown.
    pub async fn post_form(
        &self,
        url: &str,
        authorization: Option<HeaderValue>,
        form: String,
    ) -> Result<Answer, FetchError> {
        let request = self.client.post(self.allowed(url)?);
        let media_type = "application/x-www-form-urlencoded";
        let request = request.header(header::CONTENT_TYPE, media_type).body(form);
        self.answer(request, authorization).await
    }

    /// Asks with an access token (RFC 6750 §2.1).
    ///
    /// # Errors
    /// [`FetchError`], in words that may be shown.
    pub async fn get_with(&self, url: &str, token: HeaderValue) -> Result<Answer, FetchError> {
        let request = self.client.get(self.allowed(url)?);
        self.answer(request, Some(token)).await
    }

    async fn answer(
        &self,
        request: RequestBuilder,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, FetchError> {
        let mut request = request.header(header::ACCEPT, "application/json");
        if let Some(mut authorization) = authorization {
            authorization.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(FetchError::of)?;
        Ok(Answer {
            status: response.status().as_u16(),
            body: body(response, self.max_body).await?,
        })
    }
}
