//! The few files that pages refer to, from our own origin.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header};

use super::SharedPages;
use crate::registry::Tenant;

/// A file that is served below `/pages/`.
#[derive(Debug)]
pub struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: Cow<'static, str>,
}

impl Asset {
    /// A script.
    #[must_use]
    pub const fn script(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            media_type: "text/javascript; charset=utf-8",
            text: Cow::Borrowed(text),
        }
    }

    /// A style sheet.
    pub(super) const fn style(name: &'static str, text: String) -> Self {
        Self {
            name,
            media_type: "text/css; charset=utf-8",
            text: Cow::Owned(text),
        }
    }

    /// Where it is below a tenant's issuer. The path changes with the text, so that a browser never
    /// shows a new page with an old style.
    #[must_use]
    pub fn path(&self, tenant: &Tenant) -> String {
        let digest = digest(&SHA256, self.text.as_bytes());
        let version = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9]);
        format!("{}/pages/{}?v={version}", tenant.path(), self.name)
    }

    /// Its text.
    #[must_use]
    pub fn answer(&self) -> Response {
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(self.media_type),
            ),
            (
                header::CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=86400"),
            ),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
        ];
        (headers, self.text.clone().into_owned()).into_response()
    }
}

/// Where the style sheet is.
pub fn router<S: Clone + Send + Sync + 'static>(pages: SharedPages) -> Router<S> {
    Router::new().route("/pages/style.css", get(async move || pages.style.answer()))
}
