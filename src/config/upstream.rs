//! `[upstream.<id>]`: another OpenID Connect provider that people sign in with.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{SignUp, check::is_host};
use crate::oauth::uri;

/// Longest id, characters.
const LONGEST_ID: usize = 32;

/// `[upstream.<id>]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// What stands on its button; empty means the id.
    pub name: String,
    /// Its issuer, to the letter.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
    /// File with our secret there; none for a public client.
    pub client_secret_file: PathBuf,
    /// PEM file with the private key (PKCS#8) of `private_key_jwt`, instead of a secret.
    pub private_key_file: PathBuf,
    /// What it is asked for.
    pub scopes: String,
    /// Whether whom nobody knows gets an account; as `users.sign_up` when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_up: Option<SignUp>,
    /// Whether it is believed which addresses people have, and they get the account of theirs.
    pub link_by_verified_email: bool,
    /// Domains of the verified addresses that newcomers must have; any when there is none.
    pub allowed_domains: Vec<String>,
    /// Whether it may be at a private address, and use http there.
    pub private_addresses: bool,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: PathBuf::new(),
            private_key_file: PathBuf::new(),
            scopes: "openid profile email".into(),
            sign_up: None,
            link_by_verified_email: false,
            allowed_domains: Vec::new(),
            private_addresses: false,
        }
    }
}

impl Upstream {
    /// The key that is wrong, and how; the empty key is the section itself.
    pub(super) fn check(&self, id: &str, http: bool) -> Result<(), (&'static str, String)> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(letter) {
            let problem = format!(
                "'{id}' cannot name a provider: 1 to {LONGEST_ID} characters of a-z, 0-9 and -"
            );
            return Err(("", problem));
        }
        let issuer = &self.issuer;
        let url = uri::parse(issuer).filter(|url| {
            let scheme = url.scheme();
            let bare = url.query().is_none() && url.fragment().is_none();
            (scheme == "https" || http && scheme == "http") && bare && url.username().is_empty()
        });
        let unset = |text: &str| text.trim().is_empty();
        let domain = |domain: &&String| domain.starts_with("*.") || !is_host(domain);
        let bad_domain = self.allowed_domains.iter().find(domain);
        match () {
            () if unset(issuer) => Err(("issuer", "is not set".into())),
            () if url.is_none() => Err(("issuer", format!("'{issuer}' cannot be an issuer"))),
            () if unset(&self.client_id) => Err(("client_id", "is not set".into())),
            () if !self.scopes.split(' ').any(|scope| scope == "openid") => {
                Err(("scopes", format!("'{}' lacks openid", self.scopes)))
            }
            () if self.has_secret() && self.has_key() => Err((
                "private_key_file",
                "is set, and client_secret_file too: it is one or the other".into(),
            )),
            () => match bad_domain {
                Some(bad) => Err(("allowed_domains", format!("'{bad}' is no domain"))),
                None => Ok(()),
            },
        }
    }

    /// Whether we have a secret there.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        !self.client_secret_file.as_os_str().is_empty()
    }

    /// Whether we sign with a key there.
    #[must_use]
    pub fn has_key(&self) -> bool {
        !self.private_key_file.as_os_str().is_empty()
    }
}
