//! What has to change in one tenant for a declaration to be true.

use super::{Action, By, Line, refuse_twice};
use crate::{
    admin::consequences::with_consequences,
    app::App,
    audit::{Event, Kind},
    clients::declaration::{self as client_declaration, ClientDeclaration},
    error::{OAuthError, Result},
    journal::Command,
    registry::{Resource, Resources, Tenant},
    resources::declaration::{self as resource_declaration, ResourceDeclaration},
    store::Change,
    streams::declared::{self, StreamDeclaration},
    users::{
        account::key,
        declaration::{self as user_declaration, UserDeclaration},
    },
};

/// One tenant's part.
pub(super) struct Planned {
    changes: Vec<Change>,
    pub(super) lines: Vec<Line>,
}

pub(super) fn plan(
    app: &App,
    tenant: &Tenant,
    by: By<'_>,
    resources: &[ResourceDeclaration],
    clients: &[ClientDeclaration],
) -> Result<Planned> {
    let now = app.clock.seconds();
    let private = app.config.fetch.allow_private_addresses_for_tests;
    refuse_twice("resource", resources.iter().map(|r| r.id.as_str()))?;
    refuse_twice("client", clients.iter().map(|c| c.client_id.as_str()))?;
    let mut planned = Planned {
        changes: Vec::new(),
        lines: Vec::new(),
    };
    // Clients may name resources that are declared beside them.
    let mut known = (**tenant.resources()).clone();
    for declaration in resources {
        let owner = known
            .by_id(&declaration.id)
            .and_then(|r| r.row().registered_by.clone());
        let change =
            resource_declaration::plan(tenant, &known, declaration, owner.as_deref(), now)?;
        if let Some(Change::PutResource { row, .. }) = &change {
            known.insert(Resource::from_row(row).map_err(OAuthError::server_error)?);
        }
        let url = format!("/resources/{}/oauth-protected-resource", declaration.id);
        let metadata_url = Some(tenant.url(&url));
        let line = planned.add(tenant, "resource", &declaration.id, change);
        line.metadata_url = metadata_url;
    }
    for declaration in clients {
        let id = &declaration.client_id;
        let plan =
            client_declaration::plan(tenant, &known, declaration, &app.entropy, private, now)?;
        by.may_change(tenant, id, plan.change.as_ref())?;
        let line = planned.add(tenant, "client", id, plan.change);
        line.client_secret = plan.secret;
    }
    planned.follow(app, tenant, &known)?;
    for declaration in resources {
        if let Some(stream) = &declaration.stream {
            planned.stream(app, tenant, &known, &declaration.id, stream)?;
        }
    }
    Ok(planned)
}

impl Planned {
    fn add(&mut self, tenant: &Tenant, kind: &str, id: &str, change: Option<Change>) -> &mut Line {
        let action = match &change {
            None => Action::Unchanged,
            Some(
                Change::PutClient { before: None, .. }
                | Change::PutResource { before: None, .. }
                | Change::PutStream { before: None, .. },
            ) => Action::Created,
            Some(_) => Action::Changed,
        };
        self.changes.extend(change);
        self.lines.push_mut(Line {
            tenant: tenant.name().to_owned(),
            kind: kind.to_owned(),
            id: id.to_owned(),
            action,
            client_secret: None,
            administrator: None,
            metadata_url: None,
        })
    }

    /// Adds what follows from what is planned.
    fn follow(&mut self, app: &App, tenant: &Tenant, known: &Resources) -> Result<()> {
        for change in std::mem::take(&mut self.changes) {
            let changes = with_consequences(app, tenant, known, change)?;
            self.changes.extend(changes);
        }
        Ok(())
    }

    /// Adds the stream of a resource's server.
    fn stream(
        &mut self,
        app: &App,
        tenant: &Tenant,
        known: &Resources,
        resource: &str,
        declared: &StreamDeclaration,
    ) -> Result<()> {
        let planned = &self.changes;
        let plan = declared::plan(app, tenant, known, planned, resource, declared)?;
        // It is planned as a whole: what follows from a change of its client is in it.
        self.changes.retain(|change| match change {
            Change::PutStream { row, .. } => row.id != plan.id,
            _ => true,
        });
        self.add(tenant, "stream", &plan.id, plan.change);
        Ok(())
    }

    /// Adds people.
    pub(super) async fn users(
        &mut self,
        app: &App,
        tenant: &Tenant,
        declared: &[UserDeclaration],
    ) -> Result<()> {
        let names: Vec<String> = declared.iter().map(|user| key(&user.username)).collect();
        refuse_twice("user", names.iter().map(String::as_str))?;
        for declaration in declared {
            let plan = user_declaration::plan(app, tenant, declaration).await?;
            let action = match (plan.exists, plan.changes.is_empty()) {
                (false, _) => Action::Created,
                (true, false) => Action::Changed,
                (true, true) => Action::Unchanged,
            };
            self.add(tenant, "user", &declaration.username, None).action = action;
            self.changes.extend(plan.changes);
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self, app: &App, tenant: &Tenant, who: &str) -> Result<()> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Ok(());
        }
        let audit = self
            .lines
            .iter()
            .filter(|line| line.action != Action::Unchanged)
            .map(|line| {
                let kind = match line.kind.as_str() {
                    "client" => Kind::ClientChanged,
                    "stream" => Kind::StreamChanged,
                    "user" => Kind::UserChanged,
                    _ => Kind::ResourceChanged,
                };
                let event = Event {
                    client_id: Some(who),
                    object: Some(&line.id),
                    reason: Some(match line.action {
                        Action::Created => "created",
                        _ => "changed",
                    }),
                    ..Event::default()
                };
                app.record(tenant, kind, &event)
            })
            .collect();
        Ok(app.journal.commit(Command::new(changes, audit)).await?)
    }
}
