//! A resource as it is declared, and what has to change for it to be so.

use entity::resource;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{Map, Value};

use crate::{
    error::{OAuthError, Result},
    oauth::{
        openid::IdentityScope,
        resource::{check, normalise},
    },
    registry::{
        ADMIN_ID, Client, EVENTS_ID, Origin, Resource, ResourceDocument, Resources, Tenant,
        USERINFO_ID,
    },
    store::Change,
    streams::declared::StreamDeclaration,
};

/// A declared resource: its names and its document.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ResourceDeclaration {
    /// Short name for URLs and the command line: 1 to 64 of a-z, 0-9, '-', '_' and '.'.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(pattern = "^([a-z0-9_-][a-z0-9._-]{0,63})?$")]
    pub id: String,
    /// The canonical resource URI, as it will stand in `aud`.
    #[schema(format = Uri, pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]+[^?#]*$")]
    pub resource: String,
    /// The stream of security events of the client that serves it.
    #[serde(default, skip_serializing)]
    pub stream: Option<StreamDeclaration>,
    /// Tools, scopes and token rules.
    #[serde(flatten)]
    pub document: ResourceDocument,
}

// By hand, because serde cannot refuse unknown members of a flattened struct.
impl<'de> Deserialize<'de> for ResourceDeclaration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Map::<String, Value>::deserialize(deserializer)?;
        let mut text = |name: &str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(D::Error::custom(format!("{name} must be text"))),
        };
        let id = text("id")?.unwrap_or_default();
        let resource = text("resource")?.ok_or_else(|| D::Error::missing_field("resource"))?;
        let stream = members.remove("stream");
        let stream = stream.map(|stream| read("stream", stream)).transpose();
        let stream = stream.map_err(D::Error::custom)?;
        let document = read("", Value::Object(members)).map_err(D::Error::custom)?;
        Ok(Self {
            id,
            resource,
            stream,
            document,
        })
    }
}

/// Reads a part of a declaration; what is wrong is named by its place.
fn read<T: DeserializeOwned>(place: &str, part: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(part).map_err(|why| {
        let (path, inner) = (why.path().to_string(), why.inner());
        let path = [place, path.trim_matches('.')];
        let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
        if path.is_empty() {
            inner.to_string()
        } else {
            format!("{}: {inner}", path.join("."))
        }
    })
}

/// Whether `id` may name a resource.
///
/// # Errors
/// A sentence that says what is allowed.
pub fn check_id(id: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if !fits || id.starts_with('.') {
        return Err(format!(
            "id '{id}': 1 to 64 of a-z, 0-9, '-', '_' and '.', not starting with '.'"
        ));
    }
    if matches!(id, ADMIN_ID | EVENTS_ID | USERINFO_ID) {
        return Err(format!("id '{id}' is the server's own"));
    }
    Ok(())
}

/// The row that makes the declaration true; `None` when it is so already.
///
/// # Errors
/// `invalid_request` with the rule that says no, `conflict` when another resource has the URI.
pub fn plan(
    tenant: &Tenant,
    known: &Resources,
    declaration: &ResourceDeclaration,
    registered_by: Option<&str>,
    now: i64,
) -> Result<Option<Change>> {
    let refuse = |why: String| OAuthError::invalid_request(format!("resource: {why}."));
    check_id(&declaration.id).map_err(refuse)?;
    check(&declaration.resource).map_err(refuse)?;
    let normalised = normalise(&declaration.resource)
        .ok_or_else(|| refuse(format!("'{}' is not a URI", declaration.resource)))?;
    let catalogue = declaration
        .document
        .catalogue()
        .map_err(|why| refuse(format!("'{}': {why}", declaration.id)))?;
    // Whoever may see an address may not therefore do what a server calls by that name.
    let taken = |name: &&String| IdentityScope::parse(name).is_some();
    if let Some(name) = catalogue.keys().find(taken) {
        return Err(refuse(format!(
            "scope '{name}' has a meaning of its own in OpenID Connect"
        )));
    }
    // What is below the issuer is Writ's own: its endpoints, its admin API, its tenants.
    let issuer = normalise(tenant.issuer()).unwrap_or_default();
    let below = normalised.strip_prefix(&issuer);
    if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err(OAuthError::conflict(format!(
            "'{}' is below the issuer, which is Writ's own.",
            declaration.resource
        )));
    }
    if let Some(other) = known
        .by_uri(&normalised)
        .filter(|other| other.id() != declaration.id)
    {
        return Err(OAuthError::conflict(if other.is_builtin() {
            "This URI is the server's own.".to_owned()
        } else {
            format!(
                "'{}' is registered already, as '{}'.",
                declaration.resource,
                other.id()
            )
        }));
    }
    let before = known.by_id(&declaration.id).map(|resource| resource.row());
    // What clients may do, and whom a server's credentials stand for, goes by the URI.
    if let Some(before) = before.filter(|before| before.normalised != normalised) {
        return Err(OAuthError::conflict(format!(
            "'{}' is {}: a URI does not change. Remove the resource and declare it anew, with \
             its clients' access, or declare the new URI under another id.",
            before.id, before.uri
        )));
    }
    let row = resource::Model {
        tenant: tenant.name().to_owned(),
        id: declaration.id.clone(),
        uri: declaration.resource.clone(),
        normalised,
        registered_by: registered_by.map(str::to_owned),
        document: serde_json::to_string(&declaration.document).map_err(OAuthError::server_error)?,
        created_at: before.map_or(now, |row| row.created_at),
        updated_at: now,
    };
    let same = before.is_some_and(|before| {
        before.uri == row.uri
            && before.document == row.document
            && before.registered_by == row.registered_by
    });
    let before = before.cloned().map(Box::new);
    Ok((!same).then_some(Change::PutResource { row, before }))
}

/// What has to change for a resource to be gone: with it go the credentials that its server was
/// given when it registered itself.
#[must_use]
pub fn removal(tenant: &Tenant, resource: &Resource) -> Vec<Change> {
    let name = tenant.name().to_owned();
    let mut changes = vec![Change::RemoveResource {
        tenant: name.clone(),
        id: resource.id().to_owned(),
    }];
    let its_server = |client: &Client| {
        client.origin() == Origin::Resource && client.rights().serves(resource.reference())
    };
    let servers = tenant.clients_that(its_server).into_iter();
    changes.extend(servers.map(|client| Change::RemoveClient {
        tenant: name.clone(),
        client_id: client.id().to_owned(),
    }));
    changes
}

/// A resource as the admin API and the command line show it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ResourceView {
    /// What is declared.
    #[serde(flatten)]
    pub declaration: ResourceDeclaration,
    /// The client that registered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_by: Option<String>,
    /// Where Writ publishes its RFC 9728 document.
    pub metadata_url: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

impl ResourceView {
    /// Shows a resource of a tenant.
    #[must_use]
    pub fn new(tenant: &Tenant, resource: &Resource) -> Self {
        let row = resource.row();
        Self {
            declaration: ResourceDeclaration {
                id: row.id.clone(),
                resource: row.uri.clone(),
                stream: None,
                document: resource.document().clone(),
            },
            registered_by: row.registered_by.clone(),
            metadata_url: tenant.url(&format!("/resources/{}/oauth-protected-resource", row.id)),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
