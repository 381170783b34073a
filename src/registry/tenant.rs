//! One tenant in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Client, Origin, Resource};
use crate::{config::RegistrationMode, keys::KeyRing, oauth::resource::normalise};
use arc_swap::{ArcSwap, Guard};

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

/// One client's grants: identity → grant id.
type Grants = papaya::HashMap<Box<str>, Arc<str>>;

/// One issuer with everything that belongs to it.
#[derive(Debug)]
pub struct Tenant {
    name: String,
    issuer: String,
    path: String,
    registration: ArcSwap<RegistrationMode>,
    keys: ArcSwap<KeyRing>,
    resources: ArcSwap<Resources>,
    clients: papaya::HashMap<Box<str>, Arc<Client>>,
    /// Clients that nobody declared: there is a limit to them.
    registered: AtomicUsize,
    /// By client, so that they go with it.
    grants: papaya::HashMap<Box<str>, Arc<Grants>>,
}

impl Tenant {
    /// A tenant without keys, clients and resources but the built-in one.
    #[must_use]
    pub fn new(name: &str, issuer: &str, registration: RegistrationMode) -> Self {
        let mut resources = Resources::default();
        resources.insert(Arc::new(Resource::admin(issuer)));
        let path = url::Url::parse(issuer).map(|u| u.path().trim_end_matches('/').to_owned());
        Self {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            path: path.unwrap_or_default(),
            registration: ArcSwap::from_pointee(registration),
            keys: ArcSwap::default(),
            resources: ArcSwap::from_pointee(resources),
            clients: papaya::HashMap::new(),
            registered: AtomicUsize::new(0),
            grants: papaya::HashMap::new(),
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
        self.clients.pin().get(client_id).cloned()
    }

    /// All its clients, by id.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.clients.pin().values().cloned().collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// How many clients registered themselves.
    #[must_use]
    pub fn registered_clients(&self) -> usize {
        self.registered.load(Ordering::Relaxed)
    }

    /// A client's grant of this identity.
    #[must_use]
    pub fn grant(&self, client_id: &str, identity: &str) -> Option<Arc<str>> {
        let clients = self.grants.pin();
        let grants = clients.get(client_id)?.pin();
        grants.get(identity).cloned()
    }

    pub(super) fn set_registration(&self, mode: RegistrationMode) {
        self.registration.store(Arc::new(mode));
    }

    pub(super) fn set_keys(&self, ring: KeyRing) {
        self.keys.store(Arc::new(ring));
    }

    pub(super) fn put_client(&self, client: Client) {
        let added = usize::from(client.origin() == Origin::Registered);
        let old = self
            .clients
            .pin()
            .insert(client.id().into(), Arc::new(client))
            .cloned();
        let removed = old.map_or(0, |c| usize::from(c.origin() == Origin::Registered));
        self.registered.fetch_add(added, Ordering::Relaxed);
        self.registered.fetch_sub(removed, Ordering::Relaxed);
    }

    pub(super) fn remove_client(&self, client_id: &str) {
        self.grants.pin().remove(client_id);
        if let Some(old) = self.clients.pin().remove(client_id)
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

    pub(super) fn put_grant(&self, client_id: &str, identity: &str, id: &str) {
        let clients = self.grants.pin();
        let grants = clients.get_or_insert_with(client_id.into(), Arc::default);
        // The first one stays: the row that lost the race was not written.
        let _ = grants.pin().try_insert(identity.into(), id.into());
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
