//! Events in the Open Cybersecurity Schema Framework, for the systems that collect them.
//!
//! | what happened | class |
//! |---|---|
//! | `token.issued`, `token.exchanged`, `token.refused` | Authorize Session (3003) |
//! | `client.refused`, `token.revoked`, `user.signed_in`, `user.signed_out`, `sign_in.refused` | Authentication (3002) |
//! | `client.changed`, `client.registered`, `user.changed` | Account Change (3001) |
//! | `admin.refused`, `stream.refused` | API Activity (6003) |
//! | everything else: resources, keys, tenants, the trail itself | Entity Management (3004) |
//!
//! What the schema has no member for is in `unmapped`.

use serde_json::{Map, Value, json};

/// The version of the schema.
const VERSION: &str = "1.4.0";
/// Hexadecimal digits of the hash in a name: 64 bits.
const UID_HASH: usize = 16;
/// What stands for an activity that the class has no number for.
const OTHER: u64 = 99;

/// Where an event comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The issuer of its tenant.
    pub issuer: &'a str,
    /// The node that wrote it.
    pub node: &'a str,
    /// Its position in the node's chain.
    pub seq: i64,
    /// Its hash, hexadecimal.
    pub hash: &'a str,
    /// Unix milliseconds.
    pub at: i64,
    /// What happened.
    pub kind: &'a str,
}

/// Class, activity, and what the class asks for beside what every event has.
struct Class {
    uid: u64,
    activity: u64,
    members: Value,
}

/// An event as a line of the schema.
#[must_use]
pub fn event(source: &Source<'_>, said: &Value) -> Value {
    let Class {
        uid,
        activity,
        members,
    } = class(source, said);
    let failed = is_refusal(source.kind);
    let mut event = json!({
        "class_uid": uid,
        "category_uid": uid / 1000,
        "activity_id": activity,
        "type_uid": uid * 100 + activity,
        "time": source.at,
        // Informational, or Low: a refusal is the system at work.
        "severity_id": if failed { 2 } else { 1 },
        "status_id": if failed { 2 } else { 1 },
        "metadata": {
            "version": VERSION,
            "uid": name(source),
            "event_code": source.kind,
            "log_name": "audit",
            "log_provider": source.issuer,
            "product": {
                "name": "Writ",
                "vendor_name": "Writ",
                "version": env!("CARGO_PKG_VERSION"),
                "feature": { "name": source.node },
            },
        },
        "unmapped": unmapped(said),
    });
    if activity == OTHER {
        event["activity_name"] = json!(source.kind);
    }
    let correlation = said["trace_id"].as_str().or(said["request_id"].as_str());
    if let Some(correlation) = correlation {
        event["metadata"]["correlation_uid"] = json!(correlation);
    }
    if let Some(reason) = said["reason"].as_str() {
        event["status_detail"] = json!(reason);
        event["message"] = json!(format!("{}: {reason}", source.kind));
    } else {
        event["message"] = json!(source.kind);
    }
    if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
        event.extend(members);
    }
    event
}

/// A name that is the same wherever and however often an event is exported, so that receivers can
/// tell duplicates. A server that was restored from a backup counts on from there: the hash tells
/// its events from those that were lost.
fn name(source: &Source<'_>) -> String {
    let hash = source.hash.get(..UID_HASH).unwrap_or(source.hash);
    format!("{}#{}/{}/{hash}", source.issuer, source.node, source.seq)
}

/// Whether a kind says that something was refused.
#[must_use]
pub fn is_refusal(kind: &str) -> bool {
    kind.ends_with(".refused")
}

fn class(source: &Source<'_>, said: &Value) -> Class {
    let (uid, activity, members) = match source.kind {
        "token.issued" | "token.exchanged" | "token.refused" => (3003, 1, session(source, said)),
        "token.revoked" => (3002, 2, login(source, said)),
        "client.refused" => (3002, 1, login(source, said)),
        "user.signed_in" | "sign_in.refused" => (3002, 1, sign_in(source, said)),
        "user.signed_out" => (3002, 2, sign_in(source, said)),
        "user.changed" => {
            let activity = match verb(said) {
                "created" | "signed up" => 1,
                "enabled" => 2,
                "password changed" => 3,
                "password set" => 4,
                "disabled" => 5,
                "removed" => 6,
                "second factor added" => 10,
                "second factor removed" => 11,
                _ => OTHER,
            };
            let who = text(said, "object").or(text(said, "sub"));
            let user = json!({ "uid": who.unwrap_or(UNKNOWN), "type_id": 1, "type": "User" });
            (
                3001,
                activity,
                json!({ "user": user, "actor": actor(said) }),
            )
        }
        "client.changed" | "client.registered" => {
            let activity = match verb(said) {
                "created" | "registered" => 1,
                "removed" => 6,
                "new secret" => 4,
                _ => OTHER,
            };
            let object = text(said, "object").unwrap_or(UNKNOWN);
            let members = json!({ "user": { "uid": object, "type_id": OTHER, "type": "Client" }, "actor": actor(said) });
            (3001, activity, members)
        }
        "admin.refused" | "stream.refused" => {
            let service = source.kind.split('.').next().unwrap_or_default();
            let operation = text(said, "object").unwrap_or(UNKNOWN);
            let activity = match operation.split(' ').next() {
                Some("GET" | "HEAD") => 2,
                Some("POST") => 1,
                Some("PUT" | "PATCH") => 3,
                Some("DELETE") => 4,
                _ => OTHER,
            };
            let members = json!({
                "actor": actor(said),
                "api": { "operation": operation, "service": { "name": service } },
                "src_endpoint": endpoint(said),
            });
            (6003, activity, members)
        }
        kind => {
            let activity = match verb(said) {
                "created" | "registered" | "first keys" => 1,
                "removed" => 4,
                _ => 3,
            };
            let kind = kind.split('.').next().unwrap_or(kind);
            let name = text(said, "object").unwrap_or(kind);
            let members = json!({ "entity": { "name": name, "type": kind }, "actor": actor(said) });
            (3004, activity, members)
        }
    };
    Class {
        uid,
        activity,
        members,
    }
}

/// What stands where nobody said who it was.
const UNKNOWN: &str = "unknown";

/// What was done, in the words of administrators' events.
fn verb(said: &Value) -> &str {
    text(said, "reason").unwrap_or_default()
}

fn text<'a>(said: &'a Value, member: &str) -> Option<&'a str> {
    said[member].as_str()
}

/// Whom a token speaks for, what it allows, and who acts.
fn session(source: &Source<'_>, said: &Value) -> Value {
    let client = text(said, "client_id").unwrap_or(UNKNOWN);
    let scopes = text(said, "scope").unwrap_or_default().split_whitespace();
    let mut session = json!({ "issuer": source.issuer, "is_remote": true });
    if let Some(jti) = text(said, "jti") {
        session["uid"] = json!(jti);
    }
    json!({
        "user": { "uid": text(said, "sub").unwrap_or(client), "type_id": OTHER, "type": "Client" },
        "privileges": scopes.collect::<Vec<_>>(),
        "session": session,
        "actor": actor(said),
        "dst_endpoint": endpoint_of(&said["aud"]),
    })
}

fn login(source: &Source<'_>, said: &Value) -> Value {
    let who = text(said, "sub")
        .or(text(said, "client_id"))
        .unwrap_or(UNKNOWN);
    json!({
        "user": { "uid": who, "type_id": OTHER, "type": "Client" },
        "service": { "name": source.issuer },
        "is_remote": true,
        "auth_protocol_id": OTHER,
        "auth_protocol": "OAuth 2.1 client authentication",
        "actor": actor(said),
    })
}

/// A person at our own pages.
fn sign_in(source: &Source<'_>, said: &Value) -> Value {
    let who = text(said, "sub").unwrap_or(UNKNOWN);
    json!({
        "user": { "uid": who, "type_id": 1, "type": "User" },
        "service": { "name": source.issuer },
        "is_remote": true,
        "auth_protocol_id": OTHER,
        "auth_protocol": "sign-in page",
        "src_endpoint": endpoint(said),
    })
}

/// Who acts: the client that asked.
fn actor(said: &Value) -> Value {
    let client = text(said, "client_id").unwrap_or(UNKNOWN);
    json!({ "user": { "uid": client, "type_id": OTHER, "type": "Client" } })
}

/// Where a call came from, as far as the event knows.
fn endpoint(said: &Value) -> Value {
    match text(said, "client_address") {
        Some(address) => json!({ "ip": address }),
        None => json!({ "name": UNKNOWN }),
    }
}

/// The first resource of an audience; the rest is in `unmapped`.
fn endpoint_of(audience: &Value) -> Value {
    let first = match audience {
        Value::Array(many) => many.first(),
        one => Some(one),
    };
    json!({ "name": first.and_then(Value::as_str).unwrap_or(UNKNOWN) })
}

/// What the schema has no member for.
fn unmapped(said: &Value) -> Map<String, Value> {
    const MAPPED: [&str; 3] = ["reason", "scope", "jti"];
    let members = said.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| !MAPPED.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_the_same_position_of_two_histories_have_two_names() {
        let named = |hash| {
            let source = Source {
                issuer: "https://auth.example",
                node: "1",
                seq: 7,
                hash,
                at: 0,
                kind: "token.issued",
            };
            event(&source, &json!({}))["metadata"]["uid"].clone()
        };
        let [one, other] = ["00112233445566778899", "00112233445566f78899"].map(named);
        assert_eq!(one, "https://auth.example#1/7/0011223344556677");
        assert_ne!(one, other);
    }
}
