//! What handlers take ([`extract`]), and pages for people: rendered from a template, answered with
//! every header that guards them.
//!
//! # How to add a page
//! A struct that derives `Serialize` and is all that the template sees, a template beside it that
//! begins with `{% extends "layout.html" %}`, and [`Page`] for the struct. The handler answers with
//! [`Pages::show`]. What a handler refuses becomes the error page by [`refused::as_page`], which
//! lies around all routes of pages.

mod assets;
pub mod extract;
pub mod refused;

use std::{fmt, sync::Arc};

use axum::response::{IntoResponse as _, Response};
use chrono::DateTime;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use minijinja::{Environment, UndefinedBehavior, context, value::Serde};
use serde::Serialize;

pub use self::assets::{Asset, router};
use crate::{
    config,
    error::{OAuthError, Result},
    registry::Tenant,
};

/// What one page shows, and what it needs beyond the others.
pub trait Page: Serialize {
    /// The template's text.
    const TEMPLATE: &'static str;

    /// What stands in the title bar, before the product's name.
    fn title(&self) -> &str;

    /// Whether its forms lead to a client in the end. A browser applies `form-action` to every
    /// redirect that follows a form (CSP level 3 §6.4.1), and a client may redirect on to wherever
    /// it likes, an app on the person's machine for one: such a page can do without it only.
    fn leads_away(&self) -> bool {
        false
    }

    /// The script it needs; most need none.
    fn script(&self) -> Option<&'static Asset> {
        None
    }
}

/// What every page shares.
#[derive(Serialize)]
struct Layout<'a> {
    title: &'a str,
    product: &'a str,
    /// The issuer's path, in front of every link.
    root: &'a str,
    style: String,
    script: Option<String>,
}

/// Renders pages.
pub struct Pages {
    templates: Environment<'static>,
    product: String,
    style: Asset,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("product", &self.product)
            .finish_non_exhaustive()
    }
}

impl Pages {
    /// Pages that look as configured.
    ///
    /// # Errors
    /// When the theme cannot be read.
    pub fn new(config: &config::Pages) -> Result<Self, std::io::Error> {
        let mut templates = Environment::new();
        // A misspelt name is an error and not an empty place.
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates
            .add_template("layout.html", include_str!("layout.html"))
            .map_err(std::io::Error::other)?;
        let mut style = include_str!("style.css").to_owned();
        if !config.theme.as_os_str().is_empty() {
            // Behind ours, so that it wins.
            style.push_str(&std::fs::read_to_string(&config.theme)?);
        }
        Ok(Self {
            templates,
            product: config.product.clone(),
            style: Asset::style("style.css", style),
        })
    }

    /// Answers with a page.
    ///
    /// # Errors
    /// `server_error` when its template does not fit what it shows.
    pub fn show<P: Page>(&self, tenant: &Tenant, status: StatusCode, page: &P) -> Result<Response> {
        self.show_towards(tenant, status, page, page.leads_away())
    }

    /// The same for a page of which only its visit knows whether it leads away.
    ///
    /// # Errors
    /// As [`Pages::show`].
    pub fn show_towards<P: Page>(
        &self,
        tenant: &Tenant,
        status: StatusCode,
        page: &P,
        away: bool,
    ) -> Result<Response> {
        let layout = Layout {
            title: page.title(),
            product: &self.product,
            root: tenant.path(),
            style: self.style.path(tenant),
            script: page.script().map(|script| script.path(tenant)),
        };
        let values = context! { layout => Serde(layout), ..Serde(page) };
        let text = self
            .templates
            .render_named_str("page.html", P::TEMPLATE, values)
            .map_err(OAuthError::server_error)?;
        let mut response = (status, text).into_response();
        guard(response.headers_mut(), page, away)?;
        Ok(response)
    }
}

/// Nothing but what the page needs; no frame around it, no copy of it, no word of where it was.
///
/// `Cross-Origin-Opener-Policy` is left out: it would cut a client off from the window that it
/// opened for signing in, for good.
fn guard<P: Page>(headers: &mut HeaderMap, page: &P, away: bool) -> Result<()> {
    let forms = if away { "" } else { " form-action 'self';" };
    let script = page.script().map_or("", |_| " script-src 'self';");
    let policy = format!(
        "default-src 'none'; style-src 'self';{script} img-src 'self' data:;{forms} \
         frame-ancestors 'none'; base-uri 'none'"
    );
    let policy = HeaderValue::from_str(&policy).map_err(OAuthError::server_error)?;
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let fixed: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(())
}

/// Sends the browser on with GET (RFC 9110 §15.4.4): after a form was posted it must not post it
/// again elsewhere (RFC 9700 §4.12).
///
/// # Errors
/// When the URL cannot be a header.
pub fn see_other(url: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Result<Response> {
    let location = HeaderValue::from_str(url).map_err(OAuthError::server_error)?;
    let fixed = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    let mut response = (StatusCode::SEE_OTHER, fixed).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// A time, Unix seconds, as people read it on every page.
#[must_use]
pub fn written(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Pages, shared by all handlers.
pub type SharedPages = Arc<Pages>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RegistrationMode;

    #[derive(Serialize)]
    struct Greeting {
        name: String,
        #[serde(skip)]
        away: bool,
    }

    impl Page for Greeting {
        const TEMPLATE: &'static str =
            "{% extends \"layout.html\" %}{% block main %}<p>{{ name }}</p>{% endblock %}";

        fn title(&self) -> &str {
            "Hello"
        }

        fn leads_away(&self) -> bool {
            self.away
        }
    }

    async fn shown(name: &str, away: bool) -> (HeaderMap, String) {
        let tenant = Tenant::new("default", "https://as.example/a", RegistrationMode::Open);
        let pages = Pages::new(&config::Pages::default()).unwrap();
        let greeting = Greeting {
            name: name.into(),
            away,
        };
        let response = pages.show(&tenant, StatusCode::OK, &greeting).unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_a_page_shows_is_text_and_nothing_else() {
        let (headers, page) = shown("<script>alert('1')</script>", false).await;
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("<title>Hello · Writ</title>"), "{page}");
        assert!(
            page.contains("href=\"&#x2f;a&#x2f;pages&#x2f;style.css?v="),
            "{page}"
        );
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'"
        );
    }

    #[tokio::test]
    async fn a_form_that_leads_to_a_client_may_be_redirected_on() {
        let (headers, _) = shown("x", true).await;
        assert_eq!(
            headers["content-security-policy"],
            "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; \
             base-uri 'none'"
        );
    }
}
