//! Without a token: 401, and where to get one (RFC 6750 §3, RFC 9728 §5.1).

use crate::demo::{
    mcp::{Challenge, Session},
    show::{Failed, Report, To, ensure, expect},
};

pub(super) async fn play(
    http: &reqwest::Client,
    mcp: &str,
    report: &mut Report,
) -> Result<Challenge, Failed> {
    report.sent(To::Mcp, "POST /mcp  server/discover");
    let challenge = match Session::open(http, mcp, None).await {
        Ok(session) => {
            session.close().await;
            return Err(Failed::new("401", "the server answers anybody"));
        }
        Err(refused) => refused.challenge("401 with a challenge")?,
    };
    expect("status", &challenge.status, &401)?;
    for name in ["resource_metadata", "scope"] {
        ensure(
            !challenge.get(name).is_empty(),
            "the challenge has resource_metadata and scope",
            format!("no {name}"),
        )?;
    }
    report.received("401 WWW-Authenticate: Bearer");
    report.facts(&[
        (
            "resource_metadata",
            challenge.get("resource_metadata").to_owned(),
        ),
        ("scope", challenge.get("scope").to_owned()),
    ]);
    report.conclude("refused, and told where to look and what to ask for");
    Ok(challenge)
}
