//! What the token path reads: tenants, clients, resources, grants and keys, in memory.
//!
//! The database is read once, at start. After that the journal's writer alone changes what is
//! here: it applies every change it has committed before it answers, so a request that follows an
//! answer sees it, and what it hears of other nodes' changes. Readers take no lock.

mod client;
mod grants;
mod index;
mod resource;
mod signals;
mod stream;
mod tenant;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use entity::{
    client as client_row, grant, resource as resource_row, revoked_token, signing_key,
    stream as stream_row, tenant as tenant_row,
};
use tokio::sync::Notify;

use self::client::Documents;
pub use self::{
    client::{
        Access, AuthorizationSettings, Client, ClientDocument, Keys, Origin, Profile, Receiver,
        RegisteredMetadata, RequestAlgorithm, Rights, Rules, SubjectType,
    },
    resource::{
        ADMIN_ID, AdminScope, EVENTS_ID, EventsScope, Resource, ResourceDocument, ScopeDeclaration,
        Tool, USERINFO_ID, builtin_document,
    },
    signals::{Signal, Signals},
    stream::{Delivery, Excluded, Live, Status, Stream, StreamDocument, SubjectStyle},
    tenant::{DEFAULT, Resources, Sizes, Tenant, check_tenant_name},
};
use crate::{
    config::RegistrationMode,
    keys::{KeyError, KeyRing, sealed::Sealer},
    store::{Change, Rows, outbox::Heard},
};

/// A row that cannot be read, which only a foreign hand can have written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A key.
    #[error("tenant '{0}': {1}")]
    Key(String, KeyError),
    /// A document.
    #[error("{0} '{1}' of tenant '{2}' cannot be read: {3}")]
    Row(&'static str, String, String, String),
}

/// Whatever exists, by tenant and id.
#[derive(Debug, Default)]
pub struct Standing {
    tenants: HashSet<String>,
    clients: HashMap<String, HashSet<String>>,
    resources: HashMap<String, HashSet<String>>,
    grants: HashMap<String, HashSet<String>>,
    streams: HashMap<String, HashSet<String>>,
}

impl Standing {
    /// Notes rows as they are read.
    pub fn note(&mut self, rows: &Rows) {
        let mut add = |of: fn(&mut Self) -> &mut HashMap<_, HashSet<_>>, tenant: &str, id: &str| {
            let ids = of(self).entry(tenant.to_owned()).or_default();
            ids.insert(id.to_owned());
        };
        match rows {
            Rows::Tenants(rows) => {
                let names = rows.iter().map(|row| row.name.clone());
                self.tenants.extend(names);
            }
            Rows::Clients(rows) => rows
                .iter()
                .for_each(|row| add(|s| &mut s.clients, &row.tenant, &row.client_id)),
            Rows::Resources(rows) => rows
                .iter()
                .for_each(|row| add(|s| &mut s.resources, &row.tenant, &row.id)),
            Rows::Grants(rows) => rows
                .iter()
                .for_each(|row| add(|s| &mut s.grants, &row.tenant, &row.id)),
            Rows::Streams(rows) => rows
                .iter()
                .for_each(|row| add(|s| &mut s.streams, &row.tenant, &row.id)),
            // Keys and signals are replaced whole, and a token that was revoked stays so.
            Rows::Keys(_) | Rows::RevokedTokens(_) | Rows::Signals { .. } => {}
        }
    }
}

fn by_tenant<T>(rows: Vec<T>, tenant: impl Fn(&T) -> &String) -> HashMap<String, Vec<T>> {
    let mut sorted: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        sorted.entry(tenant(&row).clone()).or_default().push(row);
    }
    sorted
}

/// All tenants of this server.
#[derive(Debug)]
pub struct Registry {
    issuer: String,
    root: Arc<Tenant>,
    tenants: ArcSwap<HashMap<String, Arc<Tenant>>>,
    signals: Signals,
    /// Rung when a stream has come, changed or gone, or a receiver is disabled or let in again.
    streams_changed: Notify,
    /// What the clients of all tenants share. Only whoever changes a client looks here.
    documents: Mutex<Documents>,
    sealer: Sealer,
    default_registration: RegistrationMode,
}

impl Registry {
    /// One with nothing in it but the tenant of the issuer itself.
    #[must_use]
    pub fn open(issuer: String, default_registration: RegistrationMode, sealer: Sealer) -> Self {
        let root = Arc::new(Tenant::new(DEFAULT, &issuer, default_registration));
        Self {
            tenants: ArcSwap::from_pointee(HashMap::from([(DEFAULT.to_owned(), root.clone())])),
            issuer,
            root,
            signals: Signals::default(),
            streams_changed: Notify::new(),
            documents: Mutex::default(),
            sealer,
            default_registration,
        }
    }

    /// Takes rows as they are read from the database.
    ///
    /// # Errors
    /// When a row cannot be read or a key cannot be opened.
    pub fn put(&self, rows: Rows) -> Result<(), RegistryError> {
        match rows {
            Rows::Tenants(rows) => rows.iter().for_each(|row| self.put_tenant(row)),
            Rows::Keys(rows) => {
                for (tenant, rows) in by_tenant(rows, |row| &row.tenant) {
                    if let Some(tenant) = self.find(&tenant) {
                        self.put_keys(&tenant, &rows)?;
                    }
                }
            }
            Rows::Resources(rows) => {
                for (tenant, rows) in by_tenant(rows, |row| &row.tenant) {
                    let resources = rows.iter().map(Resource::from_row);
                    let resources = resources.collect::<Result<Vec<_>, _>>()?;
                    if let Some(tenant) = self.find(&tenant) {
                        tenant.change_resources(|all| {
                            resources.iter().for_each(|one| all.insert(one.clone()));
                        });
                    }
                }
            }
            Rows::Clients(rows) => rows.iter().try_for_each(|row| self.put_client(row))?,
            Rows::Grants(rows) => rows.iter().for_each(|row| self.put_grant(row)),
            Rows::Streams(rows) => rows.iter().try_for_each(|row| self.put_stream(row))?,
            Rows::RevokedTokens(rows) => rows.iter().for_each(|row| self.revoke_token(row)),
            Rows::Signals { head, rows } => self.signals.load(head, rows)?,
        }
        Ok(())
    }

    /// The tenant at the root of the issuer.
    #[must_use]
    pub fn root(&self) -> &Arc<Tenant> {
        &self.root
    }

    /// The tenant of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Tenant>> {
        self.tenants.load().get(name).cloned()
    }

    /// All tenants by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let mut all: Vec<_> = self.tenants.load().values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// How much there is, in all tenants.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let tenants = self.all();
        let own = tenants.iter().map(|tenant| tenant.sizes());
        own.fold(Sizes::default(), |sum, one| Sizes {
            tenants: sum.tenants + one.tenants,
            clients: sum.clients + one.clients,
            resources: sum.resources + one.resources,
            grants: sum.grants + one.grants,
        })
    }

    /// What receivers are told, in order.
    #[must_use]
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Waits until a stream has come, changed or gone since the last time, or a receiver was
    /// disabled or let in again. For one who waits.
    pub async fn streams_changed(&self) {
        self.streams_changed.notified().await;
    }

    /// Opens sealed keys.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Whether a change could be applied: looked at before it is committed, so that memory and
    /// database cannot part.
    ///
    /// # Errors
    /// When the row cannot be read back.
    pub fn check(&self, change: &Change) -> Result<(), RegistryError> {
        match change {
            Change::PutClient { row, .. } => Client::from_row(row).map(drop),
            Change::PutResource { row, .. } => Resource::from_row(row).map(drop),
            Change::PutStream { row, .. } => Stream::from_row(row, Arc::default()).map(drop),
            Change::Signal(row) => Signal::from_row(row.clone()).map(drop),
            _ => Ok(()),
        }
    }

    /// Applies a change that has been committed.
    ///
    /// # Errors
    /// When the row cannot be read, which [`Registry::check`] rules out beforehand.
    pub fn apply(&self, change: &Change) -> Result<(), RegistryError> {
        match change {
            Change::PutTenant(row) => self.put_tenant(row),
            Change::RemoveTenant(name) => self.remove_tenant(name),
            Change::PutClient { row, .. } => self.put_client(row)?,
            Change::RemoveClient { tenant, client_id } => {
                if let Some(tenant) = self.find(tenant) {
                    tenant.remove_client(client_id);
                }
            }
            Change::PutResource { row, .. } => self.put_resource(row)?,
            Change::RemoveResource { tenant, id } => {
                if let Some(tenant) = self.find(tenant) {
                    tenant.change_resources(|resources| resources.remove(id));
                }
            }
            Change::PutGrant(row) => self.put_grant(row),
            Change::GrantsEnded { tenant, ids, .. } => {
                if let Some(tenant) = self.find(tenant) {
                    for id in ids {
                        tenant.end_grant(id);
                    }
                }
            }
            Change::RevokeToken { row, .. } => self.revoke_token(row),
            Change::Signal(row) => self.signals.add(row)?,
            Change::PutStream { row, .. } => self.put_stream(row)?,
            Change::RemoveStream { tenant, id } => {
                if let Some(tenant) = self.find(tenant) {
                    tenant.remove_stream(id);
                }
                self.streams_changed.notify_one();
            }
            Change::ForgetExpired { before } => {
                for tenant in self.tenants.load().values() {
                    tenant.forget_expired(*before);
                }
            }
            Change::Keys {
                tenant,
                put,
                remove,
                ..
            } => {
                if let Some(tenant) = self.find(tenant) {
                    let mut rows: Vec<signing_key::Model> = tenant
                        .keys()
                        .keys()
                        .iter()
                        .map(|k| k.row.clone())
                        .filter(|k| !remove.contains(&k.kid))
                        .filter(|k| put.iter().all(|p| p.kid != k.kid))
                        .collect();
                    rows.extend(put.iter().cloned());
                    self.put_keys(&tenant, &rows)?;
                }
            }
            // What was made in the place of EndGrants is GrantsEnded.
            Change::EndGrants { .. }
            | Change::Authorization(_)
            | Change::ForgetOrphanedGrants
            | Change::ForgetUnusedClients { .. }
            | Change::UseOnce { .. }
            | Change::People(_)
            | Change::Logout(_)
            | Change::AuditCursors(_)
            | Change::CutAudit { .. }
            | Change::Progress(_)
            | Change::StreamActive { .. }
            | Change::HoldStreams(_)
            | Change::ForgetSignals { .. }
            | Change::ForgetOutbox { .. } => {}
        }
        Ok(())
    }

    /// Takes over what other nodes committed.
    ///
    /// # Errors
    /// When a row cannot be read or a key cannot be opened.
    pub fn hear(&self, heard: Heard) -> Result<(), RegistryError> {
        match heard {
            Heard::Changes(changes) => changes.iter().try_for_each(|change| self.apply(change)),
            // Its rows follow.
            Heard::Tenant(_) => Ok(()),
            Heard::TenantEnded(name) => {
                self.remove_tenant(&name);
                Ok(())
            }
            Heard::Keys(name, rows) => match self.find(&name) {
                Some(tenant) => self.put_keys(&tenant, &rows),
                None => Ok(()),
            },
            Heard::Grants(name, rows) => {
                let ids = rows.iter().map(|row| row.id.clone()).collect();
                if let Some(tenant) = self.find(&name) {
                    tenant.keep_grants(&ids);
                }
                self.put(Rows::Grants(rows))
            }
            Heard::Signals { rows, gone } => self.signals.hear(rows, gone),
        }
    }

    /// Forgets whatever is not among these: after having lost track of the others' changes,
    /// everything was read again.
    pub fn keep(&self, standing: &Standing) {
        for tenant in self.all() {
            let name = tenant.name();
            if !tenant.is_default() && !standing.tenants.contains(name) {
                self.remove_tenant(name);
                continue;
            }
            let none = HashSet::new();
            tenant.keep_clients(standing.clients.get(name).unwrap_or(&none));
            tenant.keep_resources(standing.resources.get(name).unwrap_or(&none));
            tenant.keep_grants(standing.grants.get(name).unwrap_or(&none));
            tenant.keep_streams(standing.streams.get(name).unwrap_or(&none));
        }
    }

    fn remove_tenant(&self, name: &str) {
        let ended = self.find(name);
        self.tenants.rcu(|tenants| {
            let mut tenants = HashMap::clone(tenants);
            tenants.remove(name);
            tenants
        });
        // Whoever serves one of its streams holds on to it, and would go on: also when there is
        // another tenant of its name.
        if let Some(ended) = ended {
            ended.keep_streams(&HashSet::new());
        }
        self.streams_changed.notify_one();
    }

    fn revoke_token(&self, row: &revoked_token::Model) {
        if let Some(tenant) = self.find(&row.tenant) {
            tenant.revoke_token(row);
        }
    }

    fn put_tenant(&self, row: &tenant_row::Model) {
        let mode = match row.registration.as_str() {
            "open" => RegistrationMode::Open,
            "token" => RegistrationMode::Token,
            "off" => RegistrationMode::Off,
            _ => self.default_registration,
        };
        if let Some(known) = self.find(&row.name) {
            known.set_registration(mode);
            return;
        }
        let issuer = format!("{}/t/{}", self.issuer, row.name);
        let tenant = Arc::new(Tenant::new(&row.name, &issuer, mode));
        self.tenants.rcu(|tenants| {
            let mut tenants = HashMap::clone(tenants);
            tenants.insert(row.name.clone(), tenant.clone());
            tenants
        });
    }

    fn put_client(&self, row: &client_row::Model) -> Result<(), RegistryError> {
        let mut documents = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let client = Client::among(row, &mut documents)?;
        if let Some(tenant) = self.find(&row.tenant)
            && tenant.put_client(client)
        {
            self.streams_changed.notify_one();
        }
        Ok(())
    }

    fn put_resource(&self, row: &resource_row::Model) -> Result<(), RegistryError> {
        let resource = Resource::from_row(row)?;
        if let Some(tenant) = self.find(&row.tenant) {
            tenant.change_resources(|resources| resources.insert(resource.clone()));
        }
        Ok(())
    }

    fn put_stream(&self, row: &stream_row::Model) -> Result<(), RegistryError> {
        if let Some(tenant) = self.find(&row.tenant) {
            let live = tenant.stream(&row.id);
            let live = live.map_or_else(Arc::default, |stream| stream.live().clone());
            tenant.put_stream(Stream::from_row(row, live)?);
        }
        self.streams_changed.notify_one();
        Ok(())
    }

    fn put_grant(&self, row: &grant::Model) {
        if let Some(tenant) = self.find(&row.tenant) {
            tenant.put_grant(row);
        }
    }

    fn put_keys(&self, tenant: &Tenant, rows: &[signing_key::Model]) -> Result<(), RegistryError> {
        let ring = KeyRing::open(rows, &self.sealer)
            .map_err(|error| RegistryError::Key(tenant.name().to_owned(), error))?;
        tenant.set_keys(ring);
        Ok(())
    }
}
