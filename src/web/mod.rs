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
use url::{Host, Url};

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

    /// Where else its forms lead: a browser applies `form-action` to the redirect that answers a
    /// form too (CSP level 3 §6.4.1). Sources as [`form_target`] makes them.
    fn form_action(&self) -> Vec<String> {
        Vec::new()
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
        self.show_towards(tenant, status, page, None)
    }

    /// The same for a page whose forms may at last be redirected to `target`, a source as
    /// [`form_target`] makes them.
    ///
    /// # Errors
    /// As [`Pages::show`].
    pub fn show_towards<P: Page>(
        &self,
        tenant: &Tenant,
        status: StatusCode,
        page: &P,
        target: Option<&String>,
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
        guard(response.headers_mut(), page, target)?;
        Ok(response)
    }
}

/// Nothing but what the page needs; no frame around it, no copy of it, no word of where it was.
///
/// `Cross-Origin-Opener-Policy` is left out: it would cut a client off from the window that it
/// opened for signing in, for good.
fn guard<P: Page>(headers: &mut HeaderMap, page: &P, target: Option<&String>) -> Result<()> {
    let targets = page.form_action().into_iter().chain(target.cloned());
    let targets = targets.filter(|target| {
        // One source and no other directive.
        target
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b";,".contains(&b))
    });
    let targets: String = targets.map(|target| format!(" {target}")).collect();
    let script = page.script().map_or("", |_| " script-src 'self';");
    let policy = format!(
        "default-src 'none'; style-src 'self';{script} img-src 'self' data:; \
         form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'"
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

/// The `form-action` source that lets a form's answer redirect to this URI.
#[must_use]
pub fn form_target(uri: &Url) -> String {
    let by_scheme = || format!("{}:", uri.scheme());
    match uri.host() {
        // A source cannot name such an address (CSP level 3 §2.3.1, host-part).
        Some(Host::Ipv6(_)) => by_scheme(),
        Some(_) if matches!(uri.scheme(), "http" | "https") => uri.origin().ascii_serialization(),
        _ => by_scheme(),
    }
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
        targets: Vec<String>,
    }

    impl Page for Greeting {
        const TEMPLATE: &'static str =
            "{% extends \"layout.html\" %}{% block main %}<p>{{ name }}</p>{% endblock %}";

        fn title(&self) -> &str {
            "Hello"
        }

        fn form_action(&self) -> Vec<String> {
            self.targets.clone()
        }
    }

    async fn shown(name: &str, targets: &[&str]) -> (HeaderMap, String) {
        let tenant = Tenant::new("default", "https://as.example/a", RegistrationMode::Open);
        let pages = Pages::new(&config::Pages::default()).unwrap();
        let greeting = Greeting {
            name: name.into(),
            targets: targets.iter().map(|&target| target.into()).collect(),
        };
        let response = pages.show(&tenant, StatusCode::OK, &greeting).unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_a_page_shows_is_text_and_nothing_else() {
        let (headers, page) = shown("<script>alert('1')</script>", &[]).await;
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
    async fn a_form_may_lead_where_its_page_says_and_nowhere_else() {
        let (headers, _) = shown("x", &["https://app.example", "x; script-src *", "a b"]).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("form-action 'self' https://app.example; frame-ancestors"));
        assert!(!policy.contains("script-src"), "{policy}");
    }

    #[test]
    fn the_source_of_a_redirect_uri() {
        for (uri, source) in [
            ("https://app.example/cb?x=1", "https://app.example"),
            ("http://127.0.0.1:33418/cb", "http://127.0.0.1:33418"),
            ("http://[::1]:33418/cb", "http:"),
            ("cursor://anysphere.cursor-mcp/oauth", "cursor:"),
            ("com.example.app:/cb", "com.example.app:"),
        ] {
            assert_eq!(form_target(&uri.parse().unwrap()), source);
        }
    }
}
