//! `writ resource import`: a live MCP server's tools, proposed as a declaration.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use super::{
    Failure,
    api::{Api, Connection},
    document,
    http::Http,
    mcp::{Inventory, inventory},
    print, resource,
    token_request::inserted,
};
use crate::{
    oauth::{resource::normalise, scope::tool_scope},
    resources::declaration::ResourceDeclaration,
};

/// Longest description taken over: people read it where they decide.
const DESCRIPTION: usize = 160;

/// The rule, as it is printed.
const RULE: &str = "\
# A tool is sensitive unless it says readOnlyHint = true, and not destructiveHint = true: by MCP's
# defaults a tool without annotations may change things. Hints are the server's own claim, so read
# the list. Sensitive tools are never granted by default or by '*'.";

/// Ask a live MCP server for its tools and propose a declaration.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The server's URL, exactly as clients use it.
    url: Url,
    /// A header for the server, for example 'Authorization: Bearer …'; repeat for more.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The resource's id; without it made from the server's name.
    #[arg(long)]
    id: Option<String>,
    /// Write the proposal to this TOML file, for review and `writ apply`.
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    out: Option<PathBuf>,
    /// Declare it at once.
    #[arg(long)]
    apply: bool,
}

impl Import {
    pub(super) async fn run(self, connection: &Connection, as_json: bool) -> Result<(), Failure> {
        let http = Http::new()?;
        let found = inventory(&http, &self.url, &self.header).await?;
        let uri = canonical(&http, &self.url).await;
        let proposal = propose(&uri, self.id.as_deref(), &found);
        let _: ResourceDeclaration = document::fits(proposal.declaration.clone())?;
        if self.apply {
            if !as_json {
                print::line(&proposal.toml());
            }
            let api = Api::connect(connection).await?;
            return resource::create(&api, &proposal.declaration, as_json).await;
        }
        if let Some(path) = &self.out {
            if path.exists() {
                return Err(Failure::new("exists and is not overwritten").at(path));
            }
            std::fs::write(path, proposal.toml() + "\n")
                .map_err(|why| Failure::from(why).at(path))?;
        }
        match (&self.out, as_json) {
            (_, true) => print::json(&json!({ "resources": [proposal.declaration] })),
            (Some(path), false) => print::line(&format!(
                "{} tools, {} of them sensitive. Read {path}, then: writ apply {path}",
                proposal.reasons.len(),
                proposal.sensitive(),
                path = path.display()
            )),
            (None, false) => print::line(&proposal.toml()),
        }
        Ok(())
    }
}

/// Reads `Name: value`.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "not a header's name")?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| "not a header's value")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The URI the server itself publishes (RFC 9728), when that is the URL in other clothes; else
/// the URL.
async fn canonical(http: &Http, url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.set_query(None);
    let typed = match url.path() {
        // Clients leave out the slash that URL types add.
        "/" => url.as_str().trim_end_matches('/').to_owned(),
        _ => url.to_string(),
    };
    let answer = http.get(inserted(&url, "oauth-protected-resource")).await;
    let document: Value = match answer {
        Ok(answer) if answer.status.is_success() => answer.json().unwrap_or_default(),
        _ => Value::Null,
    };
    match document["resource"].as_str() {
        Some(published) if normalise(published) == normalise(&typed) => published.to_owned(),
        _ => typed,
    }
}

/// A declaration to review.
#[derive(Debug)]
struct Proposal {
    declaration: Value,
    /// Why each tool is taken for what it is, in the declaration's order.
    reasons: Vec<&'static str>,
}

fn propose(uri: &str, id: Option<&str>, found: &Inventory) -> Proposal {
    let title = [&found.server["title"], &found.server["name"]]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default();
    let id = id.map_or_else(|| make_id(title, uri), str::to_owned);
    let mut tools = Vec::new();
    let mut defaults = Vec::new();
    let mut reasons = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for tool in &found.tools {
        let Some(name) = tool["name"].as_str().filter(|name| seen.insert(*name)) else {
            continue;
        };
        let (sensitive, reason) = judge(&tool["annotations"]);
        if !sensitive {
            defaults.push(tool_scope(name));
        }
        reasons.push(reason);
        tools.push(json!({
            "name": name,
            "description": summary(tool),
            "sensitive": sensitive,
        }));
    }
    let declaration = json!({
        "id": id,
        "resource": uri,
        "name": print::tame(title),
        "tools": tools,
        "default_scopes": defaults,
    });
    Proposal {
        declaration,
        reasons,
    }
}

/// Whether a person should decide about a tool, by its annotations and MCP's defaults for those
/// that are missing (`readOnlyHint` false).
fn judge(annotations: &Value) -> (bool, &'static str) {
    let hint = |name: &str| annotations[name].as_bool();
    match (hint("readOnlyHint"), hint("destructiveHint")) {
        (Some(true), Some(true)) => (true, "says it only reads, and that it destroys"),
        (Some(true), _) => (false, "only reads"),
        (_, Some(true)) => (true, "destroys"),
        (Some(false), _) => (true, "changes things"),
        (None, _) => (true, "does not say that it only reads"),
    }
}

/// The first sentence or so of what a tool says about itself.
fn summary(tool: &Value) -> String {
    let words = [&tool["description"], &tool["title"]]
        .into_iter()
        .filter_map(Value::as_str)
        .find(|text| !text.trim().is_empty())
        .unwrap_or_default();
    let line = words.trim().lines().next().unwrap_or_default();
    let line = print::tame(line.trim());
    if line.chars().count() <= DESCRIPTION {
        return line.into_owned();
    }
    let cut: String = line.chars().take(DESCRIPTION - 1).collect();
    cut.trim_end().to_owned() + "…"
}

/// An id from the server's name, else from its host.
fn make_id(title: &str, uri: &str) -> String {
    let host = Url::parse(uri)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    [title, host.as_deref().unwrap_or_default(), "mcp"]
        .into_iter()
        .map(|words| {
            let plain: String = words
                .to_ascii_lowercase()
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .take(64)
                .collect();
            let parts: Vec<_> = plain.split('-').filter(|part| !part.is_empty()).collect();
            parts.join("-")
        })
        .find(|id| !id.is_empty())
        .unwrap_or_default()
}

impl Proposal {
    fn sensitive(&self) -> usize {
        let tools = self.declaration["tools"].as_array();
        let tools = tools.map_or(&[][..], Vec::as_slice);
        tools.iter().filter(|t| t["sensitive"] == true).count()
    }

    /// The file to review.
    fn toml(&self) -> String {
        let quoted = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            toml::Value::from(text).to_string()
        };
        let member = |name: &str| quoted(&self.declaration[name]);
        let mut text = format!(
            "{RULE}\n\n[[resources]]\nid = {}\nresource = {}\nname = {}\n",
            member("id"),
            member("resource"),
            member("name"),
        );
        let list = |name: &str| {
            let list = self.declaration[name].as_array();
            list.map_or(&[][..], Vec::as_slice)
        };
        let scopes: Vec<_> = list("default_scopes").iter().map(quoted).collect();
        let _ = writeln!(text, "default_scopes = [{}]", scopes.join(", "));
        for (tool, reason) in list("tools").iter().zip(&self.reasons) {
            let _ = write!(
                text,
                "\n[[resources.tools]]\nname = {}\ndescription = {}\nsensitive = {}  # {reason}\n",
                quoted(&tool["name"]),
                quoted(&tool["description"]),
                tool["sensitive"],
            );
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::apply::Declaration;

    fn found() -> Inventory {
        Inventory {
            server: json!({ "name": "Weather & Co", "version": "1" }),
            tools: vec![
                json!({ "name": "read", "annotations": { "readOnlyHint": true } }),
                json!({ "name": "odd", "annotations": { "readOnlyHint": true, "destructiveHint": true } }),
                json!({ "name": "write", "annotations": { "readOnlyHint": false, "destructiveHint": false } }),
                json!({ "name": "drop", "annotations": { "destructiveHint": true } }),
                json!({ "name": "two \"words\"", "description": "First\u{1b}[2J line.\nSecond." }),
                json!({ "name": "read" }),
            ],
        }
    }

    #[test]
    fn only_what_says_that_it_reads_is_not_sensitive() {
        let proposal = propose("https://mcp.example/mcp", None, &found());
        let tools = proposal.declaration["tools"].as_array().unwrap();
        let sensitive: Vec<_> = tools.iter().map(|t| t["sensitive"] == true).collect();
        assert_eq!(sensitive, [false, true, true, true, true]);
        assert_eq!(proposal.declaration["default_scopes"], json!(["tool:read"]));
        assert_eq!(proposal.declaration["id"], "weather-co");
        assert_eq!(tools[4]["description"], "First [2J line.");
    }

    #[test]
    fn the_proposal_is_a_file_that_apply_reads() {
        let proposal = propose("https://mcp.example/mcp", Some("w"), &found());
        let read: Value = toml::from_str(&proposal.toml()).unwrap();
        let declaration: Declaration = document::fits(read.clone()).unwrap();
        let resource = &declaration.resources[0];
        assert!(resource.document.catalogue().is_ok());
        assert_eq!(resource.document.tools[4].name, "two \"words\"");
        assert_eq!(read["resources"][0], proposal.declaration);
    }

    #[test]
    fn ids_come_from_whatever_there_is() {
        assert_eq!(make_id("My  Server!", "https://a.example"), "my-server");
        assert_eq!(make_id("天気", "https://a.example"), "a-example");
        assert_eq!(make_id("", "x"), "mcp");
    }

    #[test]
    fn headers_are_read_and_kept_out_of_logs() {
        let (name, value) = header("Authorization: Bearer a:b").unwrap();
        assert_eq!(name, "authorization");
        assert_eq!(value, "Bearer a:b");
        assert!(value.is_sensitive());
        assert!(header("Authorization").is_err());
    }
}
