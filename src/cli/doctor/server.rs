//! An MCP server as its clients meet it: the challenge, its metadata, its authorization servers.

use http::{HeaderMap, StatusCode, header};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{Report, challenge, issuer, judge_transport, spelling::difference};
use crate::cli::{
    http::{Http, explain},
    mcp::greeting,
    token_request::inserted,
};

/// Authorization servers of one MCP server that are looked at.
const MAX_ISSUERS: usize = 5;
/// A token that nobody issued.
const GARBAGE: &str = "not-a-token";

/// Where the metadata of an MCP server is (RFC 9728 §3.1).
pub(super) fn metadata_url(url: &Url) -> String {
    inserted(url, "oauth-protected-resource")
}

/// Greets the server. Its body is not read: an unprotected server may answer with a stream.
pub(super) async fn call(
    http: &Http,
    url: &Url,
    token: Option<&str>,
) -> Result<(StatusCode, HeaderMap), String> {
    let mut request = http
        .request(Method::POST, url.clone())
        .header(header::ACCEPT, "application/json, text/event-stream")
        .json(&greeting());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(|error| explain(&error))?;
    Ok((answer.status(), answer.headers().clone()))
}

/// Looks at the server, then at each of its authorization servers.
pub(super) async fn examine(http: &Http, text: &str, url: &Url) -> Vec<Report> {
    let mut report = Report::new("mcp_server", text);
    judge_transport(&mut report, url);
    let (status, headers) = match call(http, url, None).await {
        Ok(answer) => answer,
        Err(why) => {
            let mend = "mend this first: clients get no further either";
            report.kind = "unreachable";
            report.fail("reachable", why, mend);
            return vec![report];
        }
    };
    judge_refusal(&mut report, status, &headers);
    if status != StatusCode::UNAUTHORIZED {
        // The rest would only repeat that.
        return vec![report];
    }
    let announced = judge_challenge(&mut report, url, &headers);
    let Some(document) = examine_metadata(http, &mut report, url, announced).await else {
        return vec![report];
    };
    judge_metadata(&mut report, text, &document);
    examine_tokens(http, &mut report, url).await;
    let mut reports = vec![report];
    for name in issuers(&document).into_iter().take(MAX_ISSUERS) {
        reports.push(issuer::examine(http, name, issuer::Named::ByServer).await);
    }
    reports
}

/// A call without a token: 401 and nothing else (MCP, RFC 6750 §3.1).
fn judge_refusal(report: &mut Report, status: StatusCode, headers: &HeaderMap) {
    let location = headers.get(header::LOCATION);
    let location = location
        .and_then(|to| to.to_str().ok())
        .unwrap_or("nowhere");
    let (seen, mend) = match status {
        StatusCode::UNAUTHORIZED => return report.ok("no token", "401"),
        status if status.is_success() => (
            format!("{status}: it lets in whoever has no token"),
            "put the resource-server layer around the whole server".to_owned(),
        ),
        status if status.is_redirection() => (
            format!("it redirects to {location}: clients compare URLs and do not follow"),
            format!("use '{location}' as the server's URL everywhere, or mount it without"),
        ),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => (
            format!("POST answers {status}"),
            "name the MCP endpoint itself, with its path (often /mcp)".to_owned(),
        ),
        status => (
            format!("a call without a token answers {status}, so clients do not look for one"),
            "answer 401 before anything else is checked".to_owned(),
        ),
    };
    report.fail("no token", seen, mend);
}

/// The challenge; gives the metadata's URL that it names (RFC 9728 §5.1).
fn judge_challenge(report: &mut Report, url: &Url, headers: &HeaderMap) -> Option<String> {
    let parameters = headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(challenge::bearer);
    let Some(mut parameters) = parameters else {
        report.warn(
            "challenge",
            "the answer has no Bearer challenge",
            "send WWW-Authenticate: Bearer resource_metadata=\"…\", scope=\"…\"",
        );
        return None;
    };
    match parameters.get("scope").map(String::as_str) {
        None | Some("") => report.warn(
            "scope",
            "the challenge names no scope: clients ask for everything, or for nothing",
            "add scope=\"…\" with what a first call needs",
        ),
        Some(scope) if scope.split(' ').any(|name| name == "offline_access") => report.warn(
            "scope",
            "the challenge names offline_access",
            "leave it out: it is between client and authorization server",
        ),
        Some(scope) => report.ok("scope", format!("the challenge asks for '{scope}'")),
    }
    let announced = parameters.remove("resource_metadata");
    match &announced {
        None => report.warn(
            "challenge",
            "it has no resource_metadata: clients have to guess where the metadata is",
            format!("add resource_metadata=\"{}\"", metadata_url(url)),
        ),
        Some(at) => report.ok("challenge", format!("points to {at}")),
    }
    announced
}

/// Finds the metadata: where the challenge points, in the path form, at the root.
async fn examine_metadata(
    http: &Http,
    report: &mut Report,
    url: &Url,
    announced: Option<String>,
) -> Option<Value> {
    let own = metadata_url(url);
    let root = format!(
        "{}/.well-known/oauth-protected-resource",
        url.origin().ascii_serialization()
    );
    let mut places = vec![own.clone()];
    if let Some(announced) = announced.clone().filter(|at| *at != own) {
        places.insert(0, announced);
    }
    if root != own {
        places.push(root.clone());
    }
    let mut found: Option<Value> = None;
    for place in places {
        let document = super::document(http, &place).await;
        let is_metadata = document["resource"].is_string();
        match (&found, is_metadata) {
            (Some(first), true) if *first != document && place == root => {
                // A root that belongs to another server on this host is in order.
                report.ok("metadata", format!("{place} is another resource's"));
            }
            (Some(first), true) if *first != document => report.fail(
                "metadata",
                format!("{place} says something else than the place before"),
                "serve one document",
            ),
            (_, true) => {
                report.ok("metadata", place);
                found.get_or_insert(document);
            }
            (_, false) if announced.as_ref() == Some(&place) => report.fail(
                "metadata",
                format!("{place}, where the challenge points, has no RFC 9728 document"),
                "serve it there, open to all, or correct the challenge",
            ),
            (_, false) if place == own => report.warn(
                "metadata",
                format!("{place} has no RFC 9728 document"),
                "serve it there: clients that do not read the challenge look there first",
            ),
            // The root is where clients look last.
            (_, false) => {}
        }
    }
    if found.is_none() {
        report.fail(
            "metadata",
            "there is none: clients cannot find the authorization server",
            format!("serve the RFC 9728 document at {own}, open to all"),
        );
    }
    found
}

/// What the document says (RFC 9728 §2, §3.3).
fn judge_metadata(report: &mut Report, url: &str, document: &Value) {
    let resource = document["resource"].as_str().unwrap_or_default();
    if resource == url {
        report.ok("resource", format!("'{resource}', byte for byte"));
    } else {
        let seen = format!(
            "the metadata is for '{resource}', clients use '{url}': {}",
            difference(url, resource)
        );
        let mend = format!(
            "make the server publish '{url}' and register exactly that, or tell clients '{resource}'"
        );
        report.fail("resource", seen, mend);
    }
    if issuers(document).is_empty() {
        report.fail(
            "servers",
            "authorization_servers names none",
            "add the issuer, exactly as it calls itself",
        );
    } else {
        report.ok("servers", issuers(document).join(" "));
    }
    let methods = document["bearer_methods_supported"].as_array();
    if methods.is_some_and(|all| all.iter().any(|method| method == "query")) {
        report.fail(
            "methods",
            "it invites tokens in the query",
            "\"bearer_methods_supported\": [\"header\"]",
        );
    }
    let scopes = document["scopes_supported"].as_array();
    if scopes.is_some_and(|all| all.iter().any(|scope| scope == "offline_access")) {
        report.warn(
            "scopes",
            "scopes_supported names offline_access",
            "leave it out: it is between client and authorization server",
        );
    }
}

fn issuers(document: &Value) -> Vec<&str> {
    let all = document["authorization_servers"].as_array();
    let all = all.map_or(&[][..], Vec::as_slice);
    all.iter().filter_map(Value::as_str).collect()
}

/// Tokens that must not be taken: one nobody issued, and one in the query.
async fn examine_tokens(http: &Http, report: &mut Report, url: &Url) {
    match call(http, url, Some(GARBAGE)).await {
        Ok((status, headers)) => judge_garbage(report, status, &headers),
        Err(why) => report.warn("bad token", why, "answer 401"),
    }
    let mut with_query = url.clone();
    with_query
        .query_pairs_mut()
        .append_pair("access_token", GARBAGE);
    match call(http, &with_query, None).await {
        Ok((status, _)) if status.is_success() => report.fail(
            "query token",
            format!("a token that nobody issued is taken from the query ({status})"),
            "read tokens from the Authorization header only",
        ),
        Ok((status, _)) => report.ok("query token", format!("{status}")),
        Err(why) => report.warn("query token", why, "answer 400 or 401"),
    }
}

/// RFC 6750 §3.1: 401 with `invalid_token`, which is how clients know to get another.
fn judge_garbage(report: &mut Report, status: StatusCode, headers: &HeaderMap) {
    if status.is_success() {
        report.fail(
            "bad token",
            format!("a token that nobody issued is taken ({status})"),
            "verify signature, issuer and audience of every token",
        );
        return;
    }
    if status != StatusCode::UNAUTHORIZED {
        report.fail(
            "bad token",
            format!("a token that nobody issued answers {status}"),
            "answer 401 with error=\"invalid_token\", so that clients get another",
        );
        return;
    }
    let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let error = challenges
        .filter_map(|value| value.to_str().ok())
        .find_map(challenge::bearer)
        .and_then(|mut parameters| parameters.remove("error"));
    match error.as_deref() {
        Some("invalid_token") => report.ok("bad token", "401 invalid_token"),
        other => report.warn(
            "bad token",
            format!("401, but error is {}", other.unwrap_or("missing")),
            "add error=\"invalid_token\" to the challenge",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::Verdict;

    const URL: &str = "https://mcp.example/mcp";

    fn report() -> Report {
        Report::new("mcp_server", URL)
    }

    fn challenged(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::WWW_AUTHENTICATE, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_401_makes_clients_look_for_a_token() {
        for (status, verdict) in [
            (401, Verdict::Ok),
            (200, Verdict::Fail),
            (202, Verdict::Fail),
            (307, Verdict::Fail),
            (403, Verdict::Fail),
            (404, Verdict::Fail),
            (500, Verdict::Fail),
        ] {
            let mut report = report();
            let status = StatusCode::from_u16(status).unwrap();
            judge_refusal(&mut report, status, &HeaderMap::new());
            assert!(report.has(verdict, "no token"), "{status}");
        }
    }

    #[test]
    fn challenges() {
        let url = Url::parse(URL).unwrap();
        let at = "https://mcp.example/.well-known/oauth-protected-resource/mcp";
        assert_eq!(metadata_url(&url), at);
        let mut good = report();
        let headers = challenged(&format!(
            r#"Bearer resource_metadata="{at}", scope="tool:a""#
        ));
        assert_eq!(
            judge_challenge(&mut good, &url, &headers).as_deref(),
            Some(at)
        );
        assert!(good.checks.iter().all(|c| c.verdict == Verdict::Ok));
        for (header, check) in [
            ("Basic realm=x", "challenge"),
            (r#"Bearer scope="a""#, "challenge"),
            (r#"Bearer resource_metadata="x""#, "scope"),
            (r#"Bearer scope="a offline_access""#, "scope"),
        ] {
            let mut report = report();
            judge_challenge(&mut report, &url, &challenged(header));
            assert!(report.has(Verdict::Warn, check), "{header}");
        }
    }

    #[test]
    fn the_resource_is_the_url_octet_by_octet() {
        let document = |resource: &str, servers: Value| json!({ "resource": resource, "authorization_servers": servers });
        let servers = || json!(["https://auth.example"]);
        let judged = |document: Value| {
            let mut report = report();
            judge_metadata(&mut report, URL, &document);
            report
        };
        assert!(!judged(document(URL, servers())).failed());
        let slash = judged(document("https://mcp.example/mcp/", servers()));
        assert!(slash.has(Verdict::Fail, "resource"));
        assert!(slash.checks[0].seen.contains("slash too many"));
        assert!(judged(document(URL, json!([]))).has(Verdict::Fail, "servers"));
        let mut query = document(URL, servers());
        query["bearer_methods_supported"] = json!(["header", "query"]);
        assert!(judged(query).has(Verdict::Fail, "methods"));
    }

    #[test]
    fn a_token_that_nobody_issued() {
        let invalid = challenged(r#"Bearer error="invalid_token""#);
        for (status, headers, verdict) in [
            (401, invalid.clone(), Verdict::Ok),
            (401, challenged("Bearer"), Verdict::Warn),
            (403, invalid.clone(), Verdict::Fail),
            (200, HeaderMap::new(), Verdict::Fail),
        ] {
            let mut report = report();
            judge_garbage(&mut report, StatusCode::from_u16(status).unwrap(), &headers);
            assert!(report.has(verdict, "bad token"), "{status}");
        }
    }
}
