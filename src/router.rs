//! The URL table, and what holds of every answer.

mod issuers;
mod message;
mod observe;

use std::time::Duration;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderName, Method, StatusCode, header};
use tower::{ServiceBuilder, util::MapRequestLayer};
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer, timeout::TimeoutLayer};
use writ_resource::dpop;

use crate::{
    admin,
    app::AppState,
    context,
    endpoints::{
        apps, authorize, discovery, health, introspect, jwks, metrics, par,
        refused::{self, Protected},
        register, revoke, token, userinfo,
    },
    error::OAuthError,
    logout, resources, streams, users, web,
};

pub use issuers::{Answer, Issuers};

/// Every URL below an issuer.
fn table(app: &AppState) -> Router<AppState> {
    let remember = |at| middleware::from_fn_with_state((app.clone(), at), refused::remember);
    let registrations = Router::new()
        .route("/register", post(register::register))
        .route(
            "/register/{client_id}",
            get(register::show)
                .put(register::replace)
                .delete(register::remove),
        )
        .merge(resources::router())
        .layer(remember(Protected::Registrations));
    // Browser-based clients use these; none of them looks at cookies.
    let open = Router::new()
        .route(
            "/.well-known/oauth-authorization-server",
            get(discovery::authorization_server),
        )
        .route(
            "/.well-known/openid-configuration",
            get(discovery::authorization_server),
        )
        .route(
            "/.well-known/oauth-protected-resource/admin",
            get(discovery::admin_resource),
        )
        .route(
            "/.well-known/oauth-protected-resource/ssf",
            get(discovery::events_resource),
        )
        .route(
            "/.well-known/oauth-protected-resource/userinfo",
            get(discovery::userinfo_resource),
        )
        .merge(streams::metadata_router())
        .route("/jwks.json", get(jwks::key_set))
        .route("/token", post(token::token))
        .route("/revoke", post(revoke::revoke))
        .route("/par", post(par::push))
        .route("/userinfo", get(userinfo::answer).post(userinfo::answer))
        .merge(registrations)
        // Inside the CORS layer, so that a preflight is answered by that and not by this.
        .method_not_allowed_fallback(wrong_method)
        .layer(cors());
    // People see these, also when they are refused.
    let people = Router::new()
        .route("/authorize", get(authorize::begin).post(authorize::begin))
        .route("/authorize/resume", get(authorize::resume))
        .route("/authorize/decision", post(authorize::decide))
        .route("/authorize/upstream", post(authorize::upstream::decide))
        .route("/pages/submit.js", get(authorize::submit))
        .route("/account/apps", get(apps::show))
        .route("/account/apps/revoke", post(apps::revoke))
        .layer(middleware::from_fn_with_state(
            app.pages.clone(),
            web::refused::as_page,
        ));
    Router::new()
        .merge(open)
        .merge(web::router(app.pages.clone()))
        .merge(people)
        .merge(users::pages::router(app.pages.clone()))
        .merge(logout::router(app.pages.clone()))
        .route("/introspect", post(introspect::answer))
        .route("/healthz", get(health::healthy))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .merge(streams::router().layer(remember(Protected::Streams)))
        .nest("/admin", admin::router().layer(remember(Protected::Admin)))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
}

/// Every URL of the address for monitoring.
pub fn inside(app: AppState) -> Router {
    Router::new()
        .route("/metrics", get(metrics::show_inside))
        .route("/healthz", get(health::healthy))
        .route("/readyz", get(health::ready))
        .with_state(app)
}

fn cors() -> CorsLayer {
    let allowed: [HeaderName; 4] = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        dpop::HEADER,
        HeaderName::from_static("mcp-protocol-version"),
    ];
    CorsLayer::new()
        .allow_origin(tower_http::cors::Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(allowed)
        .expose_headers([
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            dpop::NONCE_HEADER,
            issuers::X_REQUEST_ID,
        ])
        .max_age(Duration::from_secs(3600))
}

async fn nothing_here(method: Method) -> Response {
    const ANSWERED: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if ANSWERED.contains(&method) {
        return OAuthError::not_found("There is nothing at this path.").into_response();
    }
    // RFC 9110 §15.5.6: a method that no path here has.
    let allow = [(
        header::ALLOW,
        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    )];
    (allow, wrong_method().await).into_response()
}

async fn wrong_method() -> Response {
    refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not answer that method.",
    )
}

/// A refusal that only HTTP has a code for.
fn refusal(status: StatusCode, description: &'static str) -> Response {
    let body = axum::Json(serde_json::json!({
        "error": "invalid_request",
        "error_description": description,
    }));
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

/// The whole server as one service.
#[must_use]
pub fn service(app: AppState) -> Issuers {
    let timeout = Duration::from_secs(app.config.limits.request_timeout);
    let layers = ServiceBuilder::new()
        .layer(MapRequestLayer::new(noted))
        .layer(CatchPanicLayer::custom(panicked));
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, timeout);
    let patient = streams::patient_router().method_not_allowed_fallback(wrong_method);
    let all = table(&app).layer(timeout).merge(patient);
    let inner = all.layer(layers).with_state(app.clone());
    Issuers::new(app, inner)
}

/// Remembers which route of the table answers a request.
fn noted(request: Request) -> Request {
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        context::answered_by(route);
    }
    request
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // What it said is in the log already, with the same request id.
    OAuthError::server_error("a handler panicked").into_response()
}
