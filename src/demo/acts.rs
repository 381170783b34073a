//! What happens, in order. Each act takes what earlier ones learned, proves what it says, and
//! gives what it learned itself.

mod call;
mod challenge;
mod delegation;
mod discovery;
mod insufficient_scope;
mod registration;
mod revocation;
mod rotation;
mod token;

use super::{
    agent::{Identity, http_client},
    show::{Show, Stopped},
    stage::Stage,
};

/// How many acts [`play`] plays.
pub(super) const COUNT: usize = 9;

/// Plays them all, up to the first that fails.
pub(super) async fn play(stage: &Stage, show: &mut Show) -> Result<(), Stopped> {
    let mcp = stage.mcp.as_str();

    let title = "The agent calls the MCP server, without a token";
    let (http, challenge) = show
        .act("challenge", title, async |report| {
            let http = http_client()?;
            let challenge = challenge::play(&http, mcp, report).await?;
            Ok((http, challenge))
        })
        .await?;

    let title = "It follows the challenge to the authorization server and its keys";
    let found = show
        .act("discovery", title, async |report| {
            discovery::play(&http, mcp, &challenge, report).await
        })
        .await?;

    let title = "It introduces itself with its public key";
    let agent = show
        .act("registration", title, async |report| {
            let agent = Identity::new("travel-agent", &http, &stage.clock, &stage.entropy)?;
            registration::play(agent, &found, report).await
        })
        .await?;

    let title = "It gets a token for one tool of one server";
    let token = show
        .act("token", title, async |report| {
            token::play(&agent, &found, challenge.get("scope"), report).await
        })
        .await?;

    let title = "The call goes through";
    show.act("call", title, async |report| {
        call::play(&http, mcp, &token, report).await
    })
    .await?;

    let title = "Another tool is refused";
    show.act("insufficient_scope", title, async |report| {
        insufficient_scope::play(&agent, mcp, &token, report).await
    })
    .await?;

    let title = "A sub-agent acts for the agent, and a helper for the sub-agent";
    show.act("delegation", title, async |report| {
        delegation::play(stage, &agent, &found, report).await
    })
    .await?;

    let title = "Signing keys are replaced twice while calls go on";
    show.act("key_rotation", title, async |report| {
        rotation::play(stage, &agent, &found, report).await
    })
    .await?;

    let title = "The owner revokes the agent in the middle of its work";
    show.act("revocation", title, async |report| {
        revocation::play(stage, &agent, report).await
    })
    .await
}
