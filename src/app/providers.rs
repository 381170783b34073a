//! Other providers that people sign in with: who we are there, and what was last read of them.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Deserialize;
use tokio::sync::Mutex;
use writ_resource::jws::KeySet;

use crate::{
    config::{self, Config, SignUp},
    fetch::{Fetch, FetchError},
    keys::{SigningAlgorithm, jws::Signer},
};

/// Seconds after which what was read is read again.
const AGE: i64 = 3600;
/// Seconds that it serves on while the provider does not answer.
const LAST_GOOD: i64 = 86_400;
/// Seconds between two requests to a provider that does not answer, or lacks a key.
const PAUSE: i64 = 10;

/// Why a server does not start with a provider: the key, its file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A file that cannot be read.
    #[error("upstream.{0}: {1}: {2}")]
    File(String, std::path::PathBuf, io::Error),
    /// A file that holds something else.
    #[error("upstream.{0}: {1} {2}")]
    Content(String, std::path::PathBuf, &'static str),
    /// The HTTP client.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// How we say there who we are (OpenID Connect Core §9).
#[derive(Debug)]
pub enum Proof {
    /// Not at all: a public client.
    None,
    /// By a secret.
    Secret(Secret),
    /// By a signature: `private_key_jwt`.
    Key(Box<Signer>),
}

/// A secret, which does not print.
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A provider's metadata, as far as we use it (OpenID Connect Discovery §3, RFC 9207 §3).
#[derive(Clone, Debug, Deserialize)]
pub struct ProviderMetadata {
    /// What it calls itself.
    pub issuer: String,
    /// Where people go.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where more is told of a person.
    pub userinfo_endpoint: Option<String>,
    /// How clients may say who they are; `client_secret_basic` when it is not said.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether its answers name it.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// Whether single claims can be asked for.
    #[serde(default)]
    pub claims_parameter_supported: bool,
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    /// What it is called in URLs of ours.
    pub id: String,
    /// Its section of the configuration.
    pub config: config::Upstream,
    /// Whether whom nobody knows gets an account.
    pub sign_up: bool,
    /// Who we are.
    pub proof: Proof,
    /// The way there.
    pub fetch: Fetch,
    /// Its metadata.
    pub metadata: Kept<ProviderMetadata>,
    /// Its keys.
    pub keys: Kept<KeySet>,
}

impl Provider {
    fn open(id: &str, config: &Config, upstream: &config::Upstream) -> Result<Self, ProviderError> {
        let mut guard = config.fetch.clone();
        guard.allow_private_addresses_for_tests |= upstream.private_addresses;
        Ok(Self {
            id: id.to_owned(),
            config: upstream.clone(),
            sign_up: upstream.sign_up.unwrap_or(config.users.sign_up) == SignUp::Open,
            proof: proof(id, upstream)?,
            fetch: Fetch::new(&guard, &config.events)?,
            metadata: Kept::default(),
            keys: Kept::default(),
        })
    }

    /// What stands on its button.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.config.name.trim() {
            "" => &self.id,
            name => name,
        }
    }
}

fn proof(id: &str, upstream: &config::Upstream) -> Result<Proof, ProviderError> {
    if upstream.has_secret() {
        let (key, file) = (
            format!("{id}.client_secret_file"),
            &upstream.client_secret_file,
        );
        let text = fs::read_to_string(file);
        let text = text.map_err(|why| ProviderError::File(key.clone(), file.clone(), why))?;
        return match text.trim() {
            "" => Err(ProviderError::Content(
                key,
                file.clone(),
                "is empty: write the secret into it that the provider has given",
            )),
            secret => Ok(Proof::Secret(Secret(secret.to_owned()))),
        };
    }
    if upstream.has_key() {
        let key = format!("{id}.private_key_file");
        return signer(key, &upstream.private_key_file);
    }
    Ok(Proof::None)
}

fn signer(key: String, file: &Path) -> Result<Proof, ProviderError> {
    let pem = fs::read(file).map_err(|why| ProviderError::File(key.clone(), file.into(), why))?;
    let found = PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .ok()
        .and_then(|der| {
            let open = |algorithm| Signer::new(algorithm, der.secret_pkcs8_der()).ok();
            SigningAlgorithm::ALL.into_iter().find_map(open)
        });
    let signer = found.ok_or_else(|| {
        ProviderError::Content(
            key,
            file.into(),
            "holds no private key in PKCS#8 and PEM (RSA, P-256 or Ed25519): openssl genpkey \
             makes one",
        )
    })?;
    Ok(Proof::Key(Box::new(signer)))
}

/// All of them, by their ids.
#[derive(Debug, Default)]
pub struct Providers(BTreeMap<String, Arc<Provider>>);

impl Providers {
    /// As configured. Nothing is fetched: one that is down keeps no server from starting.
    ///
    /// # Errors
    /// [`ProviderError`] when a file is not what it should be.
    pub fn new(config: &Config) -> Result<Self, ProviderError> {
        let all = config.upstream.iter().map(|(id, upstream)| {
            let provider = Provider::open(id, config, upstream)?;
            Ok((id.clone(), Arc::new(provider)))
        });
        all.collect::<Result<_, _>>().map(Self)
    }

    /// The one with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Provider>> {
        self.0.get(id)
    }

    /// All.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values()
    }
}

/// Something that is read again and again. Whoever asks while it is being read waits, and takes
/// what comes.
#[derive(Debug)]
pub struct Kept<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    good: Option<(Arc<T>, i64)>,
    /// When it was last asked for, with or without an answer, Unix seconds.
    asked_at: i64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(State {
            good: None,
            asked_at: i64::MIN,
        }))
    }
}

impl<T> Kept<T> {
    /// What was read not long ago and `fits`, or what is read now. While the other side does not
    /// answer it is what was last good; nothing when there is none.
    pub async fn get<R>(
        &self,
        now: i64,
        fits: impl Fn(&T) -> bool,
        read: impl FnOnce() -> R,
    ) -> Option<Arc<T>>
    where
        R: Future<Output = Option<T>>,
    {
        let mut state = self.0.lock().await;
        if let Some((good, at)) = &state.good
            && now < at + AGE
            && fits(good)
        {
            return Some(good.clone());
        }
        if now >= state.asked_at.saturating_add(PAUSE) {
            let read = read().await;
            state.asked_at = now;
            if let Some(read) = read {
                state.good = Some((Arc::new(read), now));
            }
        }
        let (good, at) = state.good.as_ref()?;
        (now < at + LAST_GOOD).then(|| good.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_wrong_is_named_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("corp");
        let with = |upstream: config::Upstream| {
            let upstream = BTreeMap::from([("corp".to_owned(), upstream)]);
            let providers = Providers::new(&Config {
                upstream,
                ..Config::default()
            });
            providers.map(drop).map_err(|error| error.to_string())
        };
        let secret = || config::Upstream {
            client_secret_file: path.clone(),
            ..config::Upstream::default()
        };
        let key = || config::Upstream {
            private_key_file: path.clone(),
            ..config::Upstream::default()
        };
        let place = path.display().to_string();
        let error = with(secret()).unwrap_err();
        let wanted = format!("upstream.corp.client_secret_file: {place}: No such file");
        assert!(error.starts_with(&wanted), "{error}");
        fs::write(&path, "\n").unwrap();
        let error = with(secret()).unwrap_err();
        assert!(error.contains("is empty: write the secret"), "{error}");
        let error = with(key()).unwrap_err();
        let wanted = format!("upstream.corp.private_key_file: {place} holds no private key");
        assert!(error.starts_with(&wanted), "{error}");
        fs::write(&path, "s3cret\n").unwrap();
        with(secret()).unwrap();
        with(config::Upstream::default()).unwrap();
    }

    #[tokio::test]
    async fn what_was_good_serves_on_for_a_day() {
        let kept = Kept::<i64>::default();
        let ask = async |now, answer: Option<i64>| {
            let found = kept.get(now, |_| true, async || answer).await;
            found.map(|found| *found)
        };
        assert_eq!(ask(0, None).await, None);
        // Not asked again at once.
        assert_eq!(ask(PAUSE - 1, Some(1)).await, None);
        assert_eq!(ask(PAUSE, Some(1)).await, Some(1));
        assert_eq!(ask(PAUSE + AGE - 1, Some(2)).await, Some(1));
        assert_eq!(ask(PAUSE + AGE, None).await, Some(1));
        assert_eq!(ask(LAST_GOOD + PAUSE - 1, None).await, Some(1));
        assert_eq!(ask(LAST_GOOD + 3 * PAUSE, None).await, None);
        assert_eq!(ask(LAST_GOOD + 4 * PAUSE, Some(3)).await, Some(3));
    }
}
