//! `/account/authenticator`, `/account/recovery`: the second factor and what helps without it.

use axum::response::Response;
use http::StatusCode;
use qrcodegen::{QrCode, QrCodeEcc};
use serde::{Deserialize, Serialize};

use super::login::Problem;
use crate::{
    error::{OAuthError, Result},
    users::{
        credential::{self, Credentials, TOTP},
        signed::{Recent, Signed, SignedForm},
        totp,
    },
    web::Page,
};

/// Seconds in which the first code is to be typed.
const PATIENCE: i64 = 1800;

/// A key that an app is about to learn: kept by the page and nowhere else until a code proves that
/// the app has it.
#[derive(Serialize, Deserialize)]
struct Enrolment {
    user: String,
    totp: [u8; totp::KEY],
    at: i64,
}

/// What the page shows.
#[derive(Serialize)]
struct AuthenticatorPage {
    csrf: String,
    enrolment: String,
    secret: String,
    uri: String,
    qr: Option<Qr>,
    problem: Option<Problem>,
}

/// A QR code: its size in modules, and the dark ones as the path of an SVG.
#[derive(Serialize)]
struct Qr {
    size: i32,
    path: String,
}

impl Page for AuthenticatorPage {
    const TEMPLATE: &'static str = include_str!("authenticator.html");

    fn title(&self) -> &str {
        "Authenticator app"
    }
}

/// What the page of new recovery codes shows.
#[derive(Serialize)]
struct RecoveryPage {
    codes: Vec<String>,
}

impl Page for RecoveryPage {
    const TEMPLATE: &'static str = include_str!("recovery.html");

    fn title(&self) -> &str {
        "Recovery codes"
    }
}

/// Shows a key for the app.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn show(Recent(signed): Recent) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let credentials = Credentials::of(app, tenant, signed.user()).await?;
    if credentials.first(TOTP).is_some() {
        return signed.done();
    }
    let enrolment = Enrolment {
        user: signed.user().id.clone(),
        totp: app.entropy.bytes(),
        at: app.clock.seconds(),
    };
    page(&signed, StatusCode::OK, &enrolment, None)
}

/// Adds the app, once it shows the right code, and makes recovery codes.
///
/// # Errors
/// 403 when the form is another browser's, `invalid_request` when the page was not for this person
/// or is too old; when the database is away.
pub(super) async fn submit(
    SignedForm(Recent(signed), params): SignedForm<Recent>,
) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let (user, now) = (&signed.user().id, app.clock.seconds());
    let ticket = params.get("enrolment").unwrap_or_default();
    let enrolment = app.enrolments.open::<Enrolment>(tenant.name(), ticket);
    let enrolment = enrolment
        .filter(|enrolment| enrolment.user == *user && now - enrolment.at <= PATIENCE)
        .ok_or_else(|| OAuthError::invalid_request("The page is too old: load it again."))?;
    let typed = params.get("code").unwrap_or_default();
    let Some(step) = totp::step_of(&enrolment.totp, typed, now, 0) else {
        let problem = Problem::input("This is not the code that the app should show now.".into());
        return page(&signed, StatusCode::BAD_REQUEST, &enrolment, Some(problem));
    };
    let (codes, mut changes) = credential::recovery_codes(app, tenant, user);
    let added = credential::authenticator(app, tenant, user, &enrolment.totp, step)?;
    changes.push(added);
    signed.change(changes, "second factor added").await?;
    // They are shown once and kept nowhere: a redirect would have nothing to show.
    signed.show(StatusCode::OK, &RecoveryPage { codes })
}

/// Takes the app away, and the codes that stand for it.
///
/// # Errors
/// 403 when the form is another browser's; when the database is away.
pub(super) async fn remove(SignedForm(Recent(signed), _): SignedForm<Recent>) -> Result<Response> {
    let Signed { tenant, .. } = &signed;
    let user = &signed.user().id;
    let changes = credential::remove_factor(tenant, user);
    signed.change(changes, "second factor removed").await?;
    signed.done()
}

/// Makes new recovery codes in the place of those before.
///
/// # Errors
/// 403 when the form is another browser's; when the database is away.
pub(super) async fn renew(SignedForm(Recent(signed), _): SignedForm<Recent>) -> Result<Response> {
    let Signed { app, tenant, .. } = &signed;
    let (codes, changes) = credential::recovery_codes(app, tenant, &signed.user().id);
    signed.change(changes, "recovery codes changed").await?;
    signed.show(StatusCode::OK, &RecoveryPage { codes })
}

fn page(
    signed: &Signed,
    status: StatusCode,
    enrolment: &Enrolment,
    problem: Option<Problem>,
) -> Result<Response> {
    let (app, tenant) = (&signed.app, signed.tenant.name());
    let uri = totp::uri(
        &enrolment.totp,
        &app.config.pages.product,
        &signed.user().username,
    );
    let page = AuthenticatorPage {
        csrf: signed.csrf(),
        enrolment: app.enrolments.seal(tenant, enrolment, &app.entropy)?,
        secret: totp::spelled(&enrolment.totp),
        qr: Qr::of(&uri),
        uri,
        problem,
    };
    signed.show(status, &page)
}

impl Qr {
    /// None for a text that is too long for one.
    fn of(text: &str) -> Option<Self> {
        /// The light margin that readers ask for, modules.
        const MARGIN: i32 = 4;
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        let size = code.size();
        let places = (0..size).flat_map(|y| (0..size).map(move |x| (x, y)));
        let dark = places.filter(|(x, y)| code.get_module(*x, *y));
        let squares = dark.map(|(x, y)| format!("M{} {}h1v1h-1z", x + MARGIN, y + MARGIN));
        Some(Self {
            size: size + 2 * MARGIN,
            path: squares.collect(),
        })
    }
}
