//! The little of an MCP client that lists tools: JSON-RPC over streamable HTTP.
//!
//! A server is greeted as every revision up to 2025-11-25 wants it. One that knows no greeting
//! (2026-07-28) is asked at once, with who asks inside the request.

use http::{HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use url::Url;

use super::{
    Failure,
    http::{Http, read},
};

/// The revision offered in the greeting.
const GREETED: &str = "2025-11-25";
/// The revision without a greeting.
const STATELESS: &str = "2026-07-28";
/// Pages of tools that are read.
const MAX_PAGES: usize = 100;
/// Bytes of an event stream that are read while the answer is not there.
const MAX_STREAM: usize = 16 * 1024 * 1024;

/// What a server says about itself.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// `serverInfo`
    pub server: Value,
    /// The entries of `tools/list`.
    pub tools: Vec<Value>,
}

/// The first message to a server.
pub(super) fn greeting() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": GREETED,
            "capabilities": {},
            "clientInfo": { "name": "writ", "version": env!("CARGO_PKG_VERSION") },
        },
    })
}

/// A conversation with one server.
struct Conversation<'a> {
    http: &'a Http,
    url: &'a Url,
    headers: &'a [(HeaderName, HeaderValue)],
    session: Option<HeaderValue>,
    /// The revision in use, once it is known.
    revision: Option<String>,
    next_id: u64,
}

/// Asks a server for all its tools.
///
/// # Errors
/// What it answered, and what to do.
pub(super) async fn inventory(
    http: &Http,
    url: &Url,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Inventory, Failure> {
    let mut conversation = Conversation {
        http,
        url,
        headers,
        session: None,
        revision: None,
        next_id: 0,
    };
    let mut inventory = Inventory::default();
    match conversation.greet().await? {
        Some(server) => inventory.server = server,
        None => conversation.revision = Some(STATELESS.to_owned()),
    }
    let mut cursor = Value::Null;
    for _ in 0..MAX_PAGES {
        let params = match &cursor {
            Value::Null => json!({}),
            cursor => json!({ "cursor": cursor }),
        };
        let answer = conversation.ask("tools/list", params).await?;
        let page = result(&answer).map_err(Failure::new)?;
        let tools = page["tools"]
            .as_array()
            .ok_or_else(|| Failure::new(format!("{url}: tools/list answered without tools")))?;
        inventory.tools.extend(tools.iter().cloned());
        if inventory.server.is_null() {
            inventory.server = page["_meta"]["io.modelcontextprotocol/serverInfo"].clone();
        }
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            conversation.part().await;
            return Ok(inventory);
        }
    }
    Err(Failure::new(format!(
        "{url}: more than {MAX_PAGES} pages of tools"
    )))
}

impl Conversation<'_> {
    /// `serverInfo`; `None` when the server knows no greeting.
    async fn greet(&mut self) -> Result<Option<Value>, Failure> {
        let params = greeting()["params"].take();
        let answer = self.ask("initialize", params).await?;
        let Ok(result) = result(&answer) else {
            return Ok(None);
        };
        self.revision = result["protocolVersion"].as_str().map(str::to_owned);
        self.tell("notifications/initialized").await?;
        Ok(Some(result["serverInfo"].clone()))
    }

    /// The JSON-RPC response to one request.
    async fn ask(&mut self, method: &str, mut params: Value) -> Result<Value, Failure> {
        self.next_id += 1;
        let id = self.next_id;
        if self.revision.as_deref() == Some(STATELESS) {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": STATELESS,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo":
                    { "name": "writ", "version": env!("CARGO_PKG_VERSION") },
            });
        }
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let response = self.post(&message, Some(method)).await?;
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = Some(session.clone());
        }
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Failure::new(refusal(self.url, status, method)));
        }
        let answer = response_to(response, id)
            .await
            .map_err(|why| Failure::new(format!("{}: {why}", self.url)))?;
        match answer {
            Some(answer) => Ok(answer),
            None => Err(Failure::new(refusal(self.url, status, method))),
        }
    }

    /// A notification: nothing comes back.
    async fn tell(&self, method: &str) -> Result<(), Failure> {
        let message = json!({ "jsonrpc": "2.0", "method": method });
        let status = self.post(&message, None).await?.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Failure::new(refusal(self.url, status, method)))
    }

    /// Ends the session, where there is one. Servers may not care.
    async fn part(&self) {
        if self.session.is_some() {
            let _ = self.dress(Method::DELETE).send().await;
        }
    }

    async fn post(&self, message: &Value, method: Option<&str>) -> Result<Response, Failure> {
        let mut request = self
            .dress(Method::POST)
            .header(header::ACCEPT, "application/json, text/event-stream")
            .json(message);
        if let Some(method) = method.filter(|_| self.revision.as_deref() == Some(STATELESS)) {
            request = request.header("mcp-method", method);
        }
        let sent = request.send().await;
        sent.map_err(|error| {
            let why = super::http::explain(&error);
            Failure::new(format!("{} cannot be asked: {why}", self.url))
        })
    }

    fn dress(&self, method: Method) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, self.url.clone());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        if let Some(revision) = &self.revision {
            request = request.header("mcp-protocol-version", revision);
        }
        request
    }
}

/// Finds the response to request `id` in a JSON body or an event stream; `None` when the body is
/// something else.
async fn response_to(mut response: Response, id: u64) -> Result<Option<Value>, String> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        let answer = read(response).await?;
        let body: Option<Value> = answer.json().ok();
        return Ok(body.filter(|body| body["jsonrpc"] == "2.0"));
    }
    // The stream may stay open after the answer: read until that is there.
    let mut events = Events::default();
    let mut seen = 0;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| super::http::explain(&error))?
    {
        seen += chunk.len();
        if seen > MAX_STREAM {
            return Err("the event stream does not come to the answer".to_owned());
        }
        for data in events.push(&chunk) {
            if let Ok(message) = serde_json::from_str::<Value>(&data)
                && message["id"] == id
                && message.get("method").is_none()
            {
                return Ok(Some(message));
            }
        }
    }
    Ok(None)
}

/// Takes an event stream apart (HTML Standard, section 9.2.6): the `data` of each event.
#[derive(Debug, Default)]
struct Events {
    line: Vec<u8>,
    data: Option<String>,
    after_return: bool,
}

impl Events {
    fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut done = Vec::new();
        for &byte in chunk {
            let second_half = std::mem::take(&mut self.after_return) && byte == b'\n';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    done.extend(self.end_line());
                }
                byte => self.line.push(byte),
            }
        }
        done
    }

    /// The event that ends with this line, if one does.
    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.data.take();
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            }
        }
        None
    }
}

fn result(answer: &Value) -> Result<&Value, String> {
    answer.get("result").ok_or_else(|| {
        let words = answer["error"]["message"].as_str().unwrap_or("no result");
        format!("the server says: {}", super::print::tame(words))
    })
}

fn refusal(url: &Url, status: StatusCode, method: &str) -> String {
    let help = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "it wants a token; give one with --header 'Authorization: Bearer …'"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "is this the MCP endpoint's own URL, with its path (often /mcp)?"
        }
        status if status.is_redirection() => {
            "it redirects; use the URL it redirects to (often only a slash at the end differs)"
        }
        _ => "is it an MCP server with streamable HTTP?",
    };
    format!("{url} answers {status} to {method}: {help}")
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use axum::{
        Json,
        body::Bytes,
        response::{IntoResponse as _, Response as AnyResponse},
        routing::post,
    };
    use http::HeaderMap;
    use http_body::Frame;

    use super::*;

    #[test]
    fn events_are_found_however_they_are_cut() {
        let stream = b": ping\r\n\r\nevent: message\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\ndata:x\n\n";
        for size in 1..stream.len() {
            let mut events = Events::default();
            let found: Vec<_> = stream.chunks(size).flat_map(|c| events.push(c)).collect();
            assert_eq!(found, ["{\"a\":\n1}", "x"], "cut every {size}");
        }
    }

    async fn listen(app: axum::Router) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Url::parse(&format!("http://{address}/mcp")).unwrap()
    }

    /// A body that says this and then stays open.
    struct Open(Option<String>);

    impl http_body::Body for Open {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.take() {
                Some(text) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
                None => Poll::Pending,
            }
        }
    }

    fn page(request: &Value) -> Value {
        match request["params"]["cursor"].as_str() {
            None => json!({ "tools": [{ "name": "a" }], "nextCursor": "2" }),
            Some(_) => json!({ "tools": [{ "name": "b" }] }),
        }
    }

    /// As before 2026-07-28: greeting, session, and an event stream that stays open.
    async fn greeted(headers: HeaderMap, Json(request): Json<Value>) -> AnyResponse {
        let method = request["method"].as_str().unwrap();
        if method == "initialize" {
            let result = json!({
                "protocolVersion": "2025-06-18",
                "serverInfo": { "name": "greeted" },
            });
            let body = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            return ([("mcp-session-id", "s1")], Json(body)).into_response();
        }
        let in_session = headers.get("mcp-session-id").is_some_and(|s| s == "s1")
            && headers["mcp-protocol-version"] == "2025-06-18"
            && headers["x-extra"] == "yes";
        if !in_session {
            return StatusCode::BAD_REQUEST.into_response();
        }
        if method == "notifications/initialized" {
            return StatusCode::ACCEPTED.into_response();
        }
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": page(&request) });
        let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress" });
        let text = format!("data: {progress}\n\nevent: message\ndata: {answer}\n\n");
        let kind = [(header::CONTENT_TYPE, "text/event-stream")];
        (kind, axum::body::Body::new(Open(Some(text)))).into_response()
    }

    /// As from 2026-07-28: no greeting, everything in the request.
    async fn stateless(headers: HeaderMap, Json(request): Json<Value>) -> AnyResponse {
        let meta = &request["params"]["_meta"];
        if request["method"] != "tools/list"
            || meta["io.modelcontextprotocol/protocolVersion"] != STATELESS
            || headers["mcp-protocol-version"] != STATELESS
            || headers["mcp-method"] != "tools/list"
        {
            let error = json!({ "code": -32601, "message": "Method not found" });
            let body = json!({ "jsonrpc": "2.0", "id": request["id"], "error": error });
            return (StatusCode::NOT_FOUND, Json(body)).into_response();
        }
        let mut result = page(&request);
        result["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": { "name": "stateless" } });
        Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })).into_response()
    }

    #[tokio::test]
    async fn all_pages_of_servers_old_and_new() {
        let http = Http::new().unwrap();
        let extra = [(HeaderName::from_static("x-extra"), "yes".parse().unwrap())];
        for (name, route) in [("greeted", post(greeted)), ("stateless", post(stateless))] {
            let url = listen(axum::Router::new().route("/mcp", route)).await;
            let found = inventory(&http, &url, &extra).await.unwrap();
            assert_eq!(found.server["name"], name);
            assert_eq!(
                found.tools,
                [json!({ "name": "a" }), json!({ "name": "b" })]
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_wants_a_token_says_so() {
        let refuse = post(|| async { StatusCode::UNAUTHORIZED });
        let url = listen(axum::Router::new().route("/mcp", refuse)).await;
        let why = inventory(&Http::new().unwrap(), &url, &[])
            .await
            .unwrap_err();
        assert!(why.to_string().contains("--header"), "{why}");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let url = Url::parse("http://127.0.0.1/mcp").unwrap();
        for (status, help) in [(401, "--header"), (404, "/mcp"), (307, "slash")] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(refusal(&url, status, "initialize").contains(help));
        }
    }
}
