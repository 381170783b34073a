//! A server in the process, and scenes for it.

use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tokio::{
    sync::{OnceCell, watch},
    task::JoinHandle,
};
use writ::{
    admin::{By, apply, tenants::put_administrator},
    app::{App, AppState, Started},
    clock::Clock,
    config::Config,
    entropy::Entropy,
    error::OAuthError,
    journal::{Command, JournalError},
    keys::sealed::Sealer,
    logout,
    registry::Tenant,
    router::{self, Issuers},
    store::{Change, Store},
    streams,
    users::{self, User},
};

use super::{Call, Home, Key, verify};

/// When every scene begins: Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;
/// The issuer, unless a test says otherwise.
pub(crate) const ISSUER: &str = "https://as.example";
/// The administrator's secret, in every tenant.
pub(crate) const ADMIN_SECRET: &str = "writ_cs_of-the-administrator-0123456789";
/// The resource of [`TestApp::weather`] that most scenes use: EdDSA, three tools.
pub(crate) const WEATHER: &str = "https://weather.example/mcp";
/// Another one, with tools of the same and of other names: ES256.
pub(crate) const CALENDAR: &str = "https://calendar.example/mcp";
/// A tenant of [`TestApp::with_tenants`].
pub(crate) const ACME: &str = "acme";
/// The grant type's long name.
pub(crate) const DELEGATION: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The secret that [`TestApp::client`] gives a client.
pub(crate) fn secret_of(client_id: &str) -> String {
    format!("writ_cs_of-{client_id}-0123456789")
}

/// What a first start leaves behind. RSA keys take a tenth of a second each, so it is made once
/// and every test gets its own copy.
async fn first_start(tenants: &[&str]) -> Home {
    let home = Home::empty().await;
    let started = open(&home, ISSUER, Config::default(), 0).await;
    let app = started.app;
    put_administrator(&app, app.registry.root(), ADMIN_SECRET)
        .await
        .unwrap();
    for name in tenants {
        let declaration = json!({ "tenants": [{ "name": name }] });
        let declaration = serde_json::from_value(declaration).unwrap();
        let root = app.registry.root();
        apply::make_true(&app, root, &declaration, By::Operator, false)
            .await
            .unwrap();
        let tenant = app.registry.find(name).unwrap();
        put_administrator(&app, &tenant, ADMIN_SECRET)
            .await
            .unwrap();
    }
    let reader = app.db.clone();
    drop(app);
    started.writer.await.unwrap();
    if home.url().is_none() {
        // The copies are made of the file alone, and the writer's connection may still be open.
        let all = "PRAGMA wal_checkpoint(TRUNCATE)";
        reader.execute_unprepared(all).await.unwrap();
    }
    reader.close().await.unwrap();
    home
}

static PLAIN: OnceCell<Home> = OnceCell::const_new();
static TENANTS: OnceCell<Home> = OnceCell::const_new();

/// A place as a first start leaves it.
pub(crate) async fn after_first_start() -> Home {
    Home::copy(PLAIN.get_or_init(|| first_start(&[])).await).await
}

/// Opens a server; each start has its own seed, so that no start makes what one before it made.
async fn open(home: &Home, issuer: &str, config: Config, seed: u64) -> Started {
    let (config, clock) = (home.settle(config), Clock::manual(NOW));
    let entropy = Entropy::seeded(seed);
    let sealer = Sealer::from_file(&home.path().join("sealing.key"), &entropy).unwrap();
    let store = Store::open(&config.storage).await.unwrap();
    App::start(config, issuer.to_owned(), clock, entropy, sealer, store)
        .await
        .unwrap()
}

/// Limits that a test can reach in a moment.
pub(crate) fn short_limits(config: &mut Config) {
    config.limits.body = 4096;
    config.limits.headers = 8192;
    config.limits.request_timeout = 1;
    config.limits.header_timeout = 1;
}

/// A server with a fresh database, behind no socket.
pub(crate) struct TestApp {
    pub(crate) state: AppState,
    pub(crate) issuer: String,
    pub(crate) directory: Home,
    service: Issuers,
    writer: JoinHandle<()>,
    starts: u64,
    /// What brings security events to receivers.
    delivering: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl TestApp {
    /// A server that has just been started for the first time.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self::start(after_first_start().await, ISSUER, config, 1).await
    }

    /// A server under another issuer.
    pub(crate) async fn at(issuer: &str) -> Self {
        Self::start(after_first_start().await, issuer, Config::default(), 1).await
    }

    /// Answers on a socket too, for as long as the test runs.
    pub(crate) fn listen(&self, listener: tokio::net::TcpListener) {
        let router = axum::Router::new().fallback_service(self.service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// A server with the tenants `acme` and `globex`, which have administrators of their own.
    pub(crate) async fn with_tenants() -> Self {
        Self::tenants_at(ISSUER).await
    }

    /// The same under another issuer.
    pub(crate) async fn tenants_at(issuer: &str) -> Self {
        let template = TENANTS.get_or_init(|| first_start(&[ACME, "globex"]));
        let home = Home::copy(template.await).await;
        Self::start(home, issuer, Config::default(), 1).await
    }

    /// Two MCP servers, and the client `agent` that may use what is not sensitive there.
    pub(crate) async fn weather() -> Self {
        let app = Self::new().await;
        app.declare_weather(None).await;
        app
    }

    /// Declares the scene of [`TestApp::weather`] in a tenant.
    pub(crate) async fn declare_weather(&self, tenant: Option<&str>) {
        let scene = json!({
            "resources": [
                {
                    "id": "weather", "resource": WEATHER, "name": "Weather",
                    "tools": [
                        { "name": "forecast" }, { "name": "history" },
                        { "name": "alert", "sensitive": true },
                    ],
                    "scopes": [
                        { "name": "weather:read", "includes": ["tool:forecast", "tool:history"] },
                        { "name": "weather:all", "includes": ["weather:read", "tool:alert"] },
                    ],
                    "default_scopes": ["tool:forecast"],
                    "open_scopes": ["tool:forecast"],
                    "signing_algorithm": "EdDSA",
                },
                {
                    "id": "calendar", "resource": CALENDAR, "name": "Calendar",
                    "tools": [{ "name": "list" }, { "name": "add" }, { "name": "history" }],
                    "signing_algorithm": "ES256",
                },
            ],
            "clients": [{
                "client_id": "agent", "client_secret": secret_of("agent"),
                "access": [
                    { "resource": "weather", "scopes": ["*"] },
                    { "resource": "calendar", "scopes": ["*"] },
                ],
            }],
        });
        self.apply_in(tenant, scene).await.unwrap();
    }

    async fn start(directory: Home, issuer: &str, config: Config, starts: u64) -> Self {
        let started = open(&directory, issuer, config, starts).await;
        let (state, writer) = (started.app, started.writer);
        let (stop, stopped) = watch::channel(false);
        state.readiness.begin();
        Self {
            delivering: delivering(&state, &stopped),
            stop,
            service: router::service(state.clone()),
            state,
            issuer: issuer.to_owned(),
            directory,
            writer,
            starts,
        }
    }

    /// Another node on the same database, with the clock of this one.
    pub(crate) async fn another_node(&self, name: &str) -> Self {
        let mut config = self.state.config.clone();
        config.storage.node = name.to_owned();
        let app = Self::start(self.directory.neighbour(), &self.issuer, config, 99).await;
        app.advance(self.now() - NOW);
        app
    }

    /// Has the journal make changes.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let audit = Vec::new();
        self.state
            .journal
            .commit(Command::new(changes, audit))
            .await
    }

    /// Stops the server and starts another one on its directory, at the same time of day.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let (now, mut config) = (self.state.clock.clone(), self.state.config.clone());
        change(&mut config);
        let starts = self.starts + 1;
        let (directory, issuer) = self.stop().await;
        let app = Self::start(directory, &issuer, config, starts).await;
        app.state.clock.advance(now.seconds() - NOW);
        app
    }

    /// Stops the server; everything that was accepted is written then.
    pub(crate) async fn stop(self) -> (Home, String) {
        let _ = self.stop.send(true);
        for task in self.delivering {
            task.await.unwrap();
        }
        drop(self.service);
        drop(self.state);
        self.writer.await.unwrap();
        (self.directory, self.issuer)
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, seconds: i64) {
        self.state.clock.advance(seconds);
    }

    /// Seconds since the Unix epoch, as the server sees it.
    pub(crate) fn now(&self) -> i64 {
        self.state.clock.seconds()
    }

    /// A tenant; `None` is the default one.
    pub(crate) fn tenant(&self, name: Option<&str>) -> std::sync::Arc<Tenant> {
        match name {
            None => self.state.registry.root().clone(),
            Some(name) => self.state.registry.find(name).unwrap(),
        }
    }

    // Requests.

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Call::new(self.service.clone(), method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    /// A token request that authenticates by Basic with the secret of [`secret_of`].
    pub(crate) fn ask(&self, client_id: &str, params: &[(&str, &str)]) -> Call {
        self.ask_in(None, client_id, params)
    }

    /// The same at a tenant's token endpoint.
    pub(crate) fn ask_in(
        &self,
        tenant: Option<&str>,
        client_id: &str,
        params: &[(&str, &str)],
    ) -> Call {
        let mut form = params.to_vec();
        if !params.iter().any(|(name, _)| *name == "grant_type") {
            form.push(("grant_type", "client_credentials"));
        }
        self.post(&at(tenant, "/token"))
            .basic(client_id, &secret_of(client_id))
            .form(&form)
    }

    /// A token in the client's own name.
    pub(crate) async fn token(&self, client_id: &str, resource: &str, scope: &str) -> String {
        self.ask(client_id, &[("resource", resource), ("scope", scope)])
            .await
            .token()
    }

    /// An exchange of `subject` by a client; `params` are added.
    pub(crate) fn exchange(&self, client_id: &str, subject: &str, params: &[(&str, &str)]) -> Call {
        let mut form = vec![
            ("grant_type", DELEGATION),
            ("subject_token", subject),
            ("subject_token_type", TOKEN_TYPE),
        ];
        form.extend(params);
        self.ask(client_id, &form)
    }

    /// An exchange in which the client shows its own token as the actor's.
    pub(crate) fn exchange_as_actor(
        &self,
        client_id: &str,
        subject: &str,
        actor: &str,
        params: &[(&str, &str)],
    ) -> Call {
        let mut form = vec![("actor_token", actor), ("actor_token_type", TOKEN_TYPE)];
        form.extend(params);
        self.exchange(client_id, subject, &form)
    }

    /// A token request that authenticates with a client assertion.
    pub(crate) fn ask_with(&self, assertion: &str, params: &[(&str, &str)]) -> Call {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ];
        form.extend(params);
        self.post("/token").form(&form)
    }

    /// A question about a token by a client.
    pub(crate) fn introspect(&self, client_id: &str, token: &str) -> Call {
        self.post("/introspect")
            .basic(client_id, &secret_of(client_id))
            .form(&[("token", token)])
    }

    /// Whether a token is active, as whoever may see every token is told.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        let bearer = self.admin_token(None, "token:introspect").await;
        let answer = self
            .post("/introspect")
            .bearer(&bearer)
            .form(&[("token", token)])
            .await;
        let body = answer.ok();
        let active = body["active"].as_bool().unwrap();
        assert!(active || body == json!({ "active": false }), "{body}");
        active
    }

    /// A client's wish that a token be revoked.
    pub(crate) fn revoke(&self, client_id: &str, token: &str) -> Call {
        self.post("/revoke")
            .basic(client_id, &secret_of(client_id))
            .form(&[("token", token)])
    }

    /// How many events of this kind there are.
    pub(crate) async fn count(&self, kind: &str) -> usize {
        let path = format!("/audit?kind={kind}&limit=1000");
        let events = self.admin("GET", &path).await.await.ok();
        events.as_array().unwrap().len()
    }

    /// The claims of an honest client assertion; each has a `jti` of its own. Members of
    /// `overrides` replace them, and `null` takes one away.
    pub(crate) fn assertion_claims(&self, client_id: &str, overrides: &Value) -> Value {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let jti = format!("assertion-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let now = self.now();
        let mut claims = json!({
            "iss": client_id, "sub": client_id, "aud": self.issuer,
            "iat": now, "exp": now + 60, "jti": jti,
        });
        overlay(&mut claims, overrides);
        claims
    }

    /// A client assertion.
    pub(crate) fn assertion(&self, key: &Key, client_id: &str, overrides: &Value) -> String {
        key.sign(&key.header(), &self.assertion_claims(client_id, overrides))
    }

    /// A token for the admin API of a tenant.
    pub(crate) async fn admin_token(&self, tenant: Option<&str>, scope: &str) -> String {
        let resource = format!("{}{}", self.issuer, at(tenant, "/admin"));
        let form = [
            ("grant_type", "client_credentials"),
            ("resource", &resource),
            ("scope", scope),
        ];
        self.post(&at(tenant, "/token"))
            .basic("admin", ADMIN_SECRET)
            .form(&form)
            .await
            .token()
    }

    /// A request to the admin API by the administrator.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> Call {
        let token = self.admin_token(None, "writ:admin").await;
        self.call(method, &format!("/admin{path}")).bearer(&token)
    }

    // Scenes.

    /// A person with this password.
    pub(crate) async fn person(&self, username: &str, password: &str) -> User {
        self.person_in(None, username, password).await
    }

    /// The same in a tenant.
    pub(crate) async fn person_in(
        &self,
        tenant: Option<&str>,
        username: &str,
        password: &str,
    ) -> User {
        let hash = users::password::hash(&self.state, password).await.unwrap();
        self.person_with(tenant, username, hash).await
    }

    /// A person whose password has this hash.
    pub(crate) async fn person_with(
        &self,
        tenant: Option<&str>,
        username: &str,
        hash: String,
    ) -> User {
        let user = User::new(&self.state, username);
        let tenant = self.tenant(tenant);
        let changes = users::change::added(&self.state, &tenant, &user, Some(hash));
        self.commit(changes).await.unwrap();
        user
    }

    /// Makes a declaration true in a tenant.
    pub(crate) async fn apply_in(
        &self,
        tenant: Option<&str>,
        declaration: Value,
    ) -> Result<Vec<apply::Line>, OAuthError> {
        let declaration = serde_json::from_value(declaration).unwrap();
        let tenant = self.tenant(tenant);
        apply::make_true(&self.state, &tenant, &declaration, By::Operator, false).await
    }

    /// Makes a declaration true.
    #[track_caller]
    pub(crate) fn apply(
        &self,
        declaration: Value,
    ) -> impl Future<Output = Vec<apply::Line>> + use<'_> {
        let caller = std::panic::Location::caller();
        async move {
            self.apply_in(None, declaration)
                .await
                .unwrap_or_else(|why| panic!("{caller}: {why}"))
        }
    }

    /// Declares a client with the secret of [`secret_of`], unless it has another way to
    /// authenticate.
    pub(crate) async fn client(&self, client_id: &str, members: Value) {
        let mut declaration = json!({ "client_id": client_id });
        overlay(&mut declaration, &members);
        let method = declaration.get("token_endpoint_auth_method");
        let by_secret = method.is_none_or(|m| m.as_str().unwrap().starts_with("client_secret"));
        let has_keys = declaration.get("jwks").or(declaration.get("jwks_uri"));
        if by_secret && has_keys.is_none() {
            declaration["client_secret"] = json!(secret_of(client_id));
        }
        self.apply(json!({ "clients": [declaration] })).await;
    }

    /// The client `weather-server`, whose credentials are those of the weather server.
    pub(crate) async fn weather_server(&self) {
        let members = json!({ "grant_types": [DELEGATION], "serves": "weather" });
        self.client("weather-server", members).await;
    }

    /// A client that authenticates with this key and may use the weather server.
    pub(crate) async fn robot(&self, key: &Key, members: Value) {
        let mut declaration = json!({
            "jwks": key.jwks(),
            "access": [{ "resource": "weather", "scopes": ["*"] }],
        });
        overlay(&mut declaration, &members);
        self.client("robot", declaration).await;
    }

    /// The claims of a token, once its signature has been checked by the published keys.
    pub(crate) async fn claims(&self, token: &str) -> Value {
        verify(token, &self.get("/jwks.json").await.ok())
    }
}

/// What brings news to receivers and clients.
fn delivering(app: &AppState, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::from(streams::start(app, stopped));
    tasks.push(tokio::spawn(logout::courier::run(
        app.clone(),
        stopped.clone(),
    )));
    tasks
}

/// A path below a tenant's issuer.
fn at(tenant: Option<&str>, path: &str) -> String {
    match tenant {
        None => path.to_owned(),
        Some(name) => format!("/t/{name}{path}"),
    }
}

/// Members of `over` in place of those of `under`; `null` takes one away.
pub(crate) fn overlay(under: &mut Value, over: &Value) {
    let Some(over) = over.as_object() else { return };
    let members = under.as_object_mut().unwrap();
    for (name, value) in over {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}
