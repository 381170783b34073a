//! The agent becomes a client (RFC 7591).

use http::StatusCode;

use super::discovery::Found;
use crate::demo::{
    agent::{Client, Identity},
    show::{Failed, Report, To, expect},
};

pub(super) async fn play(
    agent: Identity,
    found: &Found,
    report: &mut Report,
) -> Result<Client, Failed> {
    report.sent(To::Writ, "POST /register  private_key_jwt, one public key");
    report.facts(&[
        ("client_name", agent.name.to_owned()),
        ("kid", format!("{} (Ed25519)", agent.kid())),
    ]);
    let answer = agent.register(&found.server.registration_endpoint).await?;
    if answer.status != StatusCode::CREATED {
        return Err(Failed::new("201", answer.problem()));
    }
    expect(
        "token_endpoint_auth_method",
        answer.text("token_endpoint_auth_method")?,
        "private_key_jwt",
    )?;
    let client_id = answer.text("client_id")?.to_owned();
    report.received("201 Created, and no secret: it signs in with its key");
    report.facts(&[("client_id", client_id.clone())]);
    report.conclude("known, and allowed what the server opens to newcomers: searching");
    Ok(agent.client(&client_id, &found.server))
}
