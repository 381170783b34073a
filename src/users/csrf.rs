//! That a form was made for the browser that sends it (RFC 6749 §10.12, RFC 9700 §4.7).
//!
//! Every form carries a token that only we can make, from what the browser's cookie holds. Signing
//! in changes the cookie, so no form outlives it.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;

use super::{Session, browser::Browser};
use crate::{
    app::App,
    error::{OAuthError, Result},
    oauth::error_code::ErrorCode,
    registry::Tenant,
};

/// What the field is called in every form.
pub const FIELD: &str = "csrf";

/// Whose form it is.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    /// Somebody's who is signed in.
    Session(&'a Session),
    /// Nobody's yet.
    Browser(&'a Browser),
}

impl Holder<'_> {
    fn message(self, tenant: &Tenant) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Session(session) => ("session", session.digest.as_slice()),
            Self::Browser(browser) => ("browser", browser.name.as_bytes()),
        };
        // A tenant's name holds no such byte.
        [kind.as_bytes(), tenant.name().as_bytes(), name].join(&0)
    }
}

/// The token for forms of this browser.
#[must_use]
pub fn token(app: &App, tenant: &Tenant, holder: Holder<'_>) -> String {
    let tag = hmac::sign(&app.forms, &holder.message(tenant));
    URL_SAFE_NO_PAD.encode(tag)
}

/// Insists that a form was made for this browser, and sent by one of our pages as far as the
/// browser says (Fetch Metadata §2.3).
///
/// # Errors
/// 403 `access_denied` for any other.
pub fn check(
    app: &App,
    tenant: &Tenant,
    holder: Holder<'_>,
    headers: &HeaderMap,
    sent: Option<&str>,
) -> Result<()> {
    let site = headers.get("sec-fetch-site");
    let ours = site.is_none_or(|site| site == "same-origin" || site == "none");
    let tag = sent.and_then(|sent| URL_SAFE_NO_PAD.decode(sent).ok());
    let made = tag.is_some_and(|tag| {
        // In constant time.
        hmac::verify(&app.forms, &holder.message(tenant), &tag).is_ok()
    });
    if ours && made {
        return Ok(());
    }
    Err(OAuthError::new(
        ErrorCode::Forbidden,
        "This form was not made for this browser, or somebody has signed in or out since: go \
         back, load the page again, and send it once more. The browser must accept cookies.",
    ))
}
