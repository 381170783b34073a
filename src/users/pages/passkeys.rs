//! Passkeys: `/login/passkey` signs in with one, `/account/passkeys` adds and removes them.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use serde::Serialize;

use super::{
    login::{self, Problem},
    visit::Visit,
};
use crate::{
    app::{App, AppState},
    error::{OAuthError, Result},
    registry::Tenant,
    users::{
        credential::{self, Credentials, PASSKEY},
        csrf, sign_in,
        signed::{Recent, Signed, SignedForm},
        webauthn::{
            self, RelyingParty,
            challenge::{Challenge, Purpose},
        },
    },
    web::{
        Asset, Page,
        extract::{ForTenant, form, parameters},
    },
};

/// The one script there is.
pub(super) static SCRIPT: Asset = Asset::script("passkey.js", include_str!("../passkey.js"));

/// Longest name of a passkey, characters.
const LONGEST: usize = 64;
/// Passkeys that one person may have.
const MOST: usize = 32;

/// What a form asks the browser for, and what proves later that it did.
#[derive(Debug, Serialize)]
pub(super) struct Prompt {
    /// The options, as JSON.
    options: String,
    challenge: String,
}

impl Prompt {
    /// For signing in with this browser; none where there can be no passkeys.
    pub(super) fn sign_in(app: &App, tenant: &Tenant, browser: &str) -> Result<Option<Self>> {
        let Some(rp) = RelyingParty::of(tenant) else {
            return Ok(None);
        };
        let challenge = Challenge::new(app, Purpose::SignIn, browser);
        Ok(Some(Self {
            options: challenge.request(&rp).to_string(),
            challenge: challenge.seal(app, tenant)?,
        }))
    }
}

fn relying_party(tenant: &Tenant) -> Result<RelyingParty> {
    RelyingParty::of(tenant).ok_or_else(|| {
        OAuthError::not_found("There are no passkeys where a server is reached by an address.")
    })
}

/// Serves the script.
pub(super) async fn script() -> Response {
    SCRIPT.answer()
}

/// Signs in with a passkey.
///
/// # Errors
/// 403 when the form is another browser's, `invalid_request` when the challenge is, or was answered
/// before; when the database is away.
pub(super) async fn sign_in(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    request: Request,
) -> Result<Response> {
    let (headers, body) = form(request, app.config.limits.body).await?;
    let params = parameters(&body)?;
    let rp = relying_party(&tenant)?;
    let visit = Visit::new(&app, &tenant, &headers, params.get("errand"))?;
    visit.check(params.get(csrf::FIELD))?;
    let ticket = params.get("challenge").unwrap_or_default();
    let holder = &visit.browser.name;
    let challenge = Challenge::open(&app, &tenant, Purpose::SignIn, holder, ticket)?;
    let shown = sign_in::Passkey {
        rp,
        challenge,
        credential: params.get("credential").unwrap_or_default(),
        username: params.get("username"),
    };
    let why = match sign_in::with_passkey(&app, &tenant, shown).await? {
        Ok(proved) => return visit.finish(proved).await,
        Err(why) => why,
    };
    let problem = Problem::new(format!("That did not work: {why}."));
    login::page(&visit, StatusCode::FORBIDDEN, "", Some(problem))
}

/// What the page shows that adds one.
#[derive(Debug, Serialize)]
struct PasskeyPage {
    csrf: String,
    passkey: Prompt,
    problem: Option<Problem>,
}

impl Page for PasskeyPage {
    const TEMPLATE: &'static str = include_str!("passkeys.html");

    fn title(&self) -> &str {
        "Add a passkey"
    }

    fn script(&self) -> Option<&'static Asset> {
        Some(&SCRIPT)
    }
}

/// Asks for a passkey.
///
/// # Errors
/// `not_found` where there can be none; when the database cannot be read.
pub(super) async fn show(Recent(signed): Recent) -> Result<Response> {
    page(&signed, StatusCode::OK, None).await
}

async fn page(signed: &Signed, status: StatusCode, problem: Option<Problem>) -> Result<Response> {
    let Signed { app, tenant, .. } = signed;
    let user = signed.user();
    let rp = relying_party(tenant)?;
    let credentials = Credentials::of(app, tenant, user).await?;
    let known: Vec<&str> = credentials
        .all(PASSKEY)
        .map(|row| row.id.as_str())
        .collect();
    let challenge = Challenge::new(app, Purpose::Register, &signed.session.sid);
    let options = challenge.creation(&rp, &app.config.pages.product, user, &known);
    let page = PasskeyPage {
        csrf: signed.csrf(),
        passkey: Prompt {
            options: options.to_string(),
            challenge: challenge.seal(app, tenant)?,
        },
        problem,
    };
    signed.show(status, &page)
}

/// Adds a passkey.
///
/// # Errors
/// 403 when the form is another browser's, `invalid_request` when the challenge is, or was answered
/// before; `conflict` when the passkey is there already; when the database is away.
pub(super) async fn add(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let rp = relying_party(tenant)?;
    let ticket = params.get("challenge").unwrap_or_default();
    let holder = &signed.session.sid;
    let challenge = Challenge::open(app, tenant, Purpose::Register, holder, ticket)?;
    let user = signed.user();
    let credentials = Credentials::of(app, tenant, user).await?;
    if credentials.all(PASSKEY).count() >= MOST {
        let problem = Problem::input(format!("Nobody needs more than {MOST} passkeys."));
        return page(&signed, StatusCode::BAD_REQUEST, Some(problem)).await;
    }
    let json = params.get("credential").unwrap_or_default();
    let made = match webauthn::registered(&rp, challenge.bytes(), json) {
        Ok(made) => made,
        Err(why) => {
            let problem = Problem::input(format!("That did not work: {why}."));
            return page(&signed, StatusCode::BAD_REQUEST, Some(problem)).await;
        }
    };
    let mut row = credential::passkey(app, tenant, &user.id, made.id, made.key);
    row.name = named(params.get("name").unwrap_or_default());
    row.counter = made.counter.into();
    row.document = serde_json::to_string(&made.kept).map_err(OAuthError::server_error)?;
    let changes = vec![challenge.use_up(tenant), credential::put(row, None)];
    signed.change(changes, "passkey added").await?;
    signed.done()
}

/// What a person calls it, or what it is.
fn named(typed: &str) -> String {
    let shown = typed.trim().chars().filter(|c| !c.is_control());
    let name: String = shown.take(LONGEST).collect();
    if name.is_empty() {
        "Passkey".into()
    } else {
        name
    }
}

/// Takes a passkey away, unless nothing would be left to sign in with.
///
/// # Errors
/// 403 when the form is another browser's, `invalid_request` for the last way in; when the database
/// is away.
pub(super) async fn remove(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let last = "This passkey is all you can sign in with: set a password or add another one first.";
    let id = params.get("id").unwrap_or_default();
    signed
        .remove_way_in(PASSKEY, id, "passkey removed", last)
        .await
}
