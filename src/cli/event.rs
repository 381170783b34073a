//! `writ event`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    Failure,
    api::{Api, Connection},
    print,
};
use crate::signals::subject::{self, Tokens};

/// Tell receivers of security events something.
#[derive(Debug, Args)]
pub(super) struct Event {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell receivers something. It ends nothing here: `writ revoke` does, and tells them too.
    Emit(Box<Emit>),
}

#[derive(Debug, Args)]
struct Emit {
    /// The event type: its URI or the last part of that, for example credential-change.
    #[arg(value_name = "TYPE")]
    kind: String,
    #[command(flatten)]
    about: About,
    /// A member of the event; what reads as JSON is sent as that. Repeat for more.
    #[arg(long, value_name = "NAME=VALUE", value_parser = member, conflicts_with = "event")]
    member: Vec<(String, Value)>,
    /// The members of the event, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    event: Option<Value>,
    /// Only the server of this resource, by id or URI. Repeat for more.
    #[arg(long, value_name = "NAME", conflicts_with = "stream")]
    resource: Vec<String>,
    /// Only this stream.
    #[arg(long, value_name = "ID")]
    stream: Option<String>,
    /// Why, for the administrators of receivers: nothing personal.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What it is about; nothing for a verification of a stream.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct About {
    /// A subject identifier (RFC 9493), as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    subject: Option<Value>,
    /// A person or whoever else tokens speak for: `sub` in tokens.
    #[arg(long, value_name = "SUB")]
    user: Option<String>,
    /// A client, by its client_id.
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
    /// A grant: `grant_id` in tokens.
    #[arg(long, value_name = "ID")]
    grant: Option<String>,
    /// Everything of this tenant, by its name.
    #[arg(long, value_name = "NAME")]
    all_of: Option<String>,
}

impl About {
    fn identifier(self, issuer: &str) -> Option<Value> {
        let Self {
            subject,
            user,
            client,
            grant,
            all_of,
        } = self;
        if let Some(sub) = user {
            return Some(subject::user(issuer, &sub));
        }
        let names = Tokens {
            application: client.as_deref(),
            grant: grant.as_deref(),
            tenant: all_of.as_deref(),
            ..Tokens::default()
        };
        let named = client.is_some() || grant.is_some() || all_of.is_some();
        subject.or_else(|| named.then(|| names.of(issuer)))
    }
}

impl Event {
    pub(super) async fn run(self, json: bool) -> Result<ExitCode, Failure> {
        let Action::Emit(emit) = self.action;
        let api = Api::connect(&self.connection).await?;
        let kind = emit.kind.clone();
        let emitted: Value = api.post("/events", &emit.body(api.issuer())).await?;
        if json {
            print::json(&emitted);
        } else {
            let (txn, seq) = (print::text(&emitted, "txn"), &emitted["seq"]);
            print::line(&format!("told receivers of {kind}: txn {txn}, place {seq}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Emit {
    fn body(self, issuer: &str) -> Value {
        let mut body = json!({ "type": self.kind });
        let members: Map<String, Value> = self.member.into_iter().collect();
        if let Some(event) = self.event {
            body["event"] = event;
        } else if !members.is_empty() {
            body["event"] = members.into();
        }
        if let Some(subject) = self.about.identifier(issuer) {
            body["subject"] = subject;
        }
        if !self.resource.is_empty() {
            body["resources"] = json!(self.resource);
        }
        for (name, text) in [("stream", self.stream), ("reason", self.reason)] {
            if let Some(text) = text {
                body[name] = json!(text);
            }
        }
        body
    }
}

fn object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let is_object = value.is_object();
    is_object.then_some(value).ok_or("a JSON object".to_owned())
}

fn member(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        emit: Emit,
    }

    fn body(words: &[&str]) -> Value {
        let words = std::iter::once(&"emit").chain(words);
        Line::try_parse_from(words).unwrap().emit.body("https://as")
    }

    #[test]
    fn flags_make_the_body_that_the_api_takes() {
        let made = body(&[
            "credential-change",
            "--user",
            "u",
            "--member",
            "a=b",
            "--member",
            "n=7",
        ]);
        let user = json!({ "format": "iss_sub", "iss": "https://as", "sub": "u" });
        let expected = json!({
            "type": "credential-change", "subject": user, "event": { "a": "b", "n": 7 },
        });
        assert_eq!(made, expected);
        let made = body(&[
            "session-revoked",
            "--client",
            "c",
            "--resource",
            "r",
            "--reason",
            "x",
        ]);
        let application = json!({ "format": "iss_sub", "iss": "https://as", "sub": "c" });
        let expected = json!({
            "type": "session-revoked", "resources": ["r"], "reason": "x",
            "subject": { "format": "complex", "application": application },
        });
        assert_eq!(made, expected);
        let made = body(&["verification", "--stream", "s"]);
        assert_eq!(made, json!({ "type": "verification", "stream": "s" }));
        let subject = r#"{"format":"email","email":"a@b.example"}"#;
        let made = body(&["account-disabled", "--subject", subject]);
        assert_eq!(made["subject"]["email"], "a@b.example");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "emit x --user u --client c",
            "emit x --subject {}x",
            "emit x --subject []",
            "emit x --member a",
            "emit x --member a=b --event {}",
            "emit x --resource r --stream s",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
