//! The agent's MCP client: `rmcp` over streamable HTTP, with a bearer token.

use std::{borrow::Cow, collections::BTreeMap, error::Error, fmt};

use rmcp::{
    RoleClient,
    model::{CallToolRequestParams, ProtocolVersion},
    service::{
        ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RunningService,
        ServiceError,
    },
    transport::{
        StreamableHttpClientTransport,
        streamable_http_client::{
            AuthRequiredError, InsufficientScopeError, StreamableHttpClientTransportConfig,
        },
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::show::Failed;

/// A connection that carries one token.
pub(super) struct Session(RunningService<RoleClient, ()>);

/// Why a call was not answered with a result.
#[derive(Debug)]
pub(super) enum CallError {
    /// With a challenge that says what is missing.
    Challenged(Challenge),
    /// In any other way.
    Other(String),
}

/// A `WWW-Authenticate` challenge (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9728 §5.1).
#[derive(Debug)]
pub(super) struct Challenge {
    /// The status it came with.
    pub(super) status: u16,
    /// Its parameters.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Session {
    /// Introduces itself to an MCP server with `server/discover`, as revision 2026-07-28 does.
    pub(super) async fn open(
        http: &reqwest::Client,
        url: &str,
        token: Option<&str>,
    ) -> Result<Self, CallError> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(url);
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
        let lifecycle = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        };
        Ok(Self(().serve_with_lifecycle(transport, lifecycle).await?))
    }

    /// The names of the server's tools.
    pub(super) async fn tools(&self) -> Result<Vec<String>, CallError> {
        let tools = self.0.list_all_tools().await?;
        Ok(tools.into_iter().map(|tool| tool.name.into()).collect())
    }

    /// Calls a tool and reads its structured result.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        tool: &'static str,
        arguments: Value,
    ) -> Result<T, CallError> {
        let mut call = CallToolRequestParams::new(Cow::Borrowed(tool));
        if let Value::Object(arguments) = arguments {
            call = call.with_arguments(arguments);
        }
        let result = self.0.call_tool(call).await?;
        if result.is_error == Some(true) {
            return Err(CallError::Other(format!(
                "the tool failed: {:?}",
                result.content
            )));
        }
        let content = result
            .structured_content
            .ok_or_else(|| CallError::Other("no structured content".to_owned()))?;
        serde_json::from_value(content).map_err(|why| CallError::Other(why.to_string()))
    }

    /// Ends it.
    pub(super) async fn close(self) {
        let _ = self.0.cancel().await;
    }
}

impl Challenge {
    /// A parameter, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    fn read(status: u16, header: &str) -> Self {
        Self {
            status,
            parameters: parameters(header),
        }
    }

    /// The challenge that the HTTP client met, somewhere below its error.
    fn below(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<AuthRequiredError>() {
                return Some(Self::read(401, &refused.www_authenticate_header));
            }
            if let Some(refused) = error.downcast_ref::<InsufficientScopeError>() {
                return Some(Self::read(403, &refused.www_authenticate_header));
            }
            cause = error.source();
        }
        None
    }
}

/// The parameters of one `Bearer` challenge.
fn parameters(header: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let (_, mut rest) = header.split_once(' ').unwrap_or((header, ""));
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        let name = name.trim_start_matches([',', ' ']).trim_end();
        parameters.insert(name.to_ascii_lowercase(), value);
        rest = after;
    }
    parameters
}

/// A quoted string without its quotes, and what comes behind it (RFC 9110 §5.6.4).
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

impl From<ClientInitializeError> for CallError {
    fn from(error: ClientInitializeError) -> Self {
        let challenge = match &error {
            ClientInitializeError::TransportError { error, .. } => {
                Challenge::below(error.error.as_ref())
            }
            _ => None,
        };
        challenge.map_or_else(|| Self::Other(error.to_string()), Self::Challenged)
    }
}

impl From<ServiceError> for CallError {
    fn from(error: ServiceError) -> Self {
        let challenge = match &error {
            ServiceError::TransportSend(error) => Challenge::below(error.error.as_ref()),
            _ => None,
        };
        challenge.map_or_else(|| Self::Other(error.to_string()), Self::Challenged)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenged(challenge) => write!(
                f,
                "{} {} {}",
                challenge.status,
                challenge.get("error"),
                challenge.get("error_description")
            ),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl CallError {
    /// The challenge, where one is expected.
    pub(super) fn challenge(self, expected: &str) -> Result<Challenge, Failed> {
        match self {
            Self::Challenged(challenge) => Ok(challenge),
            Self::Other(why) => Err(Failed::new(expected, why)),
        }
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::new("the MCP server answers the call", error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_with_commas_and_quotes_in_them() {
        let read = parameters(r#"Bearer error="a, \"b\" = c", scope="x y" , Realm=z, empty="""#);
        let pairs: Vec<_> = read.iter().map(|(k, v)| (&**k, &**v)).collect();
        let expected = [
            ("empty", ""),
            ("error", r#"a, "b" = c"#),
            ("realm", "z"),
            ("scope", "x y"),
        ];
        assert_eq!(pairs, expected);
        assert!(parameters("Bearer").is_empty());
    }
}
