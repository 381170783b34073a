//! An issuer as its clients meet it: discovery, metadata, keys, clock.

use chrono::DateTime;
use http::{StatusCode, header};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{ORIGIN, Report, judge_transport, jwks, preflight, spelling::difference};
use crate::{
    cli::{
        http::{Answer, Http, is_safe, send},
        token_request::inserted,
    },
    clock::Clock,
};

/// Seconds that two clocks may differ before verifiers begin to refuse tokens.
const CLOCK: i64 = 60;

/// Who wrote the issuer down: that is where a wrong one is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The person at the command line, as in a client's configuration.
    ByUser,
    /// An MCP server, in `authorization_servers`.
    ByServer,
}

/// A place where clients look for metadata.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Where.
    pub url: String,
    /// Whether clients of MCP look there; else it is a courtesy.
    asked: bool,
}

/// Every place where some client looks, in MCP's order.
pub(super) fn forms(issuer: &Url) -> Vec<Form> {
    let form = |url: String, asked| Form { url, asked };
    let mut forms = vec![
        form(inserted(issuer, "oauth-authorization-server"), true),
        form(inserted(issuer, "openid-configuration"), true),
    ];
    let path = issuer.path().trim_end_matches('/');
    if !path.is_empty() {
        let base = format!(
            "{}{path}/.well-known",
            issuer.origin().ascii_serialization()
        );
        forms.push(form(format!("{base}/openid-configuration"), true));
        forms.push(form(format!("{base}/oauth-authorization-server"), false));
    }
    forms
}

/// Looks at everything.
pub(super) async fn examine(http: &Http, issuer: &str, named: Named) -> Report {
    let mut report = Report::new("issuer", issuer);
    let Some(url) = Url::parse(issuer).ok().filter(Url::has_host) else {
        report.fail("issuer", "it is not a URL", "write the issuer's https URL");
        return report;
    };
    judge_transport(&mut report, &url);
    let mut documents: Vec<(String, Value)> = Vec::new();
    let mut first = None;
    for form in forms(&url) {
        match http.get(&form.url).await {
            Ok(answer) => {
                if let Some(document) = judge_form(&mut report, &form, &answer) {
                    documents.push((form.url, document));
                    first.get_or_insert(answer);
                }
            }
            Err(why) => {
                // The other forms are at the same server.
                let mend = "mend this first: clients get no further either";
                report.fail("discovery", format!("{}: {why}", form.url), mend);
                return report;
            }
        }
    }
    let (Some((place, document)), Some(answer)) = (documents.first(), first) else {
        report.fail(
            "discovery",
            "there is no metadata at any place where clients look",
            "is this the issuer, with its path? In front of a proxy, pass /.well-known/ on too",
        );
        return report;
    };
    judge_agreement(&mut report, &documents);
    judge_issuer(&mut report, issuer, document, named);
    judge_metadata(&mut report, document);
    judge_clock(&mut report, &answer);
    examine_cors(http, &mut report, place).await;
    examine_keys(http, &mut report, document).await;
    report
}

/// One place: status, media type, JSON.
fn judge_form(report: &mut Report, form: &Form, answer: &Answer) -> Option<Value> {
    let (url, status) = (&form.url, answer.status);
    if status == StatusCode::NOT_FOUND && !form.asked {
        return None;
    }
    if status.is_redirection() {
        let to = answer.header(header::LOCATION).unwrap_or("nowhere");
        report.fail(
            "discovery",
            format!("{url} redirects to {to}: strict clients do not follow"),
            "answer 200 there",
        );
        return None;
    }
    if status.is_server_error() {
        report.fail(
            "discovery",
            format!("{url} answers {status}: some clients stop there"),
            "answer 200, or 404 if there is nothing",
        );
        return None;
    }
    if status != StatusCode::OK {
        report.warn(
            "discovery",
            format!("{url} answers {status}"),
            "serve the same document there: clients differ in where they look first",
        );
        return None;
    }
    let media_type = answer.media_type();
    let Some(document) = answer.json::<Value>().ok().filter(Value::is_object) else {
        report.fail(
            "discovery",
            format!("{url} answers 200, but not with a JSON object"),
            "serve the metadata there, or 404",
        );
        return None;
    };
    if media_type == "application/json" {
        report.ok("discovery", url.clone());
    } else {
        report.fail(
            "discovery",
            format!("{url} has the content type '{media_type}'"),
            "send application/json",
        );
    }
    Some(document)
}

fn judge_agreement(report: &mut Report, documents: &[(String, Value)]) {
    let Some(((_, first), rest)) = documents.split_first() else {
        return;
    };
    match rest.iter().find(|(_, other)| other != first) {
        None => report.ok(
            "agreement",
            format!("{} documents, the same", documents.len()),
        ),
        Some((url, other)) => report.fail(
            "agreement",
            format!(
                "{url} says something else about {}",
                differing(first, other)
            ),
            "serve one document at every place",
        ),
    }
}

fn differing(a: &Value, b: &Value) -> String {
    let members = |value: &Value| -> Vec<String> {
        let members = value.as_object().into_iter().flatten();
        members.map(|(name, _)| name.clone()).collect()
    };
    let mut names = [members(a), members(b)].concat();
    names.sort();
    names.dedup();
    names.retain(|name| a.get(name) != b.get(name));
    names.join(", ")
}

/// RFC 8414 §3.3: identical, octet by octet.
fn judge_issuer(report: &mut Report, issuer: &str, document: &Value, named: Named) {
    let Some(found) = document["issuer"].as_str() else {
        report.fail("issuer", "the metadata has no issuer", "add it (RFC 8414)");
        return;
    };
    if found == issuer {
        return report.ok("issuer", format!("'{found}', byte for byte"));
    }
    let mend = match named {
        Named::ByUser => format!("use '{found}' wherever clients and MCP servers name it"),
        Named::ByServer => format!(
            "in the MCP server write '{found}' exactly, as plain text: URL types such as Python's \
             AnyHttpUrl add a slash"
        ),
    };
    report.fail(
        "issuer",
        format!(
            "clients were told '{issuer}', but it calls itself '{found}': {}",
            difference(found, issuer)
        ),
        mend,
    );
}

/// What strict clients insist on in the document, whichever grant they use.
fn judge_metadata(report: &mut Report, document: &Value) {
    let required = [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    ];
    let missing: Vec<_> = required
        .into_iter()
        .filter(|name| document[*name].is_null())
        .collect();
    if missing.is_empty() {
        report.ok("members", "everything strict clients want is there");
    } else {
        report.fail(
            "members",
            format!("strict clients miss {}", missing.join(", ")),
            "add them, even where a grant does not need them",
        );
    }
    let members = document.as_object().into_iter().flatten();
    let nulls: Vec<_> = members
        .filter(|(_, value)| value.is_null())
        .map(|(name, _)| name.as_str())
        .collect();
    if !nulls.is_empty() {
        report.fail(
            "nulls",
            format!("{} are null: strict clients refuse that", nulls.join(", ")),
            "leave them out",
        );
    }
    if !lists(document, "code_challenge_methods_supported", "S256") {
        report.fail(
            "pkce",
            "code_challenge_methods_supported does not list S256: clients must refuse (MCP)",
            "add \"code_challenge_methods_supported\": [\"S256\"]",
        );
    } else {
        report.ok("pkce", "S256");
    }
    if !lists(document, "response_types_supported", "code") && !missing.contains(&required[3]) {
        report.fail(
            "members",
            "response_types_supported does not list code",
            "add it: clients look for it before anything else",
        );
    }
    judge_endpoints(report, document);
    if document["registration_endpoint"].is_null()
        && document["client_id_metadata_document_supported"] != true
    {
        report.warn(
            "registration",
            "clients cannot introduce themselves (no RFC 7591, no metadata documents)",
            "nothing, if an administrator declares every client",
        );
    }
    if document["authorization_response_iss_parameter_supported"] != true {
        report.warn(
            "iss",
            "authorization responses are not said to name their issuer (RFC 9207)",
            "send iss, and set authorization_response_iss_parameter_supported",
        );
    }
}

fn lists(document: &Value, member: &str, wanted: &str) -> bool {
    let values = document[member].as_array().into_iter().flatten();
    values.into_iter().any(|value| value == wanted)
}

fn judge_endpoints(report: &mut Report, document: &Value) {
    let members = document.as_object().into_iter().flatten();
    let unsafe_ones: Vec<_> = members
        .filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri")
        .filter(|(_, url)| !url.as_str().is_some_and(is_safe))
        .map(|(name, _)| name.as_str())
        .collect();
    if unsafe_ones.is_empty() {
        report.ok("endpoints", "all by https, or on this machine");
    } else {
        report.fail(
            "endpoints",
            format!("{} are not https URLs", unsafe_ones.join(", ")),
            "write absolute https URLs; behind a proxy, set the issuer to the outer URL",
        );
    }
}

/// Tokens live for minutes: a clock that is wrong makes them expired, or not valid yet.
fn judge_clock(report: &mut Report, answer: &Answer) {
    let date = answer.header(header::DATE);
    let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        report.warn(
            "clock",
            "there is no Date header to compare clocks by",
            "send one",
        );
        return;
    };
    let ahead = date.timestamp() - Clock::System.seconds();
    if ahead.abs() <= CLOCK {
        report.ok("clock", format!("{} s from this machine's", ahead.abs()));
        return;
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    report.fail(
        "clock",
        format!(
            "{} s {direction} this machine's: tokens are refused",
            ahead.abs()
        ),
        "set both by NTP",
    );
}

/// Clients in browsers: the answer itself, and the question before it.
async fn examine_cors(http: &Http, report: &mut Report, url: &str) {
    let allows = |answer: &Answer| {
        let origin = answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        origin.is_some_and(|origin| origin == "*" || origin == ORIGIN)
    };
    let simple = send(
        http.request(Method::GET, url)
            .header(header::ORIGIN, ORIGIN),
    )
    .await;
    let asked = preflight(http, url).await;
    let header_allowed = |answer: &Answer| {
        let listed = answer.header(header::ACCESS_CONTROL_ALLOW_HEADERS);
        let listed = listed.unwrap_or_default().to_ascii_lowercase();
        listed.contains("mcp-protocol-version") || listed.trim() == "*"
    };
    match (&simple, &asked) {
        (Ok(simple), _) if !allows(simple) => report.warn(
            "cors",
            "clients in browsers cannot read the metadata",
            "send Access-Control-Allow-Origin: * on metadata, JWKS, token and registration",
        ),
        (Ok(_), Ok(asked))
            if asked.status.is_success() && allows(asked) && header_allowed(asked) =>
        {
            report.ok("cors", "open to clients in browsers");
        }
        _ => report.warn(
            "cors",
            "the browser's question before a request with MCP-Protocol-Version is refused",
            "answer OPTIONS with 204 and Access-Control-Allow-Headers: MCP-Protocol-Version, \
             Authorization, Content-Type",
        ),
    }
}

async fn examine_keys(http: &Http, report: &mut Report, document: &Value) {
    let Some(url) = document["jwks_uri"].as_str() else {
        return;
    };
    let keys = match http.get(url).await {
        Ok(answer) if answer.status == StatusCode::OK => answer.json::<Value>(),
        Ok(answer) => Err(format!("it answers {}", answer.status)),
        Err(why) => Err(why),
    };
    match keys {
        Ok(keys) => {
            report.ok("jwks", url);
            jwks::judge(report, &keys);
        }
        Err(why) => report.fail(
            "jwks",
            format!("{url}: {why}"),
            "serve the public keys there: without them no token can be verified",
        ),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::{cli::doctor::Verdict, oauth::metadata};

    const ISSUER: &str = "https://auth.example";

    fn good() -> Value {
        metadata::authorization_server(ISSUER, &["client_credentials"], &["none"], &["RS256"], true)
    }

    fn judged(document: &Value) -> Report {
        let mut report = Report::new("issuer", ISSUER);
        judge_metadata(&mut report, document);
        report
    }

    fn answer(status: u16, media_type: &str, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
        }
    }

    #[test]
    fn every_form_is_visited() {
        let urls = |issuer: &str| -> Vec<String> {
            let forms = forms(&Url::parse(issuer).unwrap());
            forms.into_iter().map(|form| form.url).collect()
        };
        assert_eq!(
            urls("https://a.example/"),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            urls("https://a.example/t/x"),
            [
                "https://a.example/.well-known/oauth-authorization-server/t/x",
                "https://a.example/.well-known/openid-configuration/t/x",
                "https://a.example/t/x/.well-known/openid-configuration",
                "https://a.example/t/x/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn our_own_metadata_is_good() {
        let report = judged(&good());
        assert!(report.checks.iter().all(|c| c.verdict == Verdict::Ok));
    }

    #[test]
    fn what_strict_clients_refuse() {
        for (member, value, check) in [
            ("token_endpoint", None, "members"),
            ("subject_types_supported", None, "members"),
            ("userinfo_endpoint", Some(Value::Null), "nulls"),
            ("code_challenge_methods_supported", None, "pkce"),
            (
                "code_challenge_methods_supported",
                Some(json!(["plain"])),
                "pkce",
            ),
            (
                "response_types_supported",
                Some(json!(["token"])),
                "members",
            ),
            (
                "token_endpoint",
                Some(json!("http://auth.example/token")),
                "endpoints",
            ),
            ("token_endpoint", Some(json!("/token")), "endpoints"),
        ] {
            let mut document = good();
            match value {
                Some(value) => document[member] = value,
                None => drop(document.as_object_mut().unwrap().remove(member)),
            }
            assert!(judged(&document).has(Verdict::Fail, check), "{member}");
        }
    }

    #[test]
    fn issuers_are_compared_octet_by_octet() {
        for (named, said) in [
            (Named::ByUser, "use 'https"),
            (Named::ByServer, "AnyHttpUrl"),
        ] {
            let mut report = Report::new("issuer", ISSUER);
            judge_issuer(&mut report, "https://auth.example/", &good(), named);
            let check = &report.checks[0];
            assert_eq!(check.verdict, Verdict::Fail);
            assert!(check.seen.contains("slash too many"), "{}", check.seen);
            assert!(check.mend.as_ref().unwrap().contains(said));
        }
        let mut report = Report::new("issuer", ISSUER);
        judge_issuer(&mut report, ISSUER, &good(), Named::ByUser);
        assert!(report.has(Verdict::Ok, "issuer"));
    }

    #[test]
    fn places_that_do_not_answer_well() {
        let form = &forms(&Url::parse(ISSUER).unwrap())[0];
        for (answer, verdict) in [
            (
                answer(200, "application/json; charset=utf-8", "{}"),
                Verdict::Ok,
            ),
            (answer(200, "text/html", "{}"), Verdict::Fail),
            (answer(200, "application/json", "<html>"), Verdict::Fail),
            (answer(302, "text/html", ""), Verdict::Fail),
            (answer(503, "text/html", ""), Verdict::Fail),
            (answer(404, "text/html", ""), Verdict::Warn),
        ] {
            let mut report = Report::new("issuer", ISSUER);
            let _ = judge_form(&mut report, form, &answer);
            assert!(report.has(verdict, "discovery"), "{answer:?}");
        }
    }

    #[test]
    fn documents_have_to_agree() {
        let mut other = good();
        other["scopes_supported"] = json!([]);
        let mut report = Report::new("issuer", ISSUER);
        judge_agreement(&mut report, &[("a".into(), good()), ("b".into(), other)]);
        assert!(report.has(Verdict::Fail, "agreement"));
        assert!(report.checks[0].seen.ends_with("about scopes_supported"));
    }

    #[test]
    fn clocks_are_compared() {
        let now = Clock::System.now();
        for (minutes, verdict) in [(0, Verdict::Ok), (10, Verdict::Fail), (-10, Verdict::Fail)] {
            let mut answer = answer(200, "application/json", "{}");
            let date = (now + chrono::Duration::minutes(minutes)).to_rfc2822();
            answer.headers.insert(header::DATE, date.parse().unwrap());
            let mut report = Report::new("issuer", ISSUER);
            judge_clock(&mut report, &answer);
            assert!(report.has(verdict, "clock"), "{minutes}");
        }
    }
}
