//! The admin API from the outside: credentials, a token, calls, errors in words.

use std::path::{Path, PathBuf};

use clap::Args;
use http::{StatusCode, header};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::{
    Failure,
    http::{Answer, Http, send},
    token_request::{Asking, Metadata, Proof, client_credentials, discover, said},
};
use crate::{admin::tenants::Credentials, registry::AdminScope};

/// Which server is meant, and as whom it is asked.
#[derive(Clone, Debug, Args)]
pub(super) struct Connection {
    /// The server's issuer, where it is not the one in the credentials file.
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    /// An administrator's credentials, as `writ serve` writes them on its first start.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WRIT_CREDENTIALS",
        default_value = "writ-data/admin.json"
    )]
    credentials: PathBuf,
    /// The tenant; the credentials must be those of its own administrator.
    #[arg(long, global = true, value_name = "NAME")]
    tenant: Option<String>,
}

impl Connection {
    /// The administrator's credentials.
    ///
    /// # Errors
    /// Names the file and what to do.
    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let place = self.credentials.display();
        let text = std::fs::read_to_string(&self.credentials).map_err(|why| {
            Failure::new(format!(
                "{place}: {why}\n  `writ serve` writes this file on its first start, into its data \
                 directory; name it with --credentials FILE or WRIT_CREDENTIALS"
            ))
        })?;
        serde_json::from_str(&text).map_err(|why| {
            Failure::new(format!(
                "{place}: not an administrator's credentials: {why}"
            ))
        })
    }

    /// The issuer that is meant. The credentials file is read only when nothing else says it.
    ///
    /// # Errors
    /// As [`Self::credentials`].
    pub(super) fn issuer(&self) -> Result<String, Failure> {
        let base = match &self.server {
            Some(server) => server.clone(),
            None => self.credentials()?.issuer,
        };
        Ok(self.of_tenant(&base))
    }

    fn of_tenant(&self, issuer: &str) -> String {
        match &self.tenant {
            Some(name) if !issuer.ends_with(&format!("/t/{name}")) => {
                format!("{}/t/{name}", issuer.trim_end_matches('/'))
            }
            _ => issuer.to_owned(),
        }
    }

    /// The issuer for which these credentials are to be used.
    fn agreed(&self, credentials: &Credentials) -> Result<String, Failure> {
        let place = self.credentials.display();
        let (known, tenant) = (&credentials.issuer, self.tenant.as_deref());
        let base = self.server.as_ref().unwrap_or(known);
        let wanted = self.of_tenant(base);
        // --server moves a server to another address; it does not make one tenant another.
        let tenant_of = |issuer: &str| {
            let (_, name) = issuer.rsplit_once("/t/")?;
            (!name.contains('/')).then(|| name.to_owned())
        };
        if tenant_of(known) == tenant_of(&wanted) {
            return Ok(wanted);
        }
        Err(Failure::new(match tenant {
            Some(name) => format!(
                "{place} is for {known}; a tenant is managed by its own administrator, here of \
                 {wanted}\n  Its credentials were shown when the tenant was created (`writ tenant \
                 add {name} --out FILE` keeps them): use them with --credentials FILE"
            ),
            None => format!(
                "{place} is for {known}, not for {wanted}: use --credentials FILE with the file of \
                 that server"
            ),
        }))
    }
}

/// A conversation with the admin API.
#[derive(Debug)]
pub(super) struct Api {
    http: Http,
    server: Metadata,
    token: String,
}

impl Api {
    /// Gets a token for the admin API.
    ///
    /// # Errors
    /// What is in the way, and what to do.
    pub(super) async fn connect(connection: &Connection) -> Result<Self, Failure> {
        let credentials = connection.credentials()?;
        let issuer = connection.agreed(&credentials)?;
        let http = Http::new()?;
        let server = discover(&http, &issuer).await?;
        let resource = format!("{issuer}/admin");
        let proof = Proof::Secret(credentials.client_secret);
        // All that this administrator may do; the server leaves out the rest.
        let scope = AdminScope::ALL.map(AdminScope::as_str).join(" ");
        let asking = Asking {
            client_id: &credentials.client_id,
            proof: &proof,
            resource: &resource,
            scope: Some(&scope),
            bind_to: None,
        };
        let answer = client_credentials(&http, &server, &asking).await?;
        let token = answer["access_token"].as_str().unwrap_or_default();
        Ok(Self {
            http,
            token: token.to_owned(),
            server,
        })
    }

    /// For requests that are not the admin API's.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// GET
    ///
    /// # Errors
    /// The server's words.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.call(Method::GET, path, None).await?)
    }

    /// GET of one page of a list, with where its Link header leads (RFC 8288).
    ///
    /// # Errors
    /// The server's words.
    pub(super) async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<Page<T>, Failure> {
        let answer = self.call(Method::GET, path, None).await?;
        let link = answer.header(header::LINK).unwrap_or_default();
        let base = format!("<{}/admin", self.server.issuer);
        let (target, relation) = link.split_once('>').unwrap_or_default();
        Ok(Page {
            content: read(&answer)?,
            path: target.strip_prefix(&base).unwrap_or_default().to_owned(),
            more: relation.contains("\"next\""),
        })
    }

    /// The issuer that answers.
    pub(super) fn issuer(&self) -> &str {
        &self.server.issuer
    }

    /// POST
    ///
    /// # Errors
    /// The server's words.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        read(&self.call(Method::POST, path, Some(body)).await?)
    }

    /// POST of what is answered with nothing.
    ///
    /// # Errors
    /// The server's words.
    pub(super) async fn send(&self, path: &str, body: &Value) -> Result<(), Failure> {
        self.call(Method::POST, path, Some(body)).await.map(drop)
    }

    /// DELETE
    ///
    /// # Errors
    /// The server's words.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, path, None).await.map(|_| ())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let url = format!("{}/admin{path}", self.server.issuer);
        let mut request = self
            .http
            .request(method, &url)
            .bearer_auth(&self.token)
            .header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = send(request)
            .await
            .map_err(|why| Failure::new(format!("{url}: {why}")))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let body: Value = answer.json().unwrap_or_default();
        let words = said(&body).unwrap_or_else(|| format!("{url} answers {}", answer.status));
        let help = match answer.status {
            StatusCode::FORBIDDEN => "\n  These credentials do not have the scope this needs",
            StatusCode::PAYLOAD_TOO_LARGE => "\n  Declare it in smaller pieces",
            _ => "",
        };
        Err(Failure::new(words + help))
    }
}

/// A part of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    /// What is in it.
    pub content: T,
    /// Where to ask for what comes behind it, below the admin API.
    pub path: String,
    /// Whether there is more now.
    pub more: bool,
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    answer.json().map_err(|why| {
        Failure::new(format!(
            "{why}; is the server of the same version as this command?"
        ))
    })
}

/// A path below the admin API with a name in it, whatever characters that has.
pub(super) fn path(noun: &str, name: &str) -> String {
    let mut url = url::Url::parse("http://localhost").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.extend([noun, name]);
    }
    url.map(|url| url.path().to_owned()).unwrap_or_default()
}

/// A query of the members that have a value.
pub(super) fn query(members: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in members {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("?{}", query.finish())
}

/// Writes credentials for `--credentials`, readable by their owner alone; never over another file.
///
/// # Errors
/// Names the file.
pub(super) fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let place = path.display();
    if path.exists() {
        return Err(Failure::new(format!(
            "{place} exists and is not overwritten"
        )));
    }
    crate::keys::sealed::write_private(path, content)
        .map_err(|why| Failure::new(format!("{place}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(server: Option<&str>, tenant: Option<&str>) -> Connection {
        Connection {
            server: server.map(str::to_owned),
            credentials: "admin.json".into(),
            tenant: tenant.map(str::to_owned),
        }
    }

    fn credentials(issuer: &str) -> Credentials {
        Credentials {
            issuer: issuer.to_owned(),
            client_id: "admin".into(),
            client_secret: "secret".into(),
            resource: format!("{issuer}/admin"),
        }
    }

    #[test]
    fn credentials_are_used_for_their_own_tenant_only() {
        let root = credentials("https://auth.example");
        let acme = credentials("https://auth.example/t/acme");
        let agreed = |server, tenant, file| connection(server, tenant).agreed(file);
        assert_eq!(agreed(None, None, &root).unwrap(), "https://auth.example");
        assert_eq!(
            agreed(None, None, &acme).unwrap(),
            "https://auth.example/t/acme"
        );
        assert_eq!(
            agreed(None, Some("acme"), &acme).unwrap(),
            "https://auth.example/t/acme"
        );
        let moved = agreed(Some("http://127.0.0.1:4455"), Some("acme"), &acme);
        assert_eq!(moved.unwrap(), "http://127.0.0.1:4455/t/acme");
        assert!(agreed(None, Some("acme"), &root).is_err());
        assert!(agreed(None, Some("other"), &acme).is_err());
        assert!(agreed(Some("https://auth.example"), None, &acme).is_err());
    }

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        assert_eq!(path("clients", "agent"), "/clients/agent");
        assert_eq!(path("clients", "a/../b?c#d"), "/clients/a%2F..%2Fb%3Fc%23d");
    }

    #[test]
    fn queries_hold_only_what_was_said() {
        let query = query(&[("after", Some("3".into())), ("kind", None)]);
        assert_eq!(query, "?after=3");
    }
}
