//! Somebody who is signed in, and what they send, as handlers take it. Who is not signed in is
//! sent to do so, and comes back.
//!
//! | extractor | what |
//! |---|---|
//! | [`Signed`] | somebody who is signed in |
//! | [`Recent`] | somebody who has signed in a moment ago |
//! | [`SignedForm`] | a form that was made for one of them |

use std::sync::Arc;

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, request::Parts};

use super::{
    Errand, Session, User, change,
    credential::{self, Credentials},
    csrf::{self, Holder},
    session,
};
use crate::{
    app::AppState,
    error::{OAuthError, Result},
    journal::Command,
    oauth::params::Params,
    registry::Tenant,
    signals::{Cause, Initiator},
    store::Change,
    web::{
        Page,
        extract::{ForTenant, form, parameters},
        see_other,
    },
};

/// Who asks, and in which session.
#[derive(Debug)]
pub struct Signed {
    /// The server.
    pub app: AppState,
    /// Whose account it is an account of.
    pub tenant: Arc<Tenant>,
    /// Their session.
    pub session: Session,
}

/// The same of somebody who has signed in a moment ago: whoever finds an open browser, or steals
/// its cookie, does not take over the account.
#[derive(Debug)]
pub struct Recent(pub Signed);

/// A form that was made for who sends it, and its parameters.
#[derive(Debug)]
pub struct SignedForm<S>(pub S, pub Params<'static>);

impl FromRequestParts<AppState> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Response> {
        Self::since(parts, app, None).await
    }
}

impl FromRequestParts<AppState> for Recent {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Response> {
        let since = app.clock.seconds() - app.config.users.recent;
        Signed::since(parts, app, Some(since)).await.map(Self)
    }
}

impl<S> FromRequest<AppState> for SignedForm<S>
where
    S: FromRequestParts<AppState, Rejection = Response> + AsRef<Signed>,
{
    type Rejection = Response;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let params = sent(request, app).await.map_err(refused)?;
        let from = S::from_request_parts(&mut parts, app).await?;
        let checked = from.as_ref().check(&parts.headers, &params);
        checked.map_err(refused)?;
        Ok(Self(from, params))
    }
}

async fn sent(request: Request, app: &AppState) -> Result<Params<'static>> {
    let (_, body) = form(request, app.config.limits.body).await?;
    Ok(parameters(&body)?.into_owned())
}

fn refused(error: OAuthError) -> Response {
    error.into_response()
}

/// The page that somebody comes back to after signing in: the one that was asked for, or the one
/// that a form is on, which is the overview for most.
fn page_of(path: &str) -> &str {
    match path {
        "/account/authenticator"
        | "/account/passkeys"
        | "/account/password"
        | "/account/profile" => path,
        "/account/apps" | "/account/apps/revoke" => "/account/apps",
        _ => "/account",
    }
}

impl AsRef<Self> for Signed {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<Signed> for Recent {
    fn as_ref(&self) -> &Signed {
        &self.0
    }
}

impl Signed {
    /// Who has signed in at `since` or later.
    async fn since(
        parts: &mut Parts,
        app: &AppState,
        since: Option<i64>,
    ) -> Result<Self, Response> {
        let tenant = ForTenant::from_request_parts(parts, app).await;
        let ForTenant(tenant) = tenant.map_err(refused)?;
        let session = session::current(app, &tenant, &parts.headers).await;
        let fits = |session: &Session| since.is_none_or(|at| session.authenticated_at >= at);
        if let Some(session) = session.map_err(refused)?.filter(fits) {
            return Ok(Self {
                app: app.clone(),
                tenant,
                session,
            });
        }
        let errand = Errand {
            authenticated_after: since,
            ..Errand::to(app, page_of(parts.uri.path()))
        };
        let login = errand.login(app, &tenant);
        Err(login
            .and_then(|login| see_other(&login, []))
            .unwrap_or_else(refused))
    }

    /// Insists that a form is theirs.
    fn check(&self, headers: &HeaderMap, params: &Params<'_>) -> Result<()> {
        let holder = Holder::Session(&self.session);
        let sent = params.get(csrf::FIELD);
        csrf::check(&self.app, &self.tenant, holder, headers, sent)
    }

    /// The token for their forms.
    #[must_use]
    pub fn csrf(&self) -> String {
        csrf::token(&self.app, &self.tenant, Holder::Session(&self.session))
    }

    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.session.user
    }

    /// Answers with a page.
    ///
    /// # Errors
    /// When its template does not fit what it shows.
    pub fn show<P: Page>(&self, status: StatusCode, page: &P) -> Result<Response> {
        self.app.pages.show(&self.tenant, status, page)
    }

    /// Changes something about them.
    pub(super) async fn change(&self, changes: Vec<Change>, reason: &str) -> Result<()> {
        let audit = change::record(&self.app, &self.tenant, &self.user().id, reason);
        let cause = Cause::new(&self.app.entropy, Initiator::User, reason);
        let command = Command::new(changes, vec![audit]).because(cause);
        Ok(self.app.journal.commit(command).await?)
    }

    /// Takes one of a kind away that they sign in with, and sends them on to the overview. `last`
    /// is said when nothing would be left.
    pub(super) async fn remove_way_in(
        &self,
        kind: &'static str,
        id: &str,
        reason: &str,
        last: &'static str,
    ) -> Result<Response> {
        let credentials = Credentials::of(&self.app, &self.tenant, self.user()).await?;
        let Some(row) = credentials.all(kind).find(|row| row.id == id) else {
            return self.done();
        };
        if credentials.is_last_way_in(row) {
            return Err(OAuthError::invalid_request(last));
        }
        let changes = vec![credential::remove_way_in(row)];
        self.change(changes, reason).await?;
        self.done()
    }

    /// Sends them on to the overview.
    pub(super) fn done(&self) -> Result<Response> {
        self.on_to("/account")
    }

    /// Sends them on to a page of the account.
    ///
    /// # Errors
    /// When the path cannot be a header.
    pub fn on_to(&self, page: &str) -> Result<Response> {
        see_other(&format!("{}{page}", self.tenant.path()), [])
    }
}
