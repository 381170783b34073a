//! What this server makes of a metadata document, rule by rule, for its developer.

use serde::Serialize;
use serde_json::Value;
use url::Url;
use writ_resource::jws::KeySet;

pub use super::rule::Finding;
use super::{
    document::{self, Read},
    identifier::{self, Candidate},
    read,
};
use crate::{
    config::{Config, MetadataDocuments},
    fetch::{Document, Fetch},
    oauth::{grant_type::AuthMethod, resource::is_loopback},
    registry::ClientDocument,
};

/// What was found out about a client identifier URL.
#[derive(Debug, Serialize)]
pub struct Examined {
    /// The URL.
    pub client_id: String,
    /// Whether a client of this id would be taken.
    pub taken: bool,
    /// Every rule that could be looked at, in the order in which the server does.
    pub rules: Vec<Finding>,
    /// The client it makes, as far as it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Described>,
    /// What is allowed, and better otherwise.
    pub warnings: Vec<String>,
}

/// The client that a document describes.
#[derive(Debug, Serialize)]
pub struct Described {
    /// A name for people.
    pub client_name: String,
    /// How it authenticates here.
    pub token_endpoint_auth_method: AuthMethod,
    /// Grant types that it may use here.
    pub grant_types: Vec<String>,
    /// Where people are sent back to.
    pub redirect_uris: Vec<String>,
    /// How many keys it can sign with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<usize>,
    /// Where its keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Seconds for which the document is kept.
    pub kept_for: i64,
    /// The name of its version, which saves reading it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// Looks at a document exactly as the server does: the same settings, the same way out.
pub async fn examine(config: &Config, fetch: &Fetch, url: &str) -> Examined {
    let settings = &config.metadata_documents;
    let private = config.fetch.allow_private_addresses_for_tests;
    let mut examined = Examined {
        client_id: url.to_owned(),
        taken: false,
        rules: Vec::new(),
        client: None,
        warnings: Vec::new(),
    };
    let candidate = Candidate::new(url, private);
    let of_the_url = identifier::RULES.iter().map(|rule| rule.find(&candidate));
    examined.rules.extend(of_the_url);
    let admitted = identifier::admit(settings, url);
    let admitted = Finding::of("the server's settings let it in", admitted);
    examined.rules.push(admitted);
    if !examined.holds() {
        return examined;
    }
    let answer = fetch.document(read::wanted(settings, url, None)).await;
    let fetched = answer.as_ref().map(drop).map_err(read::why);
    let fetched = Finding::of("it answers with status 200 and JSON, in time", fetched);
    examined.rules.push(fetched);
    if let Ok(answer) = answer {
        examined.look_at(settings, &answer, private);
    }
    examined.ask_for_keys(fetch).await;
    examined
}

impl Examined {
    fn holds(&self) -> bool {
        self.rules.iter().all(|finding| finding.ok)
    }

    fn look_at(&mut self, settings: &MetadataDocuments, answer: &Document, private: bool) {
        let body = answer.body.as_deref().unwrap_or_default();
        let read = Read::new(&self.client_id, body, private);
        let json = read.as_ref().map(drop).map_err(String::clone);
        self.rules
            .push(Finding::of("the document is a JSON object", json));
        let Ok(read) = read else { return };
        let of_the_document = document::RULES.iter().map(|rule| rule.find(&read));
        self.rules.extend(of_the_document);
        self.taken = self.holds();
        if let (true, Ok(client)) = (self.taken, read.client()) {
            self.warn(&read, &client);
            self.client = Some(describe(client, settings, answer));
        }
    }

    /// Without its keys a client is taken, and cannot authenticate.
    async fn ask_for_keys(&mut self, fetch: &Fetch) {
        let Some(client) = &mut self.client else {
            return;
        };
        let Some(url) = &client.jwks_uri else { return };
        let keys = fetch.get(url).await.map_err(|error| read::why(&error));
        let keys = keys.and_then(|body| KeySet::from_jwks(&body).map_err(|why| why.to_string()));
        match keys {
            Ok(keys) => client.keys = Some(keys.keys().len()),
            Err(why) => self.warnings.push(format!(
                "jwks_uri: the keys at {url} cannot be read, so that the client cannot \
                 authenticate: {why}"
            )),
        }
    }

    fn warn(&mut self, read: &Read, client: &ClientDocument) {
        let uris = &client.metadata.redirect_uris;
        let unusable = read.redirect_uris();
        let unusable = unusable.iter().filter(|uri| !uris.contains(uri));
        self.warnings
            .extend(unusable.map(|uri| format!("redirect_uris: '{uri}' cannot be used here")));
        let loopback = |uri: &String| Url::parse(uri).is_ok_and(|url| is_loopback(&url));
        if uris.iter().all(loopback) {
            self.warnings.push(
                "every redirect URI is on loopback: any program on the person's machine can \
                 pretend to be this client, and the consent page says so"
                    .to_owned(),
            );
        }
        if Url::parse(&self.client_id).is_ok_and(|url| url.path() == "/") {
            let root = "the URL is the root of its host, which the specification advises against";
            self.warnings.push(root.to_owned());
        }
        if self.client_id.contains('?') {
            self.warnings
                .push("the URL has a query, which the specification advises against".to_owned());
        }
    }
}

fn describe(client: ClientDocument, settings: &MetadataDocuments, answer: &Document) -> Described {
    let keys = client.jwks.as_ref().map(Value::to_string);
    let keys = keys.and_then(|jwks| KeySet::from_jwks(jwks.as_bytes()).ok());
    Described {
        keys: keys.map(|keys| keys.keys().len()),
        client_name: client.name,
        token_endpoint_auth_method: client.token_endpoint_auth_method,
        grant_types: client.grant_types,
        redirect_uris: client.metadata.redirect_uris,
        jwks_uri: client.jwks_uri,
        kept_for: read::lifetime(settings, answer.fresh_for),
        etag: answer.etag.clone(),
    }
}
