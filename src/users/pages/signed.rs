//! Somebody who is signed in, at a page of their own account.

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::{
    app::App,
    error::Result,
    journal::Command,
    oauth::params::Params,
    registry::Tenant,
    store::Change,
    users::{
        Errand, Session, User, change,
        csrf::{self, Holder},
        session,
    },
    web::{Page, see_other},
};

/// Who asks, and in which session.
pub(super) struct Signed<'a> {
    pub(super) app: &'a App,
    pub(super) tenant: &'a Tenant,
    pub(super) session: Session,
}

/// They, or the way to the sign-in page.
pub(super) type OrLogin<'a> = Result<Result<Signed<'a>, Response>>;

impl<'a> Signed<'a> {
    /// Who asks for this page, if anybody is signed in.
    pub(super) async fn at(
        app: &'a App,
        tenant: &'a Tenant,
        headers: &HeaderMap,
        page: &str,
    ) -> OrLogin<'a> {
        Self::since(app, tenant, headers, page, None).await
    }

    /// The same, of somebody who has signed in a moment ago: whoever finds an open browser, or
    /// steals its cookie, does not take over the account.
    pub(super) async fn recently(
        app: &'a App,
        tenant: &'a Tenant,
        headers: &HeaderMap,
        page: &str,
    ) -> OrLogin<'a> {
        let since = app.clock.seconds() - app.config.users.recent;
        Self::since(app, tenant, headers, page, Some(since)).await
    }

    /// Who sends a form of theirs, a moment after signing in; later they do so again, and come to
    /// this page.
    pub(super) async fn sends(
        app: &'a App,
        tenant: &'a Tenant,
        headers: &HeaderMap,
        params: &Params<'_>,
        page: &str,
    ) -> OrLogin<'a> {
        let signed = Self::recently(app, tenant, headers, page).await?;
        if let Ok(signed) = &signed {
            signed.check(headers, params)?;
        }
        Ok(signed)
    }

    async fn since(
        app: &'a App,
        tenant: &'a Tenant,
        headers: &HeaderMap,
        page: &str,
        since: Option<i64>,
    ) -> OrLogin<'a> {
        let session = session::current(app, tenant, headers).await?;
        let fits = |session: &Session| since.is_none_or(|at| session.authenticated_at >= at);
        if let Some(session) = session.filter(fits) {
            return Ok(Ok(Self {
                app,
                tenant,
                session,
            }));
        }
        let errand = Errand {
            authenticated_after: since,
            ..Errand::to(app, page)
        };
        Ok(Err(see_other(&errand.login(app, tenant)?, [])?))
    }

    /// Insists that a form is theirs.
    pub(super) fn check(&self, headers: &HeaderMap, params: &Params<'_>) -> Result<()> {
        let holder = Holder::Session(&self.session);
        csrf::check(
            self.app,
            self.tenant,
            holder,
            headers,
            params.get(csrf::FIELD),
        )
    }

    /// The token for their forms.
    pub(super) fn csrf(&self) -> String {
        csrf::token(self.app, self.tenant, Holder::Session(&self.session))
    }

    /// Who it is.
    pub(super) fn user(&self) -> &User {
        &self.session.user
    }

    /// Answers with a page.
    pub(super) fn show<P: Page>(&self, status: StatusCode, page: &P) -> Result<Response> {
        self.app.pages.show(self.tenant, status, page)
    }

    /// Changes something about them.
    pub(super) async fn change(&self, changes: Vec<Change>, reason: &str) -> Result<()> {
        let audit = vec![change::record(
            self.app,
            self.tenant,
            &self.user().id,
            reason,
        )];
        Ok(self
            .app
            .journal
            .commit(Command::new(changes, audit))
            .await?)
    }

    /// Sends them on to the overview.
    pub(super) fn done(&self) -> Result<Response> {
        see_other(&format!("{}/account", self.tenant.path()), [])
    }
}
