//! What was decided before anybody had signed in.
//!
//! Whoever is about to leave for another provider is asked first what the client may do (the
//! confused deputy of the MCP security best practices): had somebody else sent the browser there,
//! the provider might sign the person in without a word, and nobody would have been asked. What was
//! decided comes back with the browser, sealed, and is the consent of whoever has signed in by
//! then: once, for this request, in this browser, and for nothing that was not shown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Interaction, request::AuthorizationRequest};
use crate::{
    app::App,
    clients::digest_of,
    error::{OAuthError, Result},
    policy::person::Ask,
    registry::Tenant,
    store::{Change, Once},
};

/// What somebody lets a client have, before they sign in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// Its name: 128 random bits.
    id: String,
    /// SHA-256 of the request, as its browser carries it.
    interaction: [u8; 32],
    /// SHA-256 of the name of the browser in which it was made.
    browser: [u8; 32],
    /// SHA-256 of what was shown.
    shown: [u8; 32],
    /// What was not chosen of that: mostly nothing, and it travels in URLs.
    refused: BTreeSet<String>,
}

impl Decision {
    /// One about this request, made in the browser of this name.
    ///
    /// # Errors
    /// `access_denied` when nothing was chosen.
    pub fn new(
        app: &App,
        request: &AuthorizationRequest,
        interaction: &Interaction,
        chosen: &BTreeSet<String>,
        browser: &str,
    ) -> Result<Self> {
        request.ask.clone().narrowed(chosen)?;
        Ok(Self {
            id: app.entropy.id(),
            interaction: digest(interaction)?,
            browser: digest_of(browser),
            shown: shown(request)?,
            refused: request
                .ask
                .choices()
                .filter(|one| !chosen.contains(one))
                .collect(),
        })
    }

    /// What the browser carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.decisions.seal(tenant.name(), self, &app.entropy)?)
    }

    /// What a browser of this name brings back with a request; none when it was made in another
    /// browser or about another request. It holds for as long as the request.
    #[must_use]
    pub fn open(
        app: &App,
        tenant: &Tenant,
        sealed: &str,
        interaction: &Interaction,
        browser: &str,
    ) -> Option<Self> {
        let found = app.decisions.open::<Self>(tenant.name(), sealed)?;
        let same = found.interaction == digest(interaction).ok()?;
        (same && found.browser == digest_of(browser)).then_some(found)
    }

    /// What it allows of a request that was checked again from the beginning; none when that has
    /// come to ask for anything else than what was shown.
    #[must_use]
    pub fn allows(&self, request: &AuthorizationRequest) -> Option<Ask> {
        let same = self.shown == shown(request).ok()?;
        let ask = same.then(|| request.ask.clone())?;
        let chosen = ask.choices().filter(|one| !self.refused.contains(one));
        let chosen = chosen.collect();
        ask.narrowed(&chosen).ok()
    }

    /// Uses it up.
    #[must_use]
    pub fn use_up(&self, app: &App, tenant: &Tenant) -> Change {
        // By then the request is over too.
        let end = app.clock.seconds() + app.config.authorization.patience;
        let digest = digest_of(format!("decision\0{}", self.id));
        Change::use_once(tenant.name(), digest, end, Once::Decision)
    }
}

/// SHA-256 of what a person decides about: who gets an answer, and of what.
fn shown(request: &AuthorizationRequest) -> Result<[u8; 32]> {
    let ask = &request.ask;
    let about = (
        request.client.id(),
        &request.to.redirect_uri,
        &ask.scopes,
        &ask.only_claims,
    );
    digest(&about)
}

fn digest(value: &impl Serialize) -> Result<[u8; 32]> {
    let text = serde_json::to_string(value).map_err(OAuthError::server_error)?;
    Ok(digest_of(&text))
}
