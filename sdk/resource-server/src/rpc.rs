//! Reads a JSON-RPC body just far enough to know what it asks for, and
//! refuses whatever another reader could understand differently.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::{Name, Names};

/// Messages in a batch, and characters in a tool's name (MCP allows 128): a
/// challenge repeats every name, and must fit a header.
const MAX_BATCH: usize = 64;
const MAX_TOOL_NAME: usize = 128;

/// What one message of a body asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Call<'a> {
    /// `tools/call` of this tool.
    Tool(Cow<'a, str>),
    /// Any other method.
    Method(Cow<'a, str>),
    /// An answer to something the server asked.
    Response,
}

/// Why a body was refused (JSON-RPC 2.0 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RpcError {
    /// Not JSON.
    Parse,
    /// JSON, but not an unambiguous request.
    Invalid(&'static str),
}

impl RpcError {
    /// The registered code.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::Invalid(_) => -32600,
        }
    }

    /// The words that go with it.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Parse => "Parse error",
            Self::Invalid(message) => message,
        }
    }
}

/// The calls in a body: one message, or a batch of them.
pub(crate) fn calls<'a>(body: &'a [u8], headers: &HeaderMap) -> Result<Vec<Call<'a>>, RpcError> {
    let body: Body<'a> = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            RpcError::Invalid(
                "Invalid request: each message is one object whose members are not repeated",
            )
        } else {
            RpcError::Parse
        }
    })?;
    if body.0.is_empty() {
        return Err(RpcError::Invalid("Invalid request: the batch is empty"));
    }
    if body.0.len() > MAX_BATCH {
        return Err(RpcError::Invalid(
            "Invalid request: a batch has at most 64 messages",
        ));
    }
    for message in &body.0 {
        agrees_with(headers, message)?;
    }
    body.0.into_iter().map(Message::call).collect()
}

struct Body<'a>(Vec<Message<'a>>);

#[derive(Default)]
struct Message<'a> {
    method: Option<Cow<'a, str>>,
    params: Params<'a>,
    answers: bool,
}

/// The members of `params` that say what a call is about.
#[derive(Default)]
struct Params<'a> {
    name: Option<Cow<'a, str>>,
    uri: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    fn call(self) -> Result<Call<'a>, RpcError> {
        match (self.method, self.answers) {
            (Some(_), true) => Err(RpcError::Invalid(
                "Invalid request: a message is a request or a response, not both",
            )),
            (Some(method), false) if method == "tools/call" => match self.params.name {
                Some(name) if name.chars().nth(MAX_TOOL_NAME).is_some() => Err(RpcError::Invalid(
                    "Invalid request: the name of a tool has at most 128 characters",
                )),
                Some(name) if !name.is_empty() => Ok(Call::Tool(name)),
                _ => Err(RpcError::Invalid(
                    "Invalid request: tools/call needs params.name",
                )),
            },
            // Some reader may fold case or trim; then this would be a tool call.
            (Some(method), false) if method.trim().eq_ignore_ascii_case("tools/call") => Err(
                RpcError::Invalid("Invalid request: the method is tools/call, exactly"),
            ),
            (Some(method), false) => Ok(Call::Method(method)),
            (None, true) => Ok(Call::Response),
            (None, false) => Err(RpcError::Invalid("Invalid request: there is no method")),
        }
    }
}

/// Newer revisions of MCP repeat method and name in headers, for gateways. The
/// body decides; headers that say otherwise are an attempt to be read twice.
fn agrees_with(headers: &HeaderMap, message: &Message<'_>) -> Result<(), RpcError> {
    const DISAGREE: RpcError =
        RpcError::Invalid("Invalid request: Mcp-Method or Mcp-Name contradicts the body");
    for value in headers.get_all("mcp-method") {
        if message.method.as_deref().map(str::as_bytes) != Some(value.as_bytes()) {
            return Err(DISAGREE);
        }
    }
    let subject = match message.method.as_deref() {
        Some("tools/call" | "prompts/get") => &message.params.name,
        Some("resources/read") => &message.params.uri,
        _ => return Ok(()),
    };
    for value in headers.get_all("mcp-name") {
        let said = header_text(value.as_bytes()).ok_or(DISAGREE)?;
        if subject.as_deref().map(str::as_bytes) != Some(&*said) {
            return Err(DISAGREE);
        }
    }
    Ok(())
}

/// Values that do not fit a header are written `=?base64?…?=`.
fn header_text(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let encoded = value
        .strip_prefix(b"=?base64?")
        .and_then(|rest| rest.strip_suffix(b"?="));
    match encoded {
        Some(encoded) => STANDARD.decode(encoded).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(value)),
    }
}

/// A string, or anything else.
enum MaybeText<'a> {
    Text(Cow<'a, str>),
    Other,
}

impl<'de> Deserialize<'de> for Body<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC message or a batch of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Body<'de>, A::Error> {
        MessageVisitor
            .visit_map(members)
            .map(|message| Body(vec![message]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Body<'de>, A::Error> {
        let mut messages = Vec::new();
        // One more than allowed tells that there are too many.
        while messages.len() <= MAX_BATCH
            && let Some(message) = items.next_element()?
        {
            messages.push(message);
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Body(messages))
    }
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Message<'de>, A::Error> {
        let mut message = Message::default();
        let mut names = Names::default();
        while let Some(Name(name)) = members.next_key()? {
            match &*name {
                "method" => match members.next_value()? {
                    MaybeText::Text(method) => message.method = Some(method),
                    MaybeText::Other => return Err(A::Error::custom("method is not a string")),
                },
                "params" => message.params = members.next_value()?,
                "result" | "error" => {
                    message.answers = true;
                    members.next_value::<IgnoredAny>()?;
                }
                other
                    if folds_to(
                        other,
                        &["jsonrpc", "id", "method", "params", "result", "error"],
                    ) =>
                {
                    return Err(A::Error::custom("a member name in another letter case"));
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
            if !names.insert(name) {
                return Err(A::Error::custom("a member is repeated"));
            }
        }
        Ok(message)
    }
}

impl<'de> Deserialize<'de> for Params<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParamsVisitor)
    }
}

struct ParamsVisitor;

impl<'de> Visitor<'de> for ParamsVisitor {
    type Value = Params<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON-RPC parameters")
    }

    /// By position: allowed by JSON-RPC 2.0 §4.2, of no use in MCP.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Params<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Params::default())
    }

    fn visit_unit<E>(self) -> Result<Params<'de>, E> {
        Ok(Params::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Params<'de>, A::Error> {
        let mut params = Params::default();
        let mut names = Names::default();
        while let Some(Name(name)) = members.next_key()? {
            match &*name {
                "name" => params.name = text(members.next_value()?),
                "uri" => params.uri = text(members.next_value()?),
                other if folds_to(other, &["name", "uri"]) => {
                    return Err(A::Error::custom("a member name in another letter case"));
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
            if !names.insert(name) {
                return Err(A::Error::custom("a member is repeated"));
            }
        }
        Ok(params)
    }
}

fn text(value: MaybeText<'_>) -> Option<Cow<'_, str>> {
    match value {
        MaybeText::Text(text) => Some(text),
        MaybeText::Other => None,
    }
}

/// Whether `name` is one of `exact` to a reader that ignores letter case, but
/// not to us.
fn folds_to(name: &str, exact: &[&str]) -> bool {
    exact
        .iter()
        .any(|exact| name != *exact && name.eq_ignore_ascii_case(exact))
}

impl<'de> Deserialize<'de> for MaybeText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaybeTextVisitor)
    }
}

struct MaybeTextVisitor;

impl<'de> Visitor<'de> for MaybeTextVisitor {
    type Value = MaybeText<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Other)
    }

    fn visit_unit<E>(self) -> Result<MaybeText<'de>, E> {
        Ok(MaybeText::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<MaybeText<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(MaybeText::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<MaybeText<'de>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(MaybeText::Other)
    }
}
