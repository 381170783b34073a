//! Who may act for whom, and how deep (RFC 8693 §1.1, §4.1, §4.4).
//!
//! A token may be exchanged by
//! * the client it was issued to,
//! * the server of a resource it is for, which calls other servers in its turn,
//! * a client that the token's client has as a delegate, and that `may_act` names where the token
//!   has one.
//!
//! Whoever acts is written into `act`, with or without an actor token: nobody speaks as another
//! without a trace.

use serde_json::Value;

use crate::{
    error::{OAuthError, Result},
    oauth::claims::{AccessClaims, Actor, depth, extend},
    registry::{Client, Resources},
};

/// Checks who acts and gives the `act` claim of the new token.
///
/// # Errors
/// `invalid_grant` when nobody let this client act, `invalid_request` when the chain is too long.
pub fn check(
    client: &Client,
    subject: &AccessClaims,
    actor: Option<&AccessClaims>,
    subject_client: Option<&Client>,
    resources: &Resources,
    max_depth: usize,
) -> Result<Option<Actor>> {
    let own_token = subject.client_id == client.id();
    let acting = actor.map_or(client.id(), |actor| actor.sub.as_str());
    if own_token && actor.is_none() {
        return Ok(subject.act.clone());
    }
    // What the token says was true when it was issued; the delegation has to stand still.
    let stands = subject_client.is_some_and(|delegator| {
        let delegates = &delegator.rights().delegates;
        delegates.iter().any(|delegate| delegate == client.id())
    });
    let names_actor = subject
        .may_act
        .as_ref()
        .is_none_or(|may_act| names(may_act, acting, &subject.iss));
    let named = stands && names_actor;
    // The server of the resource received the token: passing it on narrowed is its job, whoever
    // else may act for the subject.
    if !own_token && !named && !serves_audience(client, subject, resources) {
        return Err(OAuthError::invalid_grant(format!(
            "'{acting}' may not act for the subject of this token: neither may_act nor a \
             delegation names it."
        )));
    }
    let act = extend(acting, subject.act.clone());
    if depth(Some(&act)) > max_depth {
        return Err(OAuthError::invalid_request(format!(
            "The delegation chain is limited to {max_depth} actors."
        )));
    }
    Ok(Some(act))
}

/// Whether `may_act` (RFC 8693 §4.4) names this actor of this issuer, and nothing that we cannot
/// check.
fn names(may_act: &Value, actor: &str, issuer: &str) -> bool {
    let Some(members) = may_act.as_object() else {
        return false;
    };
    members.get("sub").and_then(Value::as_str) == Some(actor)
        && members.iter().all(|(name, value)| match name.as_str() {
            "sub" => true,
            "iss" => value.as_str() == Some(issuer),
            "client_id" => value.as_str() == Some(actor),
            _ => false,
        })
}

fn serves_audience(client: &Client, subject: &AccessClaims, resources: &Resources) -> bool {
    let Some(served) = client.rights().serves.as_deref() else {
        return false;
    };
    subject
        .aud
        .iter()
        .filter_map(|uri| resources.by_uri(uri))
        .any(|r| r.reference() == served)
}
