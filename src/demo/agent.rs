//! What an agent's OAuth library does: discovery, registration, tokens.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::Url;
use writ_resource::{
    AccessClaims,
    jws::{KeySet, Unverified},
};

use super::show::{Failed, expect};
use crate::{
    clock::Clock,
    entropy::Entropy,
    keys::{SigningAlgorithm, generate, jws::Signer},
    oauth::grant_type::{
        CLIENT_CREDENTIALS, JWT_BEARER_ASSERTION, TOKEN_EXCHANGE, TOKEN_TYPE_ACCESS_TOKEN,
    },
};

/// Seconds a client assertion is good for.
const ASSERTION_LIFETIME: i64 = 60;

/// An HTTP client for loopback: no proxies, no redirects, bounded in time.
pub(super) fn http_client() -> Result<reqwest::Client, Failed> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(15))
        .tcp_nodelay(true)
        .build()
        .map_err(Failed::from)
}

/// An answer with a JSON body.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    body: Value,
}

/// Sends a request and reads the whole answer.
pub(super) async fn send(request: reqwest::RequestBuilder) -> Result<Answer, Failed> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    let body = serde_json::from_slice(&body)
        .map_err(|why| Failed::new("an answer in JSON", format!("{status}: {why}")))?;
    Ok(Answer { status, body })
}

impl Answer {
    /// The answer when its status is 200 or 201.
    pub(super) fn success(self) -> Result<Self, Failed> {
        match self.status {
            StatusCode::OK | StatusCode::CREATED => Ok(self),
            _ => Err(Failed::new("200 or 201", self.problem())),
        }
    }

    /// A text member.
    pub(super) fn text(&self, name: &str) -> Result<&str, Failed> {
        self.body[name]
            .as_str()
            .ok_or_else(|| Failed::new(format!("the answer has {name}"), "it does not"))
    }

    /// The whole body as `T`.
    pub(super) fn read<T: DeserializeOwned>(self, expected: &str) -> Result<T, Failed> {
        serde_json::from_value(self.body).map_err(|why| Failed::new(expected, why))
    }

    /// The error code (RFC 6749 §5.2), empty when there is none.
    pub(super) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// What the server says about it.
    pub(super) fn description(&self) -> &str {
        self.body["error_description"].as_str().unwrap_or_default()
    }

    /// What went wrong, in one line. The body of a success may hold secrets and is not shown.
    pub(super) fn problem(&self) -> String {
        let (status, error) = (self.status.as_u16(), self.error());
        format!("{status} {error} {}", self.description())
            .trim_end()
            .to_owned()
    }
}

/// The MCP server's document (RFC 9728 §2).
#[derive(Debug, Deserialize)]
pub(super) struct ResourceMetadata {
    pub(super) resource: String,
    pub(super) authorization_servers: Vec<String>,
    #[serde(default)]
    pub(super) scopes_supported: Vec<String>,
}

/// The authorization server's document (RFC 8414 §2).
#[derive(Debug, Deserialize)]
pub(super) struct ServerMetadata {
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
    pub(super) registration_endpoint: String,
    pub(super) jwks_uri: String,
    pub(super) grant_types_supported: Vec<String>,
    pub(super) token_endpoint_auth_methods_supported: Vec<String>,
}

/// Where an issuer's metadata is: the well-known segment stands before its path (RFC 8414 §3.1).
pub(super) fn metadata_url(issuer: &str) -> Result<Url, Failed> {
    let mut url = Url::parse(issuer).map_err(|why| Failed::new("the issuer is a URL", why))?;
    let path = url.path().trim_end_matches('/');
    let path = format!("/.well-known/oauth-authorization-server{path}");
    url.set_path(&path);
    Ok(url)
}

/// Somebody with a key of their own: the agent, and those who act for it.
pub(super) struct Identity {
    pub(super) name: &'static str,
    pub(super) http: reqwest::Client,
    key: Signer,
    clock: Clock,
    entropy: Entropy,
}

impl Identity {
    /// A new Ed25519 key under a name for people.
    pub(super) fn new(
        name: &'static str,
        http: &reqwest::Client,
        clock: &Clock,
        entropy: &Entropy,
    ) -> Result<Self, Failed> {
        let key = generate::pkcs8(SigningAlgorithm::EdDSA, entropy)
            .and_then(|pkcs8| Signer::new(SigningAlgorithm::EdDSA, &pkcs8))
            .map_err(|why| Failed::new("a new Ed25519 key", why))?;
        Ok(Self {
            name,
            http: http.clone(),
            key,
            clock: clock.clone(),
            entropy: entropy.clone(),
        })
    }

    /// The public keys, as they are registered.
    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": [self.key.jwk()] })
    }

    /// The key's name.
    pub(super) fn kid(&self) -> &str {
        self.key.kid()
    }

    /// Registers (RFC 7591 §3.1); gives the answer, which holds the new `client_id`.
    pub(super) async fn register(&self, endpoint: &str) -> Result<Answer, Failed> {
        let metadata = json!({
            "client_name": self.name,
            "grant_types": [CLIENT_CREDENTIALS],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": self.jwks(),
        });
        send(self.http.post(endpoint).json(&metadata)).await
    }

    /// This somebody as a client of an authorization server.
    pub(super) fn client(self, client_id: &str, server: &Arc<ServerMetadata>) -> Client {
        Client {
            id: client_id.to_owned(),
            identity: self,
            server: server.clone(),
        }
    }
}

/// A client that signs in with its key.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) identity: Identity,
    server: Arc<ServerMetadata>,
}

impl Client {
    /// Asks for a token of its own (RFC 6749 §4.4, RFC 8707).
    pub(super) async fn ask(&self, resource: &str, scope: &str) -> Result<Answer, Failed> {
        let grant = ("grant_type", CLIENT_CREDENTIALS);
        self.post(&[grant, ("resource", resource), ("scope", scope)])
            .await
    }

    /// Asks for a narrower token that stands on another one (RFC 8693 §2.1).
    pub(super) async fn exchange(
        &self,
        subject: &str,
        resource: &str,
        scope: &str,
    ) -> Result<Answer, Failed> {
        self.post(&[
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN),
            ("resource", resource),
            ("scope", scope),
        ])
        .await
    }

    async fn post(&self, parameters: &[(&str, &str)]) -> Result<Answer, Failed> {
        let assertion = self.assertion()?;
        let mut form = parameters.to_vec();
        form.push(("client_assertion_type", JWT_BEARER_ASSERTION));
        form.push(("client_assertion", &assertion));
        send(
            self.identity
                .http
                .post(&self.server.token_endpoint)
                .form(&form),
        )
        .await
    }

    /// Proof of who it is, for this issuer alone and for once (RFC 7523 §3).
    fn assertion(&self) -> Result<String, Failed> {
        let now = self.identity.clock.seconds();
        let claims = json!({
            "iss": self.id,
            "sub": self.id,
            "aud": self.server.issuer,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
            "jti": self.identity.entropy.id(),
        });
        self.identity
            .key
            .sign("client-authentication+jwt", claims.to_string().as_bytes())
            .map_err(|why| Failed::new("a signed assertion", why))
    }
}

/// An access token, and what it says. The agent itself never looks inside; the demo does.
pub(super) struct Token {
    secret: String,
    /// Verified with the issuer's published keys.
    pub(super) claims: AccessClaims,
    pub(super) alg: &'static str,
    pub(super) kid: String,
}

impl Token {
    /// Takes the token of a successful answer and verifies its signature.
    pub(super) fn take(answer: Answer, keys: &KeySet) -> Result<Self, Failed> {
        let answer = answer.success()?;
        expect("token_type", answer.text("token_type")?, "Bearer")?;
        let secret = answer.text("access_token")?.to_owned();
        let wrong = |seen: &dyn std::fmt::Display| {
            Failed::new("a JWT signed with a key of the published key set", seen)
        };
        let unverified = Unverified::parse(&secret).map_err(|why| wrong(&why))?;
        if !unverified.is_typ("at+jwt") {
            return Err(wrong(&"another typ than at+jwt"));
        }
        let alg = unverified.alg();
        let key = keys
            .find(unverified.kid(), alg)
            .ok_or_else(|| wrong(&"a key that is not in it"))?;
        let verified = unverified.verify(key).map_err(|why| wrong(&why))?;
        let kid = verified.kid().unwrap_or_default().to_owned();
        let claims: AccessClaims = verified.claims().map_err(|why| wrong(&why))?;
        expect(
            "scope as granted",
            answer.text("scope")?,
            claims.scope.as_deref().unwrap_or_default(),
        )?;
        Ok(Self {
            secret,
            claims,
            alg: alg.as_str(),
            kid,
        })
    }

    /// The token itself.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Enough of the token to recognise it, and not enough to use it.
    pub(super) fn shortened(&self) -> String {
        let start: String = self.secret.chars().take(12).collect();
        format!("{start}… {} characters", self.secret.len())
    }
}
