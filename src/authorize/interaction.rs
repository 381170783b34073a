//! Where the browser goes next: sign in, be asked, be done.

use serde::{Deserialize, Serialize};

use super::{
    completion::Word,
    consent::Remembered,
    decision::Decision,
    request::{AuthorizationRequest, Channel, Received},
    request_object,
};
use crate::{
    app::App,
    clients::{self, digest_of},
    error::{OAuthError, Result},
    oauth::{error_code::ErrorCode, grant_type::AuthMethod, openid::Acr, redirect_uri},
    policy::person::Ask,
    registry::{Origin, Tenant},
    store::authorization,
    tokens::subject,
    users::Session,
};

/// How the `request_uri` of a pushed request begins (RFC 9126 §2.2).
pub const PUSHED: &str = "urn:ietf:params:oauth:request_uri:";

/// A request while a person makes up their mind, as their browser carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interaction {
    /// Its parameters, as a form.
    parameters: String,
    /// SHA-256 of the `request_uri` that it was pushed under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed: Option<[u8; 32]>,
    /// Whether the client has signed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    signed: bool,
    /// When it began, Unix seconds.
    asked_at: i64,
    /// The sign-in that was there by then: another one was made for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// Whether nobody could know of a sign-in: the request came from another site as a form, and
    /// with such a one browsers send no cookies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    blind: bool,
}

impl Interaction {
    /// A request that a browser brings.
    ///
    /// # Errors
    /// `invalid_request` when it cannot be read, `invalid_request_uri` when it was pushed and does
    /// not hold any more, or is another client's, `invalid_request_object` when it is signed and
    /// that does not hold.
    pub async fn begin(
        app: &App,
        tenant: &Tenant,
        parameters: String,
        session: Option<&Session>,
    ) -> Result<Self> {
        let before = session.map(Session::sign_in);
        let received = Received::read(parameters.as_bytes(), Channel::Front)?;
        let pushed = received.params.get("request_uri");
        let pushed = pushed.filter(|uri| uri.starts_with(PUSHED));
        let asked_at = app.clock.seconds();
        if let Some(name @ ("client_id" | "request_uri")) = received.repeated.as_deref() {
            let why = format!("{name} is given more than once.");
            return Err(OAuthError::invalid_request(why));
        }
        // RFC 9101 §5: one of them.
        if received.params.get("request").is_some() && received.params.get("request_uri").is_some()
        {
            return Err(OAuthError::invalid_request(
                "request and request_uri are both given: a request is one of them.",
            ));
        }
        let Some(uri) = pushed.map(str::to_owned) else {
            let signed = signed(app, tenant, &received).await?;
            return Ok(Self {
                signed: signed.is_some(),
                // RFC 9101 §6.3: nothing of what the browser brought beside it counts.
                parameters: signed.unwrap_or(parameters),
                pushed: None,
                asked_at,
                before,
                blind: false,
            });
        };
        let digest = digest_of(&uri);
        let row = authorization::pushed(&app.db, tenant.name(), &digest, asked_at)
            .await
            .map_err(OAuthError::server_error)?;
        let client_id = received.params.get("client_id");
        let row = row.filter(|row| Some(row.client_id.as_str()) == client_id);
        let row = row.ok_or_else(no_such_request)?;
        Ok(Self {
            // RFC 9126 §4: nothing of what the browser brought beside it counts.
            parameters: row.parameters,
            pushed: Some(digest),
            signed: false,
            asked_at,
            before,
            blind: false,
        })
    }

    /// What a browser carries.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn seal(&self, app: &App, tenant: &Tenant) -> Result<String> {
        Ok(app.interactions.seal(tenant.name(), self, &app.entropy)?)
    }

    /// What a browser brings back.
    ///
    /// # Errors
    /// `invalid_request` when it is none of ours, or took too long.
    pub fn open(app: &App, tenant: &Tenant, ticket: &str) -> Result<Self> {
        let found = app.interactions.open::<Self>(tenant.name(), ticket);
        let now = app.clock.seconds();
        found
            .filter(|found| now <= found.ends_at(app))
            .ok_or_else(|| {
                OAuthError::invalid_request(
                    "This took too long, or the link is incomplete: go back to the application \
                     and begin again.",
                )
            })
    }

    /// Until when it can be carried on, Unix seconds.
    #[must_use]
    pub fn ends_at(&self, app: &App) -> i64 {
        self.asked_at + app.config.authorization.patience
    }

    /// The same for a request that came without cookies, whoever brings them.
    #[must_use]
    pub fn blind(mut self) -> Self {
        self.blind = true;
        self
    }

    /// Takes note of the sign-in that was there, once that can be known.
    #[must_use]
    pub fn seen(mut self, session: Option<&Session>) -> Self {
        if self.blind {
            self.blind = false;
            self.before = session.map(Session::sign_in);
        }
        self
    }

    /// Whether somebody has signed in for this request.
    fn is_answered_by(&self, session: &Session) -> bool {
        // Its link may have been carried to a browser in which somebody signed in long ago.
        let now = session.authenticated_at >= self.asked_at;
        now && self.before.as_ref() != Some(&session.sign_in())
    }

    /// The request, to be checked from the beginning.
    ///
    /// # Errors
    /// None that [`Interaction::begin`] would not have met.
    pub fn received(&self) -> Result<Received<'_>> {
        let mut received = Received::read(self.parameters.as_bytes(), Channel::Front)?;
        received.pushed = self.pushed;
        received.signed = self.signed;
        Ok(received)
    }
}

/// The parameters in a signed request, if it is one. It is read when it comes: whoever then takes
/// their time to sign in has not outlived it.
async fn signed(app: &App, tenant: &Tenant, received: &Received<'_>) -> Result<Option<String>> {
    let Some(object) = received.params.get("request") else {
        return Ok(None);
    };
    let client_id = received.params.get("client_id");
    let client_id =
        client_id.ok_or_else(|| OAuthError::invalid_request("client_id is missing."))?;
    if let Some(name) = &received.repeated {
        return Err(OAuthError::invalid_request(format!(
            "{name} is given more than once."
        )));
    }
    let client = clients::find(app, tenant, client_id).await?;
    let unpacked = request_object::unpack(app, tenant, &client, object).await?;
    Ok(Some(unpacked))
}

pub(super) fn no_such_request() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidRequestUri,
        "request_uri has expired, was used before, or is not one that this client has pushed.",
    )
}

/// Where the browser goes next.
#[derive(Debug)]
pub enum Step {
    /// To the sign-in page. Whoever signed in before this Unix second has to do so again.
    SignIn {
        /// Unix seconds.
        authenticated_after: Option<i64>,
    },
    /// To the page that asks.
    Ask(Remembered),
    /// Back to the client, with this: nothing has to be asked any more.
    Done(Box<Ask>, Word),
}

/// Decides it, for a browser that may bring back what was decided before anybody signed in.
///
/// # Errors
/// `login_required` or `consent_required` when nothing may be shown.
pub async fn next(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    session: Option<&Session>,
    interaction: &Interaction,
    decision: Option<Decision>,
) -> Result<Step> {
    let prompt = request.details.prompt;
    let Some(session) = session.filter(|s| suffices(app, tenant, request, s, interaction)) else {
        if prompt.none {
            return Err(OAuthError::new(
                ErrorCode::LoginRequired,
                "The person would have to sign in.",
            ));
        }
        if let Some(session) = session.filter(|s| interaction.is_answered_by(s)) {
            if is_strong_enough(request, session) {
                return Err(OAuthError::new(
                    ErrorCode::LoginRequired,
                    "Somebody else has signed in than the request names.",
                ));
            }
            return Err(OAuthError::new(
                ErrorCode::UnmetAuthenticationRequirements,
                "The person cannot sign in as the claims request wants it (acr).",
            ));
        }
        // An old session is no good if there is one: another person, or too long ago. The same
        // holds of a session at another provider when the client wants somebody to sign in.
        let anew = prompt.login || prompt.select_account || request.details.max_age.is_some();
        let asked_at = anew.then_some(interaction.asked_at);
        let later = session.map(|session| session.authenticated_at + 1);
        return Ok(Step::SignIn {
            authenticated_after: later.max(asked_at),
        });
    };
    if let Some(decision) = decision
        && let Some(allowed) = decision.allows(request)
    {
        return Ok(Step::Done(Box::new(allowed), Word::Decided(decision)));
    }
    let client_id = request.client.id();
    let remembered = Remembered::read(app, tenant, &session.user.id, client_id).await?;
    let ask_again = prompt.consent || anyone_may_pose_as(request);
    if remembered.allowed.covers(&request.ask.scopes) && remembered.exists() && !ask_again {
        let allowed = Box::new(request.ask.clone());
        return Ok(Step::Done(allowed, Word::Remembered));
    }
    if prompt.none {
        return Err(OAuthError::new(
            ErrorCode::ConsentRequired,
            "The person would have to be asked.",
        ));
    }
    Ok(Step::Ask(remembered))
}

/// Whether who is signed in is who is wanted, and recently enough (OpenID Connect Core §3.1.2.1).
fn suffices(
    app: &App,
    tenant: &Tenant,
    request: &AuthorizationRequest,
    session: &Session,
    interaction: &Interaction,
) -> bool {
    let details = &request.details;
    let called = subject::known_as(app, tenant, &request.client, &session.user.id);
    if details
        .subject
        .as_ref()
        .is_some_and(|wanted| *wanted != called)
    {
        return false;
    }
    if !is_strong_enough(request, session) {
        return false;
    }
    let age = app.clock.seconds() - session.authenticated_at;
    let recent = |limit| age <= limit && limit > 0;
    if interaction.is_answered_by(session) {
        return true;
    }
    let again = details.prompt.login || details.prompt.select_account;
    !again && details.max_age.is_none_or(recent)
}

/// Whether the sign-in meets a class that the client insists on (OpenID Connect Core §5.5.1.1).
fn is_strong_enough(request: &AuthorizationRequest, session: &Session) -> bool {
    let details = &request.details;
    let met = |acr: &Acr| details.acr.iter().any(|name| name == acr.as_str());
    let mut met = Acr::ALL.into_iter().filter(met);
    !details.acr_is_essential || met.any(|acr| acr.is_met(&session.amr))
}

/// Whether any program on the person's machine can say that it is this client: it proves nothing,
/// every copy of it has the same id, and the answer goes to whoever listens there (RFC 8252 §8.6).
/// One that has registered itself has an id of its own.
fn anyone_may_pose_as(request: &AuthorizationRequest) -> bool {
    let client = &request.client;
    client.rights().token_endpoint_auth_method == AuthMethod::None
        && client.origin() != Origin::Registered
        && redirect_uri::is_local(&request.to.redirect_uri)
}
