//! What a running server is made of, taken whole by every handler.

pub mod documents;
pub mod providers;
pub mod readiness;
mod strangers;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use sea_orm::{DatabaseConnection, DbErr};
use tokio::{
    sync::{Mutex, Semaphore},
    task::JoinHandle,
};
use writ_resource::{dpop::Nonces, jws::KeySet};

use self::{
    documents::Documents,
    providers::{ProviderError, Providers},
    readiness::Readiness,
};
use crate::{
    audit::{
        Event, FIRST_KEYS, Kind, Record,
        delivery::{self, Deliveries},
        refusals::Refusals,
    },
    clock::Clock,
    cluster::{self, Feed},
    config::{self, Config},
    context,
    edge::{Guesses, Limits},
    entropy::Entropy,
    fetch::{Fetch, FetchError},
    journal::{Command, Journal, JournalError},
    keys::{
        KeyError, KeyState, SigningAlgorithm, refresh::RefreshTokens, rotation, sealed::Sealer,
        ticket::Tickets,
    },
    oauth::claims::AccessClaims,
    registry::{Registry, RegistryError, Tenant},
    store::{self, Change, Starting, Store, outbox},
    telemetry::{metrics::Metrics, traces::Traces},
    web::{Pages, SharedPages},
};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database.
    #[error("{0}: the database cannot be opened: {1}")]
    Database(String, DbErr),
    /// Reading it.
    #[error(transparent)]
    Read(#[from] DbErr),
    /// What is in it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The journal.
    #[error("the first rows cannot be written: {0}")]
    Journal(#[from] JournalError),
    /// What pages look like.
    #[error("pages.theme: {0}")]
    Pages(std::io::Error),
    /// The HTTP client.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A provider that people sign in with.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// A server without its sockets.
#[derive(Debug)]
pub struct App {
    /// Settings.
    pub config: Config,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// State in memory.
    pub registry: Arc<Registry>,
    /// The one writer.
    pub journal: Journal,
    /// For reading lists.
    pub db: DatabaseConnection,
    /// Whether the other nodes' changes are heard.
    pub feed: Arc<Feed>,
    /// The way out.
    pub fetch: Fetch,
    /// How often who may ask.
    pub limits: Limits,
    /// Key sets fetched from clients' `jwks_uri`.
    pub client_keys: moka::future::Cache<String, Arc<FetchedKeys>>,
    /// Metadata documents of clients.
    pub documents: Documents,
    /// Other providers that people sign in with.
    pub providers: Providers,
    /// How much is written down of strangers.
    pub refusals: Refusals,
    /// How far the trail has been handed on.
    pub deliveries: Deliveries,
    /// Numbers.
    pub metrics: Metrics,
    /// Where traces go, if anywhere.
    pub traces: Option<Traces>,
    /// Whether the server has been told to stop, and what it last said of itself.
    pub readiness: Readiness,
    /// Access tokens whose signature has been checked, by the SHA-256 of the token.
    pub verified_tokens: moka::sync::Cache<[u8; 32], Arc<VerifiedToken>>,
    /// Nonces for proofs of possession; every node with this sealing key makes the same.
    pub nonces: Nonces,
    /// Authorization codes.
    pub codes: Tickets,
    /// Refresh tokens.
    pub refresh_tokens: RefreshTokens,
    /// Authorization requests while a person makes up their mind.
    pub interactions: Tickets,
    /// What was decided about them before anybody had signed in.
    pub decisions: Tickets,
    /// What a browser carries from one page to the next.
    pub errands: Tickets,
    /// Logout requests while a person makes up their mind.
    pub logouts: Tickets,
    /// Sign-ins that wait for a second factor.
    pub sign_ins: Tickets,
    /// Keys that an authenticator app is about to learn.
    pub enrolments: Tickets,
    /// Browsers that people have signed in with.
    pub devices: Tickets,
    /// What a browser carries to another provider and back.
    pub departures: Tickets,
    /// Challenges that passkeys answer.
    pub challenges: Tickets,
    /// How often somebody may try to sign in.
    pub guesses: Guesses,
    /// Passwords that may be checked at the same time.
    pub hashing: Arc<Semaphore>,
    /// Makes the tokens of forms.
    pub forms: hmac::Key,
    /// Makes the names by which people are known to single clients.
    pub subjects: hmac::Key,
    /// What people see.
    pub pages: SharedPages,
    /// Held while registry rows are read, changed and written back by an administrator.
    pub administration: Mutex<()>,
}

/// Keys as they were at a client's `jwks_uri`.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// When they were read, Unix seconds.
    pub read_at: i64,
    /// When they were last asked for, with or without an answer, Unix seconds.
    pub asked_at: i64,
}

/// An access token of ours, as far as it does not change: not whether it still holds.
#[derive(Debug)]
pub struct VerifiedToken {
    /// Its claims.
    pub claims: AccessClaims,
    /// The key that signed it.
    pub kid: Box<str>,
    /// Its length, bytes.
    pub length: usize,
}

/// What is taken up by tokens that have been verified, bytes of their text.
const VERIFIED_TOKENS: u64 = 16 * 1024 * 1024;

/// What handlers get.
pub type AppState = Arc<App>;

/// A started server and the writer that ends after it.
pub struct Started {
    /// The server.
    pub app: AppState,
    /// Ends when everything is written and the database is let go.
    pub writer: JoinHandle<()>,
    /// Ends after the server, when all traces have been sent or given up.
    pub exporter: Option<JoinHandle<()>>,
    /// Holds up other nodes that start, until this one has.
    pub starting: Option<Starting>,
}

impl App {
    /// Reads the registry from an open database and makes what a first start needs.
    ///
    /// # Errors
    /// [`StartError`], which names what to mend.
    pub async fn start(
        config: Config,
        issuer: String,
        clock: Clock,
        entropy: Entropy,
        sealer: Sealer,
        store: Store,
    ) -> Result<Started, StartError> {
        let nonces = Nonces::new(&*sealer.derive("dpop nonces")?, config.dpop.nonce_lifetime);
        let broken = |error| StartError::Database(config.storage.place(), error);
        let refresh_tokens = RefreshTokens::new(&*sealer.derive("refresh tokens")?);
        let codes = Tickets::new(&sealer, "code")?;
        let interactions = Tickets::new(&sealer, "interaction")?;
        let decisions = Tickets::new(&sealer, "decision")?;
        let errands = Tickets::new(&sealer, "errand")?;
        let logouts = Tickets::new(&sealer, "logout")?;
        let sign_ins = Tickets::new(&sealer, "sign-in")?;
        let enrolments = Tickets::new(&sealer, "enrolment")?;
        let devices = Tickets::new(&sealer, "device")?;
        let departures = Tickets::new(&sealer, "departure")?;
        let challenges = Tickets::new(&sealer, "challenge")?;
        let guesses = Guesses::new(&config.users, clock.clone());
        let hashing = Arc::new(Semaphore::new(config.users.hashing));
        let subjects = sealer.derive("pairwise subjects")?;
        let subjects = hmac::Key::new(hmac::HMAC_SHA256, &*subjects);
        let forms = hmac::Key::new(hmac::HMAC_SHA256, &*sealer.derive("forms")?);
        let pages = Arc::new(Pages::new(&config.pages).map_err(StartError::Pages)?);
        // First how far everyone has come, then what there is: what comes in between is heard.
        let positions = outbox::positions(&store.reader).await.map_err(broken)?;
        let registry = Arc::new(Registry::open(issuer, config.registration.mode, sealer));
        store::read(&store.reader, None, |rows| Ok(registry.put(rows)?))
            .await
            .map_err(|error| match error {
                StartError::Read(error) => broken(error),
                other => other,
            })?;
        let (journal, refresh, writer) = Journal::start(
            store.writer,
            registry.clone(),
            clock.clone(),
            entropy.clone(),
            config.storage.node.clone(),
            config.storage.queue,
            positions.into_iter().map(|at| (at.name, at.seq)).collect(),
        )
        .await
        .map_err(broken)?;
        let feed = Arc::new(match &store.lease {
            Some(_) => Feed::shared(refresh.clone()),
            None => Feed::default(),
        });
        let client_keys = moka::future::Cache::builder()
            .max_capacity(10_000)
            .time_to_idle(Duration::from_secs(86_400))
            .build();
        let verified_tokens = moka::sync::Cache::builder()
            .weigher(|_, token: &Arc<VerifiedToken>| {
                u32::try_from(token.length).unwrap_or(u32::MAX)
            })
            .max_capacity(VERIFIED_TOKENS)
            .time_to_live(Duration::from_secs(3600))
            .build();
        let fetch = Fetch::new(&config.fetch, &config.events)?;
        let providers = Providers::new(&config)?;
        let deliveries = deliveries(&config.audit);
        let refusals = Refusals::new(config.audit.refusals_per_minute);
        let numbers = journal.state().numbers().clone();
        let (traces, exporter) = Traces::start(&config.telemetry, &entropy).unzip();
        let limits = Limits::new(&config.limits, clock.clone());
        let app = Arc::new(Self {
            config,
            clock,
            entropy,
            registry,
            journal,
            db: store.reader,
            feed: feed.clone(),
            fetch,
            limits,
            client_keys,
            documents: Documents::default(),
            providers,
            refusals,
            deliveries,
            metrics: Metrics::new(numbers),
            traces,
            readiness: Readiness::default(),
            verified_tokens,
            nonces,
            codes,
            refresh_tokens,
            interactions,
            decisions,
            errands,
            logouts,
            sign_ins,
            enrolments,
            devices,
            departures,
            challenges,
            guesses,
            hashing,
            forms,
            subjects,
            pages,
            administration: Mutex::new(()),
        });
        for tenant in app.registry.all() {
            app.ensure_signing_keys(&tenant).await?;
        }
        let storage = &app.config.storage;
        let following = store.lease.map(|lease| {
            cluster::follow(
                storage.url.clone(),
                storage.node.clone(),
                lease,
                refresh,
                feed,
            )
        });
        let writer = tokio::spawn(async move {
            if let Some(following) = following {
                let _ = tokio::join!(writer, following);
            } else {
                let _ = writer.await;
            }
        });
        Ok(Started {
            app,
            writer,
            exporter,
            starting: store.starting,
        })
    }

    /// Makes the active keys a tenant lacks, so that it can sign. The next keys can wait for
    /// [`App::maintain_keys`].
    ///
    /// # Errors
    /// When a key cannot be made or written.
    pub async fn ensure_signing_keys(&self, tenant: &Tenant) -> Result<(), StartError> {
        let known = tenant.keys().rows();
        let missing: Vec<SigningAlgorithm> = SigningAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| tenant.keys().signer(*algorithm).is_err())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let put = self
            .new_keys(tenant.name(), KeyState::Active, missing)
            .await?;
        let audit = vec![self.first_keys(tenant, &put)];
        let changes = vec![Change::Keys {
            tenant: tenant.name().to_owned(),
            known,
            put,
            remove: Vec::new(),
        }];
        Ok(self.journal.commit(Command::new(changes, audit)).await?)
    }

    /// The event that a tenant's trail begins with: it names the keys that sign first.
    #[must_use]
    pub fn first_keys(&self, tenant: &Tenant, keys: &[entity::signing_key::Model]) -> Record {
        let event = Event {
            object: Some(&kids(keys)),
            reason: Some(FIRST_KEYS),
            ..Event::default()
        };
        self.record(tenant, Kind::KeysRotated, &event)
    }

    /// Does what time asks of the keys: publishes next ones, rotates by age, removes old ones.
    ///
    /// # Errors
    /// When a key cannot be made or written.
    pub async fn maintain_keys(&self, tenant: &Tenant) -> Result<(), StartError> {
        self.ensure_signing_keys(tenant).await?;
        let (now, times) = (self.clock.seconds(), rotation::Times::of(&self.config));
        let rows = tenant.keys().rows();
        let plans = SigningAlgorithm::ALL
            .map(|algorithm| (algorithm, rotation::due(algorithm, &rows, now, &times)));
        self.carry_out(tenant, rows, plans.into(), "maintenance")
            .await
    }

    /// Writes what the plans say, which were made from these keys, in one commit; nothing when
    /// they say nothing.
    ///
    /// # Errors
    /// When a key cannot be made or written.
    pub async fn carry_out(
        &self,
        tenant: &Tenant,
        known: Vec<entity::signing_key::Model>,
        plans: Vec<(SigningAlgorithm, rotation::Plan)>,
        reason: &str,
    ) -> Result<(), StartError> {
        let (mut put, mut remove, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (algorithm, plan) in plans {
            wanted.extend(std::iter::repeat_n(algorithm, plan.generate));
            put.extend(plan.put);
            remove.extend(plan.remove);
        }
        if put.is_empty() && remove.is_empty() && wanted.is_empty() {
            return Ok(());
        }
        put.extend(self.new_keys(tenant.name(), KeyState::Next, wanted).await?);
        let kids = kids(&put);
        let event = Event {
            object: Some(&kids),
            reason: Some(reason),
            ..Event::default()
        };
        let audit = vec![self.record(tenant, Kind::KeysRotated, &event)];
        let changes = vec![Change::Keys {
            tenant: tenant.name().to_owned(),
            known,
            put,
            remove,
        }];
        Ok(self.journal.commit(Command::new(changes, audit)).await?)
    }

    /// An audit record of now, with the request that it happened in.
    #[must_use]
    pub fn record(&self, tenant: &Tenant, kind: Kind, event: &Event<'_>) -> Record {
        let request = context::current();
        let event = Event {
            request_id: request.as_ref().map(|request| request.id().as_str()),
            trace_id: request.as_ref().map(|request| request.trace().id()),
            ..event.clone()
        };
        Record::new(tenant.name(), self.clock.millis(), kind, &event)
    }

    /// New keys, made where they do not hold up requests: an RSA key takes a tenth of a second.
    ///
    /// # Errors
    /// When a key cannot be made or sealed.
    pub async fn new_keys(
        &self,
        tenant: &str,
        state: KeyState,
        algorithms: Vec<SigningAlgorithm>,
    ) -> Result<Vec<entity::signing_key::Model>, KeyError> {
        let (registry, entropy) = (self.registry.clone(), self.entropy.clone());
        let (tenant, now) = (tenant.to_owned(), self.clock.seconds());
        tokio::task::spawn_blocking(move || {
            algorithms
                .into_iter()
                .map(|algorithm| {
                    rotation::new_key(&tenant, algorithm, state, now, registry.sealer(), &entropy)
                })
                .collect()
        })
        .await
        .map_err(|_| KeyError::Generation)?
    }
}

/// The names of keys, so that the trail says later which were the issuer's.
fn kids(rows: &[entity::signing_key::Model]) -> String {
    let kids: Vec<&str> = rows.iter().map(|row| row.kid.as_str()).collect();
    kids.join(" ")
}

/// The sinks that are configured, as they may be shown: a URL without what may be secret in it.
fn deliveries(config: &config::Audit) -> Deliveries {
    let webhook = url::Url::parse(&config.export_webhook)
        .map_or_else(|_| String::new(), |url| url.origin().ascii_serialization());
    let sinks = [
        (delivery::FILE, config.export_file.display().to_string()),
        (delivery::WEBHOOK, webhook),
        (delivery::SYSLOG, config.export_syslog.clone()),
    ];
    Deliveries::new(sinks.into_iter().filter(|(_, target)| !target.is_empty()))
}

impl From<JournalError> for crate::error::OAuthError {
    fn from(error: JournalError) -> Self {
        use crate::oauth::error_code::ErrorCode;
        match error {
            JournalError::Full | JournalError::Closed => Self::new(
                ErrorCode::TemporarilyUnavailable,
                "The server is busy: try again in a second.",
            )
            .because(error),
            JournalError::Unavailable(_) => Self::new(
                ErrorCode::TemporarilyUnavailable,
                "The server cannot write to its database at the moment: try again in a second.",
            )
            .because(error),
            JournalError::Conflict | JournalError::Used(_) => {
                Self::conflict("It exists already, or was changed or removed meanwhile.")
            }
            JournalError::Failed(_) => Self::server_error(error),
        }
    }
}

impl App {
    /// Whether what is known here can be vouched for.
    ///
    /// # Errors
    /// `temporarily_unavailable` while the other nodes are not heard: they may have revoked what
    /// still seems to stand.
    pub fn vouch(&self) -> Result<(), crate::error::OAuthError> {
        use crate::oauth::error_code::ErrorCode;
        if self.feed.is_fresh() {
            return Ok(());
        }
        Err(crate::error::OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            "This node has lost touch with its database: try again in a second.",
        ))
    }
}

impl From<KeyError> for crate::error::OAuthError {
    fn from(error: KeyError) -> Self {
        Self::server_error(error)
    }
}

impl From<StartError> for crate::error::OAuthError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Journal(error) => error.into(),
            other => Self::server_error(other),
        }
    }
}

impl From<DbErr> for crate::error::OAuthError {
    fn from(error: DbErr) -> Self {
        use crate::oauth::error_code::ErrorCode;
        if store::is_unstorable(&error) {
            return Self::invalid_request(
                "A value holds a character that cannot be stored, NUL for example.",
            )
            .because(error);
        }
        if store::is_unavailable(&error) {
            return Self::new(
                ErrorCode::TemporarilyUnavailable,
                "The server cannot read its database at the moment: try again in a second.",
            )
            .because(error);
        }
        Self::server_error(error)
    }
}
