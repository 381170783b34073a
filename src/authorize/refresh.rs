//! Refresh tokens (RFC 6749 §6): lines in which each takes the place of the one before.
//!
//! A public client gets a new one each time (RFC 9700 §2.2.2). Two of its processes may use the same
//! one at the same time: within a short while the one that was just used begins a line of its own,
//! beside the other (nobody is logged out by a race). Later, using it again ends the grant, since
//! one of the two who hold it is a thief.

use entity::refresh_token;

use crate::{
    app::App,
    error::{OAuthError, Result},
    keys::refresh::Place,
    policy::person::Given,
    registry::{Client, Tenant},
    store::{Change, authorization},
};

/// Whether each use of a client's refresh tokens gives a new one: public clients prove nothing
/// else when they use one. FAPI 2.0 advises against it for the others.
#[must_use]
pub fn rotates(client: &Client) -> bool {
    let rights = client.rights();
    let public = rights.token_endpoint_auth_method == crate::oauth::grant_type::AuthMethod::None;
    let asked = rights.authorization.rotate_refresh_tokens.unwrap_or(public);
    asked && rights.profile.rules().may_rotate
}

/// What becomes of a token that is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The next one takes its place.
    Rotate,
    /// It stays.
    Keep,
    /// It was used a moment ago: a line of its own begins.
    Sibling,
}

/// What becomes of the token of this generation; nothing when it was used long ago.
#[must_use]
pub fn judge(
    line: &refresh_token::Model,
    generation: i64,
    rotates: bool,
    now: i64,
    grace: i64,
) -> Option<Use> {
    if generation == line.generation {
        return Some(if rotates { Use::Rotate } else { Use::Keep });
    }
    let behind = usize::try_from(line.generation - generation).unwrap_or(usize::MAX);
    let used_at = rotations(line).nth_back(behind.saturating_sub(1));
    let just_now = behind > 0 && used_at.is_some_and(|at| now - at <= grace);
    just_now.then_some(Use::Sibling)
}

/// When the last tokens of a line were used.
fn rotations(line: &refresh_token::Model) -> impl DoubleEndedIterator<Item = i64> {
    let times = line.rotations.split(' ');
    times.filter_map(|time| time.parse().ok())
}

/// The same with one more, as far back as it still matters.
#[must_use]
pub fn rotated(line: &refresh_token::Model, now: i64, grace: i64) -> String {
    let recent = rotations(line).filter(|at| now - at <= grace);
    let times: Vec<String> = recent.chain([now]).map(|at| at.to_string()).collect();
    times.join(" ")
}

/// A new line for what was given, its change, and its first token. It ends at `ends_at`, or
/// earlier when it is not used.
///
/// # Errors
/// Never; JSON can hold it.
pub fn begin(
    app: &App,
    tenant: &Tenant,
    client_id: &str,
    given: &Given,
    bound_to: Option<String>,
    ends_at: Option<i64>,
) -> Result<(Change, String)> {
    let now = app.clock.seconds();
    let line = refresh_token::Model {
        tenant: tenant.name().to_owned(),
        id: app.entropy.id(),
        grant_id: given.authorized.grant_id.clone(),
        client_id: client_id.to_owned(),
        generation: 0,
        rotations: String::new(),
        bound_to,
        document: serde_json::to_string(given).map_err(OAuthError::server_error)?,
        created_at: now,
        used_at: now,
        expires_at: idle_end(app, ends_at),
    };
    let place = Place {
        line: line.id.clone(),
        generation: 0,
    };
    let change = authorization::Change::BeginLine(line);
    let token = app.refresh_tokens.write(tenant.name(), &place);
    Ok((Change::Authorization(change), token))
}

/// When a grant of this age that refresh tokens keep alive ends by itself; 0 means never.
#[must_use]
pub fn end_of(app: &App, created_at: i64) -> Option<i64> {
    let lifetime = app.config.authorization.refresh_token_lifetime;
    (lifetime > 0).then(|| created_at + lifetime)
}

/// When a line that is used now ends, unless it is used again.
#[must_use]
pub fn idle_end(app: &App, ends_at: Option<i64>) -> i64 {
    let idle = app.clock.seconds() + app.config.authorization.refresh_token_idle;
    ends_at.map_or(idle, |end| end.min(idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_race_makes_siblings_and_a_late_use_a_thief() {
        let line = refresh_token::Model {
            tenant: String::new(),
            id: String::new(),
            grant_id: String::new(),
            client_id: String::new(),
            generation: 5,
            rotations: "980 1000".into(),
            bound_to: None,
            document: String::new(),
            created_at: 0,
            used_at: 1000,
            expires_at: 2000,
        };
        let judged = |generation, now| judge(&line, generation, true, now, 60);
        assert_eq!(judged(5, 1001), Some(Use::Rotate));
        assert_eq!(judge(&line, 5, false, 1001, 60), Some(Use::Keep));
        assert_eq!(judged(4, 1060), Some(Use::Sibling));
        assert_eq!(judged(4, 1061), None);
        assert_eq!(judged(3, 1040), Some(Use::Sibling));
        assert_eq!(judged(3, 1041), None);
        assert_eq!(judged(2, 1001), None);
        assert_eq!(rotated(&line, 1041, 60), "1000 1041");
        assert_eq!(judged(6, 1001), None);
    }
}
