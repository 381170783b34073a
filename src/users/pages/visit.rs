//! A browser on its way through the sign-in pages.

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use crate::{
    app::App,
    error::{OAuthError, Result},
    registry::Tenant,
    users::{
        Errand, Session,
        browser::Browser,
        csrf::{self, Holder},
        device::Device,
        errand::Sender,
        half::Half,
        session::{self, Authenticated},
        sign_in::Proved,
    },
    web::{Page, see_other},
};

/// Who asks for what.
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    pub(super) tenant: &'a Tenant,
    pub(super) headers: &'a HeaderMap,
    pub(super) browser: Browser,
    /// Where it goes then, with the ticket that says so.
    pub(super) errand: Option<(String, Errand)>,
}

impl<'a> Visit<'a> {
    /// A visit with the ticket of an errand, if it has one.
    pub(super) fn new(
        app: &'a App,
        tenant: &'a Tenant,
        headers: &'a HeaderMap,
        errand: Option<&str>,
    ) -> Result<Self> {
        let open = |ticket: &str| -> Result<_> {
            Ok((ticket.to_owned(), Errand::open(app, tenant, ticket)?))
        };
        Ok(Self {
            app,
            tenant,
            headers,
            browser: Browser::of(app, tenant, headers),
            errand: errand.map(open).transpose()?,
        })
    }

    /// A visit that goes on with an errand.
    pub(super) fn with(
        app: &'a App,
        tenant: &'a Tenant,
        headers: &'a HeaderMap,
        errand: Option<Errand>,
    ) -> Result<Self> {
        let seal = |errand: Errand| Ok::<_, OAuthError>((errand.seal(app, tenant)?, errand));
        Ok(Self {
            errand: errand.map(seal).transpose()?,
            ..Self::new(app, tenant, headers, None)?
        })
    }

    /// The same with what was decided before the person left for a provider.
    pub(super) fn decided(self, decision: Option<&str>) -> Result<Self> {
        let (Some(decision), Some((_, errand))) = (decision, &self.errand) else {
            return Ok(self);
        };
        let errand = errand.clone().with("decision", decision);
        Ok(Self {
            errand: Some((errand.seal(self.app, self.tenant)?, errand)),
            ..self
        })
    }

    /// The token for its forms.
    pub(super) fn csrf(&self) -> String {
        csrf::token(self.app, self.tenant, Holder::Browser(&self.browser))
    }

    /// Insists that a form is its own.
    pub(super) fn check(&self, sent: Option<&str>) -> Result<()> {
        let holder = Holder::Browser(&self.browser);
        csrf::check(self.app, self.tenant, holder, self.headers, sent)
    }

    /// The ticket of its errand.
    pub(super) fn ticket(&self) -> Option<&str> {
        self.errand.as_ref().map(|(ticket, _)| ticket.as_str())
    }

    /// The path of another of these pages, with the errand.
    pub(super) fn path(&self, page: &str, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let errand = self.ticket().map(|ticket| ("errand", ticket));
        query.extend_pairs(errand.iter().chain(more));
        let (path, query) = (self.tenant.path(), query.finish());
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{path}{page}{mark}{query}")
    }

    /// The client that has sent it.
    pub(super) fn client(&self) -> Option<&Sender> {
        let (_, errand) = self.errand.as_ref()?;
        errand.client.as_ref()
    }

    /// Where it goes when somebody is signed in.
    pub(super) fn destination(&self) -> String {
        match &self.errand {
            Some((_, errand)) => errand.destination(self.tenant),
            None => format!("{}/account", self.tenant.path()),
        }
    }

    /// Whether whoever is signed in need not do so once more.
    pub(super) fn is_done(&self, session: &Session) -> bool {
        let after = self
            .errand
            .as_ref()
            .and_then(|(_, e)| e.authenticated_after);
        after.is_none_or(|after| session.authenticated_at >= after)
    }

    /// Answers with a page.
    pub(super) fn show<P: Page>(&self, status: StatusCode, page: &P) -> Result<Response> {
        // When nothing more has to be asked, signing in leads to the client.
        let away = page.leads_away() || self.client().is_some();
        let pages = &self.app.pages;
        let mut response = pages.show_towards(self.tenant, status, page, away)?;
        if let Some(cookie) = &self.browser.cookie {
            response
                .headers_mut()
                .append(header::SET_COOKIE, cookie.clone());
        }
        Ok(response)
    }

    /// Sends somebody on who has to show a second factor.
    pub(super) fn half_way(&self, half: &Half) -> Result<Response> {
        let ticket = half.seal(self.app, self.tenant)?;
        let next = self.path("/login/factor", &[("half", &ticket)]);
        see_other(&next, self.browser.cookie.clone())
    }

    /// Begins the session of somebody who has proved who they are, and sends them on.
    pub(super) async fn finish(&self, proved: Proved) -> Result<Response> {
        let (app, tenant) = (self.app, self.tenant);
        let who = Authenticated {
            user: &proved.user,
            amr: &proved.amr,
            authenticated_at: proved.authenticated_at,
            spent: proved.spent,
            audit: proved.audit,
        };
        let (_, mut cookies) = session::begin(app, tenant, self.headers, who).await?;
        let device = Device::of(app, tenant, self.headers);
        cookies.extend(Device::remember(device, app, tenant, &proved.user.id)?);
        see_other(&self.destination(), cookies)
    }
}
