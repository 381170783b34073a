//! How a request finds its issuer, and what every answer carries.

use std::{
    borrow::Cow,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tower::Service;

use super::{message, observe::Observer, refusal};
use crate::{
    app::{App, AppState},
    context::{self, Names},
    registry::{Registry, Tenant},
    web::extract::ForTenant,
};

/// Names the request in its answer, in the log and in the audit trail.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Finds the issuer a path belongs to, and gives the table the path below it.
///
/// The default tenant is at the issuer's own path, the others at `/t/{name}` below it. A
/// well-known document is found in both forms: with the well-known segment in front of the
/// issuer's path (RFC 8414 §3.1) and behind it (OpenID Connect Discovery §4).
#[derive(Clone, Debug)]
pub struct Issuers {
    app: AppState,
    names: Arc<Names>,
    observer: Arc<Observer>,
    inner: Router,
}

impl Issuers {
    pub(super) fn new(app: AppState, inner: Router) -> Self {
        Self {
            names: Arc::new(Names::new(&app.entropy)),
            observer: Arc::new(Observer::new()),
            app,
            inner,
        }
    }

    /// The server behind it.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The issuer of a request, and the request with the path below it.
    fn locate(&self, mut request: Request) -> (Option<Arc<Tenant>>, Request) {
        let found = locate(&self.app.registry, request.uri().path());
        let Some((tenant, path)) = found else {
            // The extractor answers 404.
            return (None, request);
        };
        if path != request.uri().path()
            && let Some(uri) = with_path(request.uri(), &path)
        {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(ForTenant(tenant.clone()));
        (Some(tenant), request)
    }
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
        let config = &self.app.config;
        let trusted = &config.server.trusted_proxies;
        let asked = context::Request::new(&self.names, &self.app.entropy, &request, trusted);
        let traces = self.app.traces.as_ref();
        let recorded = traces.is_some_and(|traces| traces.records(asked.trace()));
        let asked = asked.recorded(recorded);
        let method = request.method().clone();
        let checked = message::check(&request, config.limits.headers);
        // Where a message ends that is refused here is doubtful.
        let last = checked.is_err() || message::ends_connection(&request);
        let refusal = match checked {
            Ok(()) => {
                let limited = self.app.limits.request(asked.address());
                limited.err().map(IntoResponse::into_response)
            }
            Err((status, why)) => Some(refusal(status, why)),
        };
        let (asked, answering) = match refusal {
            None => {
                let (tenant, request) = self.locate(request.map(axum::body::Body::new));
                let asked = Arc::new(asked.at(tenant));
                let answering = asked.enter(|| self.inner.call(request));
                (asked, Answering::Table(answering))
            }
            refused => (Arc::new(asked), Answering::Refused(refused)),
        };
        Answer {
            app: self.app.clone(),
            observer: self.observer.clone(),
            asked,
            method,
            answering,
            last,
        }
    }
}

/// The answer of [`Issuers`].
pub struct Answer {
    app: AppState,
    observer: Arc<Observer>,
    asked: Arc<context::Request>,
    method: Method,
    answering: Answering,
    /// No other request can follow on the connection.
    last: bool,
}

enum Answering {
    Refused(Option<Response>),
    Table(<Router as Service<Request>>::Future),
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let asked = self.asked.clone();
        let early = matches!(self.answering, Answering::Refused(_));
        let Ok(mut response) = match &mut self.answering {
            Answering::Refused(response) => Ok(response.take().unwrap_or_default()),
            Answering::Table(answer) => ready!(asked.enter(|| Pin::new(answer).poll(context))),
        };
        let status = response.status();
        if status == StatusCode::REQUEST_TIMEOUT {
            // The timeout layer's answer has no words, and the rest of the request is not read.
            response = refusal(StatusCode::REQUEST_TIMEOUT, "The request took too long.");
            self.last = true;
        }
        let headers = response.headers_mut();
        if early || status == StatusCode::REQUEST_TIMEOUT {
            // What CORS adds in the table is not there: programs in browsers may know as well.
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("*"),
            );
        }
        if let Ok(id) = HeaderValue::from_str(asked.id().as_str()) {
            headers.insert(X_REQUEST_ID, id);
        }
        if self.last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        asked.enter(|| {
            self.observer
                .answered(&self.app, &asked, &self.method, &response);
        });
        Poll::Ready(Ok(response))
    }
}

fn locate<'a>(registry: &Registry, path: &'a str) -> Option<(Arc<Tenant>, Cow<'a, str>)> {
    const WELL_KNOWN: &str = "/.well-known/";
    if let Some(rest) = path.strip_prefix(WELL_KNOWN) {
        let (document, issuer_path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if document == "oauth-protected-resource" {
            // The documents of our own resources, which are one segment below their issuer.
            let (below, own) = issuer_path.rsplit_once('/')?;
            let (tenant, rest) = below_issuer(registry, below)?;
            let path = format!("{WELL_KNOWN}{document}/{own}");
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
