//! One tenant in memory.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    Client, Origin, Resource, Stream,
    grants::Grants,
    index::{Index, Key},
};
use crate::{config::RegistrationMode, keys::KeyRing, oauth::resource::normalise};
use arc_swap::{ArcSwap, Guard};
use entity::{grant, revoked_token};

/// The tenant whose issuer is the server's own.
pub const DEFAULT: &str = "default";

/// The resources of a tenant, found by id or by any spelling of their URI.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    by_id: HashMap<String, Arc<Resource>>,
    by_uri: HashMap<String, Arc<Resource>>,
}

impl Resources {
    /// Adds one, or puts it in the place of the one with its id.
    pub fn insert(&mut self, resource: Arc<Resource>) {
        self.remove(resource.id());
        self.by_uri
            .insert(resource.normalised().to_owned(), resource.clone());
        self.by_id.insert(resource.id().to_owned(), resource);
    }

    /// Takes one away.
    pub fn remove(&mut self, id: &str) {
        if let Some(old) = self.by_id.remove(id) {
            self.by_uri.remove(old.normalised());
        }
    }

    /// The one with this id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&Arc<Resource>> {
        self.by_id.get(id)
    }

    /// The one this URI names, in whatever letter case and with or without a slash at the end.
    #[must_use]
    pub fn by_uri(&self, uri: &str) -> Option<&Arc<Resource>> {
        // Most clients send the registered form: no parsing then.
        self.by_uri
            .get(uri)
            .or_else(|| self.by_uri.get(&normalise(uri)?))
    }

    /// The one named by id or URI.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Resource>> {
        self.by_id(name).or_else(|| self.by_uri(name))
    }

    /// All, by id.
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<Resource>> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Tenants.
    pub tenants: usize,
    /// Clients.
    pub clients: usize,
    /// Resources.
    pub resources: usize,
    /// Grants.
    pub grants: usize,
}

#[derive(Debug)]
struct ClientId;

impl Key<Client> for ClientId {
    fn of(client: &Client) -> &str {
        client.id()
    }
}

/// One issuer with everything that belongs to it.
#[derive(Debug)]
pub struct Tenant {
    name: String,
    issuer: String,
    path: String,
    registration: ArcSwap<RegistrationMode>,
    keys: ArcSwap<KeyRing>,
    resources: ArcSwap<Resources>,
    clients: Index<ClientId, Client>,
    /// Clients that nobody declared: there is a limit to them.
    registered: AtomicUsize,
    grants: Grants,
    /// Access tokens that were revoked one by one: `jti` and when they expire.
    revoked_tokens: papaya::HashMap<Box<str>, i64>,
    streams: papaya::HashMap<Box<str>, Arc<Stream>>,
    /// By the resources they are about, so that an event finds the few it is for. Nobody on the
    /// token path asks.
    streams_about: Mutex<StreamsAbout>,
}

/// By reference, empty for a stream that is about none, and id.
type StreamsAbout = BTreeMap<(String, String), Arc<Stream>>;

/// Where a stream is found there.
fn about(stream: &Stream) -> impl Iterator<Item = (String, String)> {
    let resources = &stream.document().resources;
    let none = resources.is_empty().then_some("");
    let references = resources.iter().map(String::as_str).chain(none);
    references.map(|reference| (reference.to_owned(), stream.id().to_owned()))
}

impl Tenant {
    /// A tenant without keys, clients and resources but the built-in ones.
    #[must_use]
    pub fn new(name: &str, issuer: &str, registration: RegistrationMode) -> Self {
        let mut resources = Resources::default();
        resources.insert(Arc::new(Resource::admin(issuer)));
        resources.insert(Arc::new(Resource::events(issuer)));
        resources.insert(Arc::new(Resource::userinfo(issuer)));
        let path = url::Url::parse(issuer).map(|u| u.path().trim_end_matches('/').to_owned());
        Self {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            path: path.unwrap_or_default(),
            registration: ArcSwap::from_pointee(registration),
            keys: ArcSwap::default(),
            resources: ArcSwap::from_pointee(resources),
            clients: Index::default(),
            registered: AtomicUsize::new(0),
            grants: Grants::default(),
            revoked_tokens: papaya::HashMap::new(),
            streams: papaya::HashMap::new(),
            streams_about: Mutex::default(),
        }
    }

    /// How much belongs to it, counted without a walk.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            tenants: 1,
            clients: self.clients.len(),
            resources: self.resources.load().by_id.len(),
            grants: self.grants.len(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its issuer, exactly as tokens and metadata say it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The path of its issuer: empty, or with a slash in front and none at the end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is the default tenant, whose administrators are the operators of the server.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT
    }

    /// The URL of one of its endpoints.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Who may register clients.
    #[must_use]
    pub fn registration(&self) -> RegistrationMode {
        **self.registration.load()
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> Guard<Arc<KeyRing>> {
        self.keys.load()
    }

    /// Its resources.
    #[must_use]
    pub fn resources(&self) -> Guard<Arc<Resources>> {
        self.resources.load()
    }

    /// One of its clients.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<Arc<Client>> {
        self.clients.get(client_id)
    }

    /// All its clients, by id.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        let mut all = self.clients_that(|_| true);
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Those of its clients of which something is true, in no order.
    #[must_use]
    pub fn clients_that(&self, holds: impl Fn(&Client) -> bool) -> Vec<Arc<Client>> {
        self.clients.all_that(holds)
    }

    /// How many clients registered themselves.
    #[must_use]
    pub fn registered_clients(&self) -> usize {
        self.registered.load(Ordering::Relaxed)
    }

    /// The id of a client's grant of this identity.
    #[must_use]
    pub fn grant(&self, client_id: &str, identity: &str) -> Option<String> {
        self.grants.find(client_id, identity)
    }

    /// Whether this client still holds this grant, and every grant it was derived from is held.
    #[must_use]
    pub fn holds_grant(&self, client_id: &str, id: &str) -> bool {
        self.grants.holds(client_id, id)
    }

    /// The grant that a client's own grant was carried from: the nearest one that is another
    /// client's, or that began with the client itself.
    #[must_use]
    pub fn carried_from(&self, client_id: &str, id: &str) -> String {
        self.grants.carried_from(client_id, id)
    }

    /// Whether it is to be noted that a grant is in use: once a minute.
    #[must_use]
    pub fn notes_use(&self, grant_id: &str, now: i64) -> bool {
        self.grants.notes_use(grant_id, now)
    }

    /// Whether the access token of this name was revoked.
    #[must_use]
    pub fn is_revoked(&self, jti: &str) -> bool {
        self.revoked_tokens.pin().contains_key(jti)
    }

    /// One of its streams.
    #[must_use]
    pub fn stream(&self, id: &str) -> Option<Arc<Stream>> {
        self.streams.pin().get(id).cloned()
    }

    /// All its streams, by id.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut all: Vec<_> = self.streams.pin().values().cloned().collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Does something with each of its streams, in no order.
    pub fn each_stream(&self, visit: impl FnMut(&Arc<Stream>)) {
        self.streams.pin().values().for_each(visit);
    }

    /// Does something with each of its streams about a resource; those about none are found
    /// under the empty text.
    pub fn each_stream_about(&self, reference: &str, mut visit: impl FnMut(&Arc<Stream>)) {
        let all = self.streams_about();
        let from = (reference.to_owned(), String::new());
        let theirs = all.range(from..).take_while(|((r, _), _)| r == reference);
        theirs.for_each(|(_, stream)| visit(stream));
    }

    fn streams_about(&self) -> MutexGuard<'_, StreamsAbout> {
        let all = self.streams_about.lock();
        all.unwrap_or_else(PoisonError::into_inner)
    }

    /// How many clients it has.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Whether this client holds any grant.
    #[must_use]
    pub fn has_grants(&self, client_id: &str) -> bool {
        self.grants.any_of(client_id)
    }

    pub(super) fn set_registration(&self, mode: RegistrationMode) {
        self.registration.store(Arc::new(mode));
    }

    pub(super) fn set_keys(&self, ring: KeyRing) {
        self.keys.store(Arc::new(ring));
    }

    /// Says whether that has disabled it, or let it in again.
    pub(super) fn put_client(&self, client: Client) -> bool {
        let added = usize::from(client.origin() == Origin::Registered);
        let is_disabled = client.is_disabled();
        let old = self.clients.put(Arc::new(client));
        let was_disabled = old.as_ref().is_some_and(|c| c.is_disabled());
        let removed = old.map_or(0, |c| usize::from(c.origin() == Origin::Registered));
        self.registered.fetch_add(added, Ordering::Relaxed);
        self.registered.fetch_sub(removed, Ordering::Relaxed);
        is_disabled != was_disabled
    }

    pub(super) fn remove_client(&self, client_id: &str) {
        self.grants.end_all_of(client_id);
        if let Some(old) = self.clients.remove(client_id)
            && old.origin() == Origin::Registered
        {
            self.registered.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn change_resources(&self, change: impl Fn(&mut Resources)) {
        self.resources.rcu(|resources| {
            let mut resources = Resources::clone(resources);
            change(&mut resources);
            resources
        });
    }

    pub(super) fn put_grant(&self, row: &grant::Model) {
        let holder = self.client(&row.client_id).map(|client| client.shared_id());
        self.grants.put(row, holder);
    }

    pub(super) fn end_grant(&self, id: &str) {
        self.grants.end(id);
    }

    /// Ends every grant but these.
    pub(super) fn keep_grants(&self, ids: &HashSet<String>) {
        self.grants.keep(ids);
    }

    /// Removes every client but these.
    pub(super) fn keep_clients(&self, ids: &HashSet<String>) {
        for gone in self.clients_that(|client| !ids.contains(client.id())) {
            self.remove_client(gone.id());
        }
    }

    /// Removes every resource but these and the built-in ones.
    pub(super) fn keep_resources(&self, ids: &HashSet<String>) {
        self.change_resources(|resources| {
            let gone: Vec<_> = resources
                .by_id
                .values()
                .filter(|resource| !resource.is_builtin() && !ids.contains(resource.id()))
                .cloned()
                .collect();
            for resource in gone {
                resources.remove(resource.id());
            }
        });
    }

    /// Adds one, or puts it in the place of the one with its id: at no moment is there none.
    pub(super) fn put_stream(&self, stream: Stream) {
        let stream = Arc::new(stream);
        let streams = self.streams.pin();
        let old = streams.insert(stream.id().into(), stream.clone());
        self.found_about(old, Some(&stream));
        stream.live().bell.notify_waiters();
    }

    pub(super) fn remove_stream(&self, id: &str) {
        let streams = self.streams.pin();
        if let Some(old) = streams.remove(id) {
            self.found_about(Some(old), None);
            old.live().bell.notify_waiters();
        }
    }

    /// Has a stream found by what it is about, and no longer as it was.
    fn found_about(&self, old: Option<&Arc<Stream>>, new: Option<&Arc<Stream>>) {
        let mut all = self.streams_about();
        for key in old.into_iter().flat_map(|old| about(old)) {
            all.remove(&key);
        }
        if let Some(new) = new {
            all.extend(about(new).map(|key| (key, new.clone())));
        }
    }

    /// Removes every stream but these.
    pub(super) fn keep_streams(&self, ids: &HashSet<String>) {
        let held: Vec<Box<str>> = self.streams.pin().keys().cloned().collect();
        for id in held.iter().filter(|id| !ids.contains(&***id)) {
            self.remove_stream(id);
        }
    }

    pub(super) fn revoke_token(&self, row: &revoked_token::Model) {
        self.revoked_tokens
            .pin()
            .insert(row.jti.as_str().into(), row.expires_at);
    }

    pub(super) fn forget_expired(&self, before: i64) {
        self.revoked_tokens.pin().retain(|_, end| *end >= before);
    }
}

/// Whether `name` may stand in `/t/{name}`.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn check_tenant_name(name: &str) -> Result<(), String> {
    let fits = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-');
    if !fits {
        return Err(format!(
            "tenant name '{name}': 1 to 63 of a-z, 0-9 and '-', not starting with '-'"
        ));
    }
    if name == DEFAULT {
        return Err("tenant 'default' is the server's own and cannot be declared".into());
    }
    Ok(())
}
