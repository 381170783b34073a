//! What clients have in common, each kept once.
//!
//! Many clients are one piece of software, registered many times: their documents are the same to
//! the letter, but perhaps for the name. Many more differ in an address, and may do exactly the
//! same.

use std::{collections::HashSet, sync::Arc};

use writ_resource::jws::KeySet;

use super::{
    document::{Access, AuthorizationSettings, ClientDocument},
    profile::Profile,
};
use crate::{
    keys::SigningAlgorithm,
    oauth::grant_type::AuthMethod,
    registry::index::{By, Key},
};

/// What the token path asks of a client.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Its set of rules.
    pub profile: Profile,
    /// The one method it authenticates with.
    pub token_endpoint_auth_method: AuthMethod,
    /// Grant types it may use.
    pub grant_types: Vec<String>,
    /// What it may ask for itself. `resource` holds the resource's reference.
    pub access: Vec<Access>,
    /// What it may reach by token exchange.
    pub exchange: Vec<Access>,
    /// Clients that may act for it.
    pub delegates: Vec<String>,
    /// The resource whose server this client is.
    pub serves: Option<String>,
    /// Whether one token may name several resources.
    pub multiple_resources: bool,
    /// Whether it gets only tokens that are bound to a key (RFC 9449 §5.2).
    pub dpop_bound_access_tokens: bool,
    /// Scopes asked for when a request names none (RFC 7591 §2); a default, never a ceiling.
    pub scope: Option<String>,
    /// What holds of its authorization requests.
    pub authorization: AuthorizationSettings,
    /// Whom it shares its names for people with, if they are not everybody's.
    pub sector: Option<String>,
}

impl From<ClientDocument> for Rights {
    fn from(document: ClientDocument) -> Self {
        Self {
            sector: document.sector(),
            profile: document.profile,
            token_endpoint_auth_method: document.token_endpoint_auth_method,
            grant_types: document.grant_types,
            access: document.access,
            exchange: document.exchange,
            delegates: document.delegates,
            serves: document.serves,
            multiple_resources: document.multiple_resources,
            dpop_bound_access_tokens: document.dpop_bound_access_tokens,
            scope: document.metadata.scope,
            authorization: document.authorization,
        }
    }
}

impl Rights {
    /// Whether it may use this grant type.
    #[must_use]
    pub fn may_use(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|g| g == grant_type)
    }

    /// What it may ask for itself at the resource with this reference.
    #[must_use]
    pub fn access(&self, reference: &str) -> Option<&Access> {
        entry(&self.access, reference)
    }

    /// What it may reach by token exchange at the resource with this reference.
    #[must_use]
    pub fn exchange(&self, reference: &str) -> Option<&Access> {
        entry(&self.exchange, reference)
    }

    /// What its ID tokens and logout tokens are signed with (OpenID Connect Core §15.1).
    #[must_use]
    pub fn id_token_algorithm(&self) -> SigningAlgorithm {
        let asked = self.authorization.id_token_signed_response_alg;
        asked.unwrap_or(self.profile.rules().id_token)
    }

    /// Whether it is the server of the resource with this reference.
    #[must_use]
    pub fn serves(&self, reference: &str) -> bool {
        self.serves.as_deref() == Some(reference)
    }
}

fn entry<'a>(list: &'a [Access], reference: &str) -> Option<&'a Access> {
    list.iter().find(|a| a.resource == reference)
}

/// A client's public keys.
#[derive(Debug)]
pub enum Keys {
    /// These (`jwks`).
    Inline(Arc<KeySet>),
    /// Whatever is at this URL (`jwks_uri`).
    At(String),
}

/// A client's document in two parts: the beginning, which holds its name, and the rest.
#[derive(Debug)]
pub(super) struct Text {
    name: Box<str>,
    rest: Arc<Document>,
}

impl Text {
    pub(super) fn whole(&self) -> String {
        [&*self.name, &self.rest.text].concat()
    }

    pub(super) fn len(&self) -> usize {
        self.name.len() + self.rest.text.len()
    }

    pub(super) fn rest(&self) -> &Document {
        &self.rest
    }
}

/// How every document begins that this server has written.
const BEGINNING: &str = "{\"name\":\"";

/// Parts a document after its name. One that begins otherwise has no first part.
fn part(text: &str) -> (&str, &str) {
    let Some(name) = text.strip_prefix(BEGINNING) else {
        return ("", text);
    };
    let mut escaped = false;
    let end = name.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(("", text), |end| text.split_at(BEGINNING.len() + end + 1))
}

/// Whether the first part of a document is one that can be read.
fn is_named(name: &str) -> bool {
    let quoted = name.get(BEGINNING.len() - 1..).unwrap_or_default();
    name.is_empty() || serde_json::from_str::<String>(quoted).is_ok()
}

/// A document that has been read, but for the name.
#[derive(Debug)]
pub(super) struct Document {
    text: Box<str>,
    rights: Arc<Rights>,
    keys: Option<Box<Keys>>,
}

impl Document {
    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(super) fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }
}

/// A document is found by its text.
#[derive(Debug)]
struct Rest;

impl Key<Document> for Rest {
    fn of(document: &Document) -> &str {
        &document.text
    }
}

/// Fewest documents that are looked through for those that nobody uses any more.
const FEW: usize = 1024;

/// Every document and every set of rights that a client has, and for a while what the last one
/// had.
#[derive(Debug, Default)]
pub(in crate::registry) struct Documents {
    documents: HashSet<By<Rest, Document>>,
    rights: HashSet<Arc<Rights>>,
    /// How many documents there were after those without clients had been forgotten.
    in_use: usize,
}

impl Documents {
    /// The document with this text: read, unless a client has it.
    ///
    /// # Errors
    /// A sentence when the document or the keys in it cannot be read.
    pub(super) fn read(&mut self, text: &str) -> Result<Text, String> {
        let (name, rest) = part(text);
        let rest = match self.documents.get(rest) {
            // Of the name it says nothing.
            Some(known) if is_named(name) => known.0.clone(),
            _ => self.read_new(text, rest)?,
        };
        let name = name.into();
        Ok(Text { name, rest })
    }

    fn read_new(&mut self, text: &str, rest: &str) -> Result<Arc<Document>, String> {
        let mut parsed: ClientDocument = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let keys = match (parsed.jwks.take(), parsed.jwks_uri.take()) {
            (Some(jwks), _) => {
                let keys = KeySet::from_jwks(jwks.to_string().as_bytes());
                Some(Keys::Inline(Arc::new(keys.map_err(|e| e.to_string())?)))
            }
            (None, Some(url)) => Some(Keys::At(url)),
            (None, None) => None,
        };
        let document = Arc::new(Document {
            text: rest.into(),
            rights: self.share(parsed.into()),
            keys: keys.map(Box::new),
        });
        self.forget_unused();
        self.documents.insert(By::new(document.clone()));
        Ok(document)
    }

    fn share(&mut self, rights: Rights) -> Arc<Rights> {
        if let Some(known) = self.rights.get(&rights) {
            return known.clone();
        }
        let rights = Arc::new(rights);
        self.rights.insert(rights.clone());
        rights
    }

    /// Whenever there are twice as many: so it costs next to nothing for each.
    fn forget_unused(&mut self) {
        if self.documents.len() < 2 * self.in_use.max(FEW) {
            return;
        }
        self.documents.retain(|one| Arc::strong_count(&one.0) > 1);
        self.rights.retain(|one| Arc::strong_count(one) > 1);
        self.in_use = self.documents.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, scope: &str) -> String {
        let name = serde_json::to_string(name).unwrap();
        let rest = serde_json::json!({
            "profile": "strict", "token_endpoint_auth_method": "client_secret_basic",
            "grant_types": ["client_credentials"], "access": [], "exchange": [], "delegates": [],
            "multiple_resources": false, "metadata": { "scope": scope },
        });
        format!("{{\"name\":{name},{}", &rest.to_string()[1..])
    }

    #[test]
    fn what_is_the_same_is_there_once() {
        let mut documents = Documents::default();
        let texts = [("one", "a"), ("t\"w\\o\\", "a"), ("one", "b")].map(|(n, s)| document(n, s));
        let [one, renamed, other] = texts.each_ref().map(|text| {
            let read = documents.read(text).unwrap();
            assert_eq!(read.whole(), *text);
            read.rest
        });
        assert!(Arc::ptr_eq(&one, &renamed));
        assert!(!Arc::ptr_eq(&one, &other));
        assert_ne!(one.rights(), other.rights());
        // They may be written in any other way, and are kept to the letter.
        for (at, text) in [
            texts[0].replace(',', ", "),
            texts[0].replace("{\"name", "{ \"name"),
        ]
        .iter()
        .enumerate()
        {
            let read = documents.read(text).unwrap();
            assert_eq!(read.whole(), *text);
            assert_eq!(read.name.is_empty(), at == 1);
            assert!(Arc::ptr_eq(&read.rest.rights, &one.rights));
        }
    }

    #[test]
    fn a_name_that_is_no_json_is_refused_also_when_the_rest_is_known() {
        let mut documents = Documents::default();
        let text = document("one", "a");
        documents.read(&text).unwrap();
        for name in ["\\x", "\n", "\\ud800"] {
            let broken = text.replace("one", name);
            assert!(documents.read(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_no_client_has_any_more_is_forgotten() {
        let mut documents = Documents::default();
        let kept = documents.read(&document("kept", "a")).unwrap();
        for number in 0..10 * FEW {
            let scope = number.to_string();
            documents.read(&document(&scope, &scope)).unwrap();
        }
        assert!(documents.documents.len() <= 2 * FEW && documents.rights.len() <= 2 * FEW);
        let again = documents.read(&document("kept", "a")).unwrap();
        assert!(Arc::ptr_eq(&kept.rest, &again.rest));
    }
}
