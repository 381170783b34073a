//! A logout request (OpenID Connect RP-Initiated Logout §2), checked.

use serde::{Deserialize, Serialize};

use super::refuse;
use crate::{
    app::App,
    clients,
    error::{OAuthError, Result},
    oauth::params::Params,
    registry::Tenant,
    tokens::id_token::{self, Hint},
    users::Session,
};

/// Seconds for which a person may make up their mind.
const LIFETIME: i64 = 3600;
/// Longest `state`, bytes.
const MAX_STATE: usize = 4096;

/// What a client asks for, as a browser may carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogoutRequest {
    /// The name of the client that asks, for the person.
    pub(super) client: Option<String>,
    /// Where the browser goes then: one of its registered URIs.
    pub(super) to: Option<String>,
    state: Option<String>,
    /// The session that it shows an ID token of.
    pub(super) sid: Option<String>,
    asked_at: i64,
}

impl LogoutRequest {
    /// Reads and checks a query or a form.
    ///
    /// # Errors
    /// For a page: nobody is redirected anywhere until client and URI are known to be good.
    pub(super) async fn read(app: &App, tenant: &Tenant, params: &Params<'_>) -> Result<Self> {
        let hint = params.get("id_token_hint").map(|token| {
            id_token::hint(tenant, token)
                .ok_or_else(|| refuse("id_token_hint is not an ID token of this server."))
        });
        let hint: Option<Hint> = hint.transpose()?;
        let client_id = client_id(params, hint.as_ref())?;
        let to = params.get("post_logout_redirect_uri");
        let state = params.get("state");
        if state.is_some_and(|state| state.len() > MAX_STATE) {
            return Err(refuse("state is too long."));
        }
        Ok(Self {
            client: known(app, tenant, client_id, to).await?,
            to: to.map(str::to_owned),
            state: state.map(str::to_owned),
            sid: hint.and_then(|hint| hint.sid),
            asked_at: app.clock.seconds(),
        })
    }

    /// What a browser carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(super) fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.logouts.seal(tenant.name(), self, &app.entropy)?)
    }

    /// What it brings back.
    ///
    /// # Errors
    /// For a page, when that is none of ours or too old.
    pub(super) fn open(app: &App, tenant: &Tenant, ticket: Option<&str>) -> Result<Self> {
        let found: Option<Self> = ticket.and_then(|text| app.logouts.open(tenant.name(), text));
        let oldest = app.clock.seconds() - LIFETIME;
        found
            .filter(|found| found.asked_at >= oldest)
            .ok_or_else(|| {
                refuse("This took too long, or the link is incomplete: sign out once more.")
            })
    }

    /// Whether the client has shown that it means this session.
    pub(super) fn means(&self, session: &Session) -> bool {
        self.sid.as_deref() == Some(&session.sid)
    }

    /// Where the browser goes when nobody is signed in any more (RP-Initiated Logout §3).
    pub(super) fn destination(&self) -> Option<String> {
        let mut url = self.to.clone()?;
        if let Some(state) = &self.state {
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.append_pair("state", state);
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&text.finish());
        }
        Some(url)
    }
}

/// The client that asks: as it says itself, or the one that the ID token was issued to. When both
/// are given they agree (RP-Initiated Logout §2).
fn client_id<'a>(params: &'a Params<'_>, hint: Option<&'a Hint>) -> Result<Option<&'a str>> {
    match (params.get("client_id"), hint) {
        (Some(named), Some(hint)) if !hint.aud.contains(named) => {
            Err(refuse("id_token_hint was issued to another client."))
        }
        (Some(named), _) => Ok(Some(named)),
        (None, hint) => Ok(hint.and_then(|hint| hint.aud.iter().next())),
    }
}

/// The name of the client, which has registered `to`, to the letter (RP-Initiated Logout §3).
async fn known(
    app: &App,
    tenant: &Tenant,
    client_id: Option<&str>,
    to: Option<&str>,
) -> Result<Option<String>> {
    let Some(client_id) = client_id else {
        return match to {
            None => Ok(None),
            Some(_) => Err(refuse(
                "post_logout_redirect_uri needs an id_token_hint or a client_id beside it.",
            )),
        };
    };
    let client = match to {
        Some(_) => clients::find(app, tenant, client_id).await?,
        // As it is known here: nobody else is asked before somebody may leave.
        None => match tenant.client(client_id) {
            Some(client) => client,
            None => return Ok(None),
        },
    };
    let document = client.document().map_err(OAuthError::server_error)?;
    let registered = &document.metadata.post_logout_redirect_uris;
    if to.is_some_and(|to| !registered.iter().any(|known| known == to)) {
        return Err(refuse(
            "post_logout_redirect_uri is not one that this client has registered: it has to be the \
             same text.",
        ));
    }
    let name = Some(document.name).filter(|name| !name.is_empty());
    Ok(Some(name.unwrap_or_else(|| client.id().to_owned())))
}
