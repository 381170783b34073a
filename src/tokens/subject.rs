//! By which name a client knows a person (OpenID Connect Core §8).
//!
//! A client that asked for pairwise subjects is told, in ID tokens, at the userinfo endpoint and in
//! logout tokens, a name that nobody outside its sector knows, and nothing can be worked out from.
//! Access tokens, introspection and security events keep the account's id: the resource servers
//! that read them must agree with each other, and with the events, on whom they speak of. They are
//! not for the client to read.

use std::borrow::Cow;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    app::App,
    registry::{Client, Tenant},
};

/// What this client calls the person with this account id.
#[must_use]
pub fn known_as<'a>(app: &App, tenant: &Tenant, client: &Client, account: &'a str) -> Cow<'a, str> {
    let Some(sector) = client.rights().sector.as_deref() else {
        return Cow::Borrowed(account);
    };
    // None of the three holds such a byte.
    let message = [tenant.name(), sector, account].join("\0");
    let tag = hmac::sign(&app.subjects, message.as_bytes());
    Cow::Owned(URL_SAFE_NO_PAD.encode(tag))
}
