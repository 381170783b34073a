//! What a metadata document has to say (OAuth Client ID Metadata Document §4).

use super::rule::{Rule, all, words};
use crate::{
    clients::metadata::{self, Members, Unsupported},
    error::Result as Answer,
    oauth::grant_type::AuthMethod,
    registry::ClientDocument,
};

/// A document that is JSON, and where it was.
pub(super) struct Read {
    url: String,
    members: Members,
    /// Whether a `jwks_uri` may use http on loopback.
    for_tests: bool,
}

/// Methods that need nothing which both sides keep secret: a document is there for everybody to
/// read. The stronger one first.
const METHODS: [AuthMethod; 2] = [AuthMethod::PrivateKeyJwt, AuthMethod::None];

/// What a document has to say.
pub(super) const RULES: [Rule<Read>; 6] = [
    Rule {
        name: "client_id is the URL of the document",
        check: |read| match text(read, "client_id")? {
            Some(id) if id == read.url => Ok(()),
            Some(id) => Err(format!(
                "the document's client_id is '{id}', and not the URL it was found at, {}",
                read.url
            )),
            None => Err("the document has no client_id".to_owned()),
        },
    },
    Rule {
        name: "client_name is there",
        check: |read| match text(read, "client_name")? {
            Some(_) => Ok(()),
            None => Err("the document has no client_name".to_owned()),
        },
    },
    Rule {
        name: "redirect_uris is there",
        check: |read| match read.members.list("redirect_uris").map_err(|e| words(&e))? {
            Some(uris) if !uris.is_empty() => Ok(()),
            _ => Err("the document has no redirect_uris".to_owned()),
        },
    },
    Rule {
        name: "there is no secret in it",
        check: |read| {
            for name in ["client_secret", "client_secret_expires_at"] {
                if read.members.has(name) {
                    return Err(format!("the document must not hold {name}"));
                }
            }
            Ok(())
        },
    },
    Rule {
        name: "it offers a way to authenticate without a shared secret",
        check: |read| method(&read.members).map(drop),
    },
    Rule {
        name: "its metadata hold together",
        check: |read| client(read).map(drop).map_err(|error| words(&error)),
    },
];

impl Read {
    /// Reads the body that was found at a URL.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub(super) fn new(url: &str, body: &[u8], for_tests: bool) -> Result<Self, String> {
        let members = Members::parse(body);
        Ok(Self {
            url: url.to_owned(),
            members: members.ok_or("the document is not a JSON object")?,
            for_tests,
        })
    }

    /// The client that it describes.
    ///
    /// # Errors
    /// What the first rule says that it breaks.
    pub(super) fn client(&self) -> Result<ClientDocument, String> {
        all(&RULES, self)?;
        client(self).map_err(|error| words(&error))
    }

    /// The redirect URIs as the document gives them; those that cannot be used too.
    pub(super) fn redirect_uris(&self) -> Vec<String> {
        let all = self.members.list("redirect_uris").ok().flatten();
        all.unwrap_or_default()
    }
}

fn client(read: &Read) -> Answer<ClientDocument> {
    let method = method(&read.members).unwrap_or(AuthMethod::None);
    metadata::client(&read.members, method, Unsupported::LeftOut, read.for_tests)
}

fn text(read: &Read, name: &'static str) -> Result<Option<String>, String> {
    read.members.text(name).map_err(|error| words(&error))
}

/// How the client authenticates: the first of ours that it offers, or the one it names, or none. A
/// client is known to many servers, and may be able to do more than any of them asks for.
fn method(members: &Members) -> Result<AuthMethod, String> {
    const OFFERED: &str = "token_endpoint_auth_methods_supported";
    const NAMED: &str = "token_endpoint_auth_method";
    let ours = METHODS.map(AuthMethod::as_str).join(" or ");
    if let Some(offered) = members.list(OFFERED).map_err(|error| words(&error))? {
        let has_keys = members.has("jwks") || members.has("jwks_uri");
        let offers = |method: &AuthMethod| offered.iter().any(|name| name == method.as_str());
        let usable = |method: &AuthMethod| has_keys || *method == AuthMethod::None;
        let both = || METHODS.into_iter().filter(|method| offers(method));
        return both()
            .find(usable)
            .or_else(|| both().next())
            .ok_or_else(|| format!("{OFFERED} holds none that is taken here: {ours}"));
    }
    let Some(named) = members.text(NAMED).map_err(|error| words(&error))? else {
        return Ok(AuthMethod::None);
    };
    METHODS
        .into_iter()
        .find(|method| method.as_str() == named)
        .ok_or_else(|| format!("{NAMED} is '{named}', and must be {ours}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const URL: &str = "https://app.example/client.json";

    fn with(change: &Value) -> Result<ClientDocument, String> {
        let mut document = json!({
            "client_id": URL,
            "client_name": "App",
            "redirect_uris": ["http://127.0.0.1/callback"],
        });
        let members = document.as_object_mut().unwrap();
        for (name, value) in change.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
        }
        Read::new(URL, document.to_string().as_bytes(), false)?.client()
    }

    #[test]
    fn what_a_document_must_say_and_must_not() {
        assert!(with(&json!({})).is_ok());
        for (change, why) in [
            (json!({ "client_id": null }), "no client_id"),
            (json!({ "client_id": format!("{URL}/") }), "not the URL"),
            (json!({ "client_id": 7 }), "client_id must be text"),
            (json!({ "client_name": "" }), "no client_name"),
            (json!({ "redirect_uris": null }), "no redirect_uris"),
            (json!({ "redirect_uris": [] }), "no redirect_uris"),
            (json!({ "redirect_uris": "x" }), "list"),
            (
                json!({ "redirect_uris": ["javascript:x"] }),
                "redirect target",
            ),
            (json!({ "client_secret": "x" }), "client_secret"),
            (
                json!({ "client_secret_expires_at": 0 }),
                "client_secret_expires_at",
            ),
            (
                json!({ "token_endpoint_auth_method": "client_secret_basic" }),
                "must be",
            ),
            (
                json!({ "token_endpoint_auth_method": "private_key_jwt" }),
                "jwks",
            ),
            (
                json!({ "token_endpoint_auth_methods_supported": [] }),
                "none that is taken",
            ),
            (
                json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }),
                "none that is taken",
            ),
            (json!({ "grant_types": ["implicit"] }), "grant_types"),
        ] {
            let error = with(&change).unwrap_err();
            assert!(error.contains(why), "{change}: {error}");
        }
        assert!(Read::new(URL, b"[]", false).is_err());
        assert!(Read::new(URL, b"<html>", false).is_err());
    }

    #[test]
    fn the_method_is_what_both_sides_know() {
        let keys = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": "1",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }] });
        let method = |change: &Value| with(change).unwrap().token_endpoint_auth_method;
        assert_eq!(method(&json!({})), AuthMethod::None);
        for (change, wanted) in [
            (
                json!({ "token_endpoint_auth_method": "none" }),
                AuthMethod::None,
            ),
            (
                json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys }),
                AuthMethod::PrivateKeyJwt,
            ),
            (
                json!({
                    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt", "x"],
                    "jwks": keys,
                }),
                AuthMethod::PrivateKeyJwt,
            ),
            (
                json!({
                    "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
                }),
                AuthMethod::None,
            ),
            // What it offers counts, not what it names for servers that read only that.
            (
                json!({
                    "token_endpoint_auth_methods_supported": ["none"],
                    "token_endpoint_auth_method": "client_secret_basic",
                }),
                AuthMethod::None,
            ),
        ] {
            assert_eq!(method(&change), wanted, "{change}");
        }
    }

    #[test]
    fn what_is_meant_for_other_servers_is_left_out() {
        let document = with(&json!({
            "grant_types": [
                "authorization_code", "refresh_token", "client_credentials",
                "urn:ietf:params:oauth:grant-type:device_code",
            ],
            "response_types": ["code", "code id_token"],
            "redirect_uris": ["app://callback", "https://app.example/callback"],
        }));
        let document = document.unwrap();
        assert_eq!(
            document.grant_types,
            ["authorization_code", "refresh_token"]
        );
        assert_eq!(document.metadata.response_types, ["code"]);
        let uris = document.metadata.redirect_uris;
        assert_eq!(uris, ["https://app.example/callback"]);
    }
}
