//! `/account/apps`: what a person lets clients have, who acts with it, when that was last used, and
//! the way to take it back.

mod connected;

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use self::connected::ConnectedApp;
use crate::{
    app::App,
    audit::{Event, Kind},
    error::Result,
    journal::Command,
    registry::Tenant,
    signals::{Cause, Initiator},
    store::{Change, authorization},
    users::signed::{Signed, SignedForm},
    web::Page,
};

/// All of them.
#[derive(Debug, Serialize)]
struct Apps {
    apps: Vec<ConnectedApp>,
    csrf: String,
}

impl Page for Apps {
    const TEMPLATE: &'static str = include_str!("apps.html");

    fn title(&self) -> &str {
        "Connected apps"
    }
}

/// Shows them.
///
/// # Errors
/// When the database cannot be read.
pub async fn show(signed: Signed) -> Result<Response> {
    let page = Apps {
        apps: connected::apps(&signed.app, &signed.tenant, &signed.user().id).await?,
        csrf: signed.csrf(),
    };
    signed.show(StatusCode::OK, &page)
}

/// Takes back what one of them has: its grants end with all that was derived from them, and whoever
/// serves their resources is told. It need not be a moment after signing in: nobody who wants an
/// agent to stop should have to wait.
///
/// # Errors
/// 403 when the form was made for another browser; when it cannot be written.
pub async fn revoke(SignedForm(signed, params): SignedForm<Signed>) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    // No client has such a name, and PostgreSQL no such text.
    let id = params.get("client_id").filter(|id| !id.contains('\0'));
    let (user, id) = (&signed.user().id, id.unwrap_or_default());
    let known = authorization::consent(&app.db, tenant.name(), user, id).await?;
    if known.is_some() {
        take_back(app, tenant, user, id).await?;
    }
    signed.on_to("/account/apps")
}

async fn take_back(app: &App, tenant: &Tenant, user: &str, client_id: &str) -> Result<()> {
    let event = Event {
        client_id: Some(client_id),
        sub: Some(user),
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::ConsentRevoked, &event)];
    let change = authorization::Change::RemoveConsent {
        tenant: tenant.name().to_owned(),
        user_id: user.to_owned(),
        client_id: client_id.to_owned(),
    };
    let cause = Cause::new(&app.entropy, Initiator::User, "taken back by the person");
    let command = Command::new(vec![Change::Authorization(change)], audit).because(cause);
    Ok(app.journal.commit(command).await?)
}
