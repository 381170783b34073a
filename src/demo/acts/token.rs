//! A token for one tool of one server (RFC 6749 §4.4, RFC 8707, RFC 9068).

use super::discovery::Found;
use crate::demo::{
    agent::{Client, Token},
    show::{Failed, Report, To, ensure, expect},
};

pub(super) async fn play(
    agent: &Client,
    found: &Found,
    scope: &str,
    report: &mut Report,
) -> Result<Token, Failed> {
    report.sent(
        To::Writ,
        format!("POST /token  client_credentials  scope {scope}"),
    );
    let token = Token::take(agent.ask(&found.resource, scope).await?, &found.keys)?;
    let claims = &token.claims;
    expect("iss", &claims.iss, &found.server.issuer)?;
    expect("sub", &claims.sub, &agent.id)?;
    let aud: Vec<&str> = claims.aud.iter().collect();
    expect("aud", aud.as_slice(), &[found.resource.as_str()])?;
    expect("scope", &claims.scope.as_deref(), &Some(scope))?;
    ensure(claims.grant_id.is_some(), "a grant_id", "none")?;
    ensure(
        claims.act.is_none(),
        "no act: nobody acts for the agent",
        "one",
    )?;
    report.received("200 and a signed token");
    report.token(&token);
    report.conclude("good for one tool of one server, for five minutes");
    Ok(token)
}
