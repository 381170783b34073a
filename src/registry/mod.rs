//! What the token path reads: tenants, clients, resources, grants and keys, in memory.
//!
//! The database is read once, at start. After that the journal is the only writer, and it applies
//! every committed change here before it answers, so a request that follows an answer sees it.
//! Readers take no lock.

mod client;
mod resource;
mod tenant;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use entity::{
    client as client_row, grant, resource as resource_row, signing_key, tenant as tenant_row,
};

pub use self::{
    client::{Access, Client, ClientDocument, Origin, Profile, RegisteredMetadata},
    resource::{
        ADMIN_ID, AdminScope, Resource, ResourceDocument, ScopeDeclaration, Tool, builtin_document,
    },
    tenant::{DEFAULT, Resources, Tenant, check_tenant_name},
};
use crate::{
    config::RegistrationMode,
    keys::{KeyError, KeyRing, sealed::Sealer},
    store::{Change, Snapshot},
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

/// All tenants of this server.
#[derive(Debug)]
pub struct Registry {
    issuer: String,
    root: Arc<Tenant>,
    tenants: ArcSwap<HashMap<String, Arc<Tenant>>>,
    sealer: Sealer,
    default_registration: RegistrationMode,
}

impl Registry {
    /// Builds it from the rows of a database.
    ///
    /// # Errors
    /// When a row cannot be read or a key cannot be opened.
    pub fn open(
        issuer: String,
        default_registration: RegistrationMode,
        sealer: Sealer,
        rows: Snapshot,
    ) -> Result<Self, RegistryError> {
        let root = Arc::new(Tenant::new(DEFAULT, &issuer, default_registration));
        let registry = Self {
            tenants: ArcSwap::from_pointee(HashMap::from([(DEFAULT.to_owned(), root.clone())])),
            issuer,
            root,
            sealer,
            default_registration,
        };
        for row in rows.tenants {
            registry.put_tenant(&row);
        }
        for row in &rows.resources {
            registry.put_resource(row)?;
        }
        for row in &rows.clients {
            registry.put_client(row)?;
        }
        for row in &rows.grants {
            registry.put_grant(row);
        }
        for tenant in registry.tenants.load().values() {
            let keys: Vec<_> = rows
                .keys
                .iter()
                .filter(|k| k.tenant == tenant.name())
                .cloned()
                .collect();
            registry.put_keys(tenant, &keys)?;
        }
        Ok(registry)
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
            Change::RemoveTenant(name) => {
                self.tenants.rcu(|tenants| {
                    let mut tenants = HashMap::clone(tenants);
                    tenants.remove(name);
                    tenants
                });
            }
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
            Change::Keys {
                tenant,
                put,
                remove,
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
            Change::AuditCursors(_) | Change::CutAudit { .. } => {}
            Change::UseOnce(_) | Change::ForgetReplays { .. } | Change::ForgetOutbox { .. } => {}
        }
        Ok(())
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
        let client = Client::from_row(row)?;
        if let Some(tenant) = self.find(&row.tenant) {
            tenant.put_client(client);
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
