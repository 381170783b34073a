//! Refusals, as people see them.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use serde::Serialize;

use super::{Page, SharedPages};
use crate::{context, error::Said, registry::Tenant};

/// What went wrong.
#[derive(Debug, Serialize)]
struct ErrorPage {
    /// The registered code.
    error: &'static str,
    description: String,
    /// Names the request in the log.
    request_id: String,
}

impl Page for ErrorPage {
    const TEMPLATE: &'static str = include_str!("error.html");

    fn title(&self) -> &str {
        "That did not work"
    }
}

/// Turns what a handler refused into the error page, with its status and headers. It lies around
/// routes that people see.
pub async fn as_page(State(pages): State<SharedPages>, request: Request, next: Next) -> Response {
    let refused = next.run(request).await;
    let tenant = context::current().and_then(|request| request.tenant_itself().cloned());
    match (refused.extensions().get::<Said>().cloned(), tenant) {
        (Some(said), Some(tenant)) => in_words(&pages, &tenant, &said, &refused),
        _ => refused,
    }
}

fn in_words(pages: &SharedPages, tenant: &Tenant, said: &Said, refused: &Response) -> Response {
    let status = refused.status();
    let page = ErrorPage {
        error: said.code.as_str(),
        description: said.description().to_owned(),
        request_id: context::with(|request| request.id().as_str().to_owned()).unwrap_or_default(),
    };
    let Ok(mut response) = pages.show(tenant, status, &page) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    for name in [header::RETRY_AFTER, header::SET_COOKIE, header::ALLOW] {
        if let Some(value) = refused.headers().get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    // For what is noted of the answer.
    response.extensions_mut().insert(said.clone());
    response
}
