//! `writ doctor`: look at an issuer or an MCP server as clients do.
//!
//! Each check is one line: what was seen, or what is wrong and how to mend it. To add one, write a
//! function that judges a document or an answer, and call it from [`issuer::examine`] or
//! [`server::examine`].

mod challenge;
mod issuer;
mod jwks;
mod server;
mod spelling;

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::{Failure, api::Connection, http::Http, print};
use crate::oauth::resource::{is_loopback, normalise};

/// Look at an issuer or an MCP server as its clients do, and say what to mend.
///
/// Exit code 1 if any check fails.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// An issuer or an MCP server's URL; without it the issuer of the credentials file.
    url: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Some clients will have trouble.
    Warn,
    /// Clients will refuse it, or it is not safe.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    verdict: Verdict,
    check: &'static str,
    /// What was seen.
    seen: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// What was found at one issuer or server.
#[derive(Debug, Serialize)]
struct Report {
    /// `issuer`, `mcp_server` or `unreachable`.
    kind: &'static str,
    url: String,
    checks: Vec<Check>,
}

impl Report {
    fn new(kind: &'static str, url: &str) -> Self {
        Self {
            kind,
            url: url.to_owned(),
            checks: Vec::new(),
        }
    }

    fn ok(&mut self, check: &'static str, seen: impl Into<String>) {
        self.add(Verdict::Ok, check, seen.into(), None);
    }

    fn warn(&mut self, check: &'static str, seen: impl Into<String>, mend: impl Into<String>) {
        self.add(Verdict::Warn, check, seen.into(), Some(mend.into()));
    }

    fn fail(&mut self, check: &'static str, seen: impl Into<String>, mend: impl Into<String>) {
        self.add(Verdict::Fail, check, seen.into(), Some(mend.into()));
    }

    fn add(&mut self, verdict: Verdict, check: &'static str, seen: String, mend: Option<String>) {
        self.checks.push(Check {
            verdict,
            check,
            seen,
            mend,
        });
    }

    fn failed(&self) -> bool {
        self.checks.iter().any(|c| c.verdict == Verdict::Fail)
    }

    /// Whether a check ended so.
    #[cfg(test)]
    fn has(&self, verdict: Verdict, check: &str) -> bool {
        self.checks
            .iter()
            .any(|c| c.verdict == verdict && c.check == check)
    }

    fn print(&self) {
        let what = match self.kind {
            "issuer" => "authorization server",
            "mcp_server" => "MCP server",
            other => other,
        };
        print::line(&format!("\n{what} {}", print::tame(&self.url)));
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            let mend = check.mend.as_deref().map(|mend| format!(" -- {mend}"));
            let line = format!("{}{}", check.seen, mend.unwrap_or_default());
            print::line(&format!(
                "{verdict}  {:<12}  {}",
                check.check,
                print::tame(&line)
            ));
        }
    }
}

impl Doctor {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let text = match &self.url {
            Some(url) => url.clone(),
            None => self.connection.issuer()?,
        };
        let url = Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Failure::new(format!("'{text}' is not an http or https URL")))?;
        let http = Http::new()?;
        let reports = match kind(&http, &text, &url).await {
            Kind::Issuer => vec![issuer::examine(&http, &text, issuer::Named::ByUser).await],
            Kind::Server => server::examine(&http, &text, &url).await,
        };
        let failed = reports.iter().any(Report::failed);
        if json {
            print::json(&json!({ "url": text, "ok": !failed, "reports": reports }));
        } else {
            reports.iter().for_each(Report::print);
            print::line(&summary(&reports));
        }
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn summary(reports: &[Report]) -> String {
    let count = |verdict| {
        let checks = reports.iter().flat_map(|report| &report.checks);
        checks.filter(|check| check.verdict == verdict).count()
    };
    format!(
        "\n{} ok, {} to look at, {} to mend",
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail)
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Issuer,
    Server,
}

/// What stands at a URL: an issuer if metadata found there says so; an MCP server if it has
/// metadata of its own or challenges a call; else whichever answers at all.
async fn kind(http: &Http, text: &str, url: &Url) -> Kind {
    let mut some_issuer = false;
    for form in issuer::forms(url) {
        let document = document(http, &form.url).await;
        if let Some(found) = document["issuer"].as_str() {
            if normalise(found) == normalise(text) {
                return Kind::Issuer;
            }
            some_issuer = true;
        }
    }
    let published = document(http, &server::metadata_url(url)).await;
    if published["resource"].is_string() || !some_issuer {
        return Kind::Server;
    }
    match server::call(http, url, None).await {
        Ok((status, _)) if status == http::StatusCode::UNAUTHORIZED || status.is_success() => {
            Kind::Server
        }
        _ => Kind::Issuer,
    }
}

/// A JSON document; null when there is none.
async fn document(http: &Http, url: &str) -> Value {
    match http.get(url).await {
        Ok(answer) if answer.status == http::StatusCode::OK => answer.json().unwrap_or_default(),
        _ => Value::Null,
    }
}

/// Encrypted, or not leaving the machine.
fn judge_transport(report: &mut Report, url: &Url) {
    match url.scheme() {
        "https" => report.ok("transport", "https"),
        _ if is_loopback(url) => report.ok("transport", "http, on this machine only"),
        scheme => report.fail(
            "transport",
            format!("{scheme} to another machine: tokens can be read on the way"),
            "serve it by https; http is accepted on loopback only",
        ),
    }
}

/// What a browser asks before it lets a page's script make a request with MCP's own header.
async fn preflight(http: &Http, url: &str) -> Result<super::http::Answer, String> {
    let request = http
        .request(Method::OPTIONS, url)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version");
    super::http::send(request).await
}

/// The origin of a page with a client in it.
const ORIGIN: &str = "https://client.example";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_fails() {
        let mut report = Report::new("issuer", "https://a.example");
        report.ok("a", "fine");
        report.warn("b", "hm", "do");
        assert!(!report.failed());
        report.fail("c", "bad", "do");
        assert!(report.failed());
        assert!(summary(&[report]).ends_with("1 ok, 1 to look at, 1 to mend"));
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for (url, verdict) in [
            ("https://a.example", Verdict::Ok),
            ("http://[::1]:1", Verdict::Ok),
            ("http://a.example", Verdict::Fail),
            ("http://10.0.0.1", Verdict::Fail),
        ] {
            let mut report = Report::new("issuer", url);
            judge_transport(&mut report, &Url::parse(url).unwrap());
            assert!(report.has(verdict, "transport"), "{url}");
        }
    }
}
