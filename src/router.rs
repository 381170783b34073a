//! The URL table, and nothing else but how a request finds its issuer.

mod message;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    middleware,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tower::{Service, ServiceBuilder};
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer, timeout::TimeoutLayer};

use crate::{
    admin,
    app::AppState,
    endpoints::{
        authorize, discovery,
        extract::ForTenant,
        health, jwks,
        refused::{self, Protected},
        register, token,
    },
    error::OAuthError,
    registry::{Registry, Tenant},
    resources,
};

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
        .route("/jwks.json", get(jwks::key_set))
        .route("/token", post(token::token))
        .merge(registrations)
        // Inside the CORS layer, so that a preflight is answered by that and not by this.
        .method_not_allowed_fallback(wrong_method)
        .layer(cors());
    Router::new()
        .merge(open)
        .route("/authorize", get(authorize::answer).post(authorize::answer))
        .route("/healthz", get(health::healthy))
        .nest("/admin", admin::router().layer(remember(Protected::Admin)))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
}

fn cors() -> CorsLayer {
    let allowed: [HeaderName; 4] = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        HeaderName::from_static("dpop"),
        HeaderName::from_static("mcp-protocol-version"),
    ];
    CorsLayer::new()
        .allow_origin(tower_http::cors::Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(allowed)
        .expose_headers([
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("dpop-nonce"),
        ])
        .max_age(Duration::from_secs(3600))
}

async fn nothing_here(method: Method) -> Response {
    const ANSWERED: [Method; 6] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if ANSWERED.contains(&method) {
        return OAuthError::not_found("There is nothing at this path.").into_response();
    }
    // RFC 9110 §15.5.6: a method that no path here has.
    let allow = [(header::ALLOW, "GET, HEAD, POST, PUT, DELETE, OPTIONS")];
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
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            timeout,
        ));
    let registry = app.registry.clone();
    Issuers {
        registry,
        longest_headers: app.config.limits.headers,
        inner: table(&app).layer(layers).with_state(app),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(cause: Box<dyn std::any::Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    OAuthError::server_error(format!("a handler panicked: {text}")).into_response()
}

/// Finds the issuer a path belongs to, and gives the table the path below it.
///
/// The default tenant is at the issuer's own path, the others at `/t/{name}` below it. A
/// well-known document is found in both forms: with the well-known segment in front of the
/// issuer's path (RFC 8414 §3.1) and behind it (OpenID Connect Discovery §4).
#[derive(Clone, Debug)]
pub struct Issuers {
    registry: Arc<Registry>,
    longest_headers: usize,
    inner: Router,
}

impl<B> Service<http::Request<B>> for Issuers
where
    B: http_body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answer {
        let last = message::ends_connection(&request);
        if let Err((status, why)) = message::check(&request, self.longest_headers) {
            // Where such a message ends is doubtful.
            return Answer::new(Answering::Refused(Some(refusal(status, why))), true);
        }
        let mut request = request.map(axum::body::Body::new);
        if let Some((tenant, path)) = locate(&self.registry, request.uri().path()) {
            if path != request.uri().path()
                && let Some(uri) = with_path(request.uri(), &path)
            {
                *request.uri_mut() = uri;
            }
            request.extensions_mut().insert(ForTenant(tenant));
        }
        // Without an issuer the extractor answers 404.
        Answer::new(Answering::Table(self.inner.call(request)), last)
    }
}

/// The answer of [`Issuers`].
pub struct Answer {
    answering: Answering,
    /// No other request can follow on the connection.
    last: bool,
}

enum Answering {
    Refused(Option<Response>),
    Table(<Router as Service<Request>>::Future),
}

impl Answer {
    const fn new(answering: Answering, last: bool) -> Self {
        Self { answering, last }
    }
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut response) = match &mut self.answering {
            Answering::Refused(response) => Ok(response.take().unwrap_or_default()),
            Answering::Table(answer) => ready!(Pin::new(answer).poll(context)),
        };
        if response.status() == StatusCode::REQUEST_TIMEOUT {
            // The timeout layer's answer has no words, and the rest of the request is not read.
            response = refusal(StatusCode::REQUEST_TIMEOUT, "The request took too long.");
            self.last = true;
        }
        if self.last {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}

fn locate<'a>(
    registry: &Registry,
    path: &'a str,
) -> Option<(Arc<Tenant>, std::borrow::Cow<'a, str>)> {
    const WELL_KNOWN: &str = "/.well-known/";
    if let Some(rest) = path.strip_prefix(WELL_KNOWN) {
        let (document, issuer_path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if document == "oauth-protected-resource" {
            let below = issuer_path.strip_suffix("/admin")?;
            let (tenant, rest) = below_issuer(registry, below)?;
            let path = "/.well-known/oauth-protected-resource/admin";
            return rest.is_empty().then(|| (tenant, path.into()));
        }
        let (tenant, rest) = below_issuer(registry, issuer_path)?;
        return rest
            .is_empty()
            .then(|| (tenant, format!("{WELL_KNOWN}{document}").into()));
    }
    let (tenant, rest) = below_issuer(registry, path)?;
    Some((
        tenant,
        if rest.is_empty() {
            "/".into()
        } else {
            rest.into()
        },
    ))
}

/// The issuer whose path is in front of `path`, and what is left of it.
fn below_issuer<'a>(registry: &Registry, path: &'a str) -> Option<(Arc<Tenant>, &'a str)> {
    let root = registry.root();
    let rest = path.strip_prefix(root.path())?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    if let Some(named) = rest.strip_prefix("/t/") {
        let (name, rest) = match named.find('/') {
            Some(at) => named.split_at(at),
            None => (named, ""),
        };
        let tenant = registry.find(name).filter(|tenant| !tenant.is_default())?;
        return Some((tenant, rest));
    }
    Some((root.clone(), rest))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse().ok()?);
    Uri::from_parts(parts).ok()
}
