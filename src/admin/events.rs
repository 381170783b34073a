//! `/admin/events`: an administrator tells receivers something. It ends nothing here: that is
//! what `/admin/revocations` is for, which tells them too.

use axum::{
    Json,
    extract::{Request, State},
};
use entity::signal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{may, read, revocations::reason};
use crate::{
    app::{App, AppState},
    audit::{Event, Kind},
    endpoints::protected::Presented,
    error::{OAuthError, Result},
    journal::Command,
    oauth::claims::AccessClaims,
    registry::{AdminScope, Stream, SubjectStyle, Tenant},
    signals::{Audience, Cause, Draft, EventKind, Initiator, LASTING, Level, SHORT, subject},
    store::Change,
    streams,
    web::extract::ForTenant,
};

/// What to tell, and whom.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Emission {
    /// The event type: its URI or the last part of that, for example `credential-change`.
    #[serde(rename = "type")]
    kind: String,
    /// Whom or what it is about (RFC 9493, SSF 1.0 section 3). A verification is about its stream.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    subject: Option<Value>,
    /// The members of the event.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    event: Map<String, Value>,
    /// Only the servers of these resources, by id or URI. Receivers that serve none hear of what is
    /// about a person all the same.
    #[serde(default)]
    resources: Option<Vec<String>>,
    /// Only this stream.
    #[serde(default)]
    stream: Option<String>,
    /// Why, for the administrators of receivers and the audit trail: nothing personal.
    #[serde(default)]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// What has been told.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Emitted {
    /// `txn` of the SETs.
    txn: String,
    /// Its place among all that is told.
    seq: i64,
}

/// Tells receivers something.
#[utoipa::path(
    post,
    path = "/admin/events",
    operation_id = "emit",
    request_body = Emission,
    responses((status = 200, body = Emitted), (status = 400), (status = 404)),
    security(("token" = ["writ:events"]))
)]
pub(super) async fn emit(
    State(app): State<AppState>,
    ForTenant(tenant): ForTenant,
    credentials: Presented,
    request: Request,
) -> Result<Json<Emitted>> {
    let who = may(&app, &tenant, &credentials, AdminScope::Events).await?;
    let emission: Emission = read(&app, request).await?;
    let why = reason(emission.reason.as_deref())?;
    let draft = draft(&tenant, emission.kind(), &emission)?;
    let words = why.unwrap_or("reported by an administrator");
    let cause = Cause::new(&app.entropy, Initiator::Admin, words);
    let row = draft.row(tenant.name(), &cause, &app.entropy, app.clock.millis());
    let seq = tell(&app, &tenant, &who, row, why).await?;
    Ok(Json(Emitted {
        txn: cause.txn,
        seq,
    }))
}

impl Emission {
    fn kind(&self) -> Option<&'static EventKind> {
        EventKind::by_name(&self.kind)
    }
}

fn draft(tenant: &Tenant, kind: Option<&'static EventKind>, emission: &Emission) -> Result<Draft> {
    let Some(kind) = kind.filter(|kind| kind.uri != EventKind::STREAM_UPDATED.uri) else {
        return Err(refuse(format!(
            "type: '{}' is none that can be emitted",
            emission.kind
        )));
    };
    kind.check(&emission.event).map_err(refuse)?;
    let stream = emission.stream.as_deref().map(|id| {
        let stream = tenant.stream(id);
        stream.ok_or_else(|| OAuthError::not_found("There is no such stream."))
    });
    let stream = stream.transpose()?;
    if kind.is_of_the_framework() {
        return verification(kind, stream.as_deref(), emission);
    }
    let subject = emission.subject.clone();
    let subject = subject.ok_or_else(|| refuse("subject: whom or what it is about"))?;
    subject::check(&subject).map_err(refuse)?;
    let level = if subject::is_plain(&subject) {
        Level::Subject
    } else {
        Level::Access
    };
    // Tokens that are told of have expired soon.
    let of_tokens = [EventKind::SESSION_REVOKED, EventKind::TOKEN_CLAIMS_CHANGE];
    let short = level == Level::Access && of_tokens.iter().any(|one| one.uri == kind.uri);
    let (level, audience) = match (stream, &emission.resources) {
        (Some(_), Some(_)) => {
            return Err(refuse("resources, stream: not both"));
        }
        (Some(stream), None) => {
            hears(&stream, kind, level)?;
            (Level::Stream, Audience::Stream(stream.id().to_owned()))
        }
        (None, Some(names)) => (level, Audience::Resources(references(tenant, names)?)),
        (None, None) => (level, Audience::All),
    };
    Ok(Draft {
        audience,
        level,
        kind,
        subject,
        members: emission.event.clone(),
        lifetime: if short { SHORT } else { LASTING },
    })
}

/// Nobody asked for it: it has no state (SSF 1.0 §8.1.4).
fn verification(
    kind: &'static EventKind,
    stream: Option<&Stream>,
    emission: &Emission,
) -> Result<Draft> {
    let Some(stream) = stream else {
        return Err(refuse("stream: which one is to be verified"));
    };
    let subject = subject::stream(stream.id());
    let other = emission.subject.as_ref().is_some_and(|s| *s != subject);
    if other || emission.resources.is_some() || !emission.event.is_empty() {
        return Err(refuse(
            "a verification has nothing but type, stream and reason",
        ));
    }
    Ok(Draft {
        audience: Audience::Stream(stream.id().to_owned()),
        level: Level::Stream,
        kind,
        subject,
        members: Map::new(),
        lifetime: streams::verification::lifetime(stream),
    })
}

/// A stream that is named has to be one that hears of such things.
fn hears(stream: &Stream, kind: &EventKind, level: Level) -> Result<()> {
    let document = stream.document();
    if !document.delivered().any(|one| one.uri == kind.uri) {
        return Err(refuse(format!(
            "stream: its receiver has not asked for {}",
            kind.name()
        )));
    }
    if document.subjects == SubjectStyle::Plain && level != Level::Subject {
        return Err(refuse(
            "stream: its receiver understands subjects of the formats iss_sub and email only",
        ));
    }
    Ok(())
}

fn references(tenant: &Tenant, names: &[String]) -> Result<Vec<String>> {
    if names.is_empty() {
        return Err(refuse("resources: at least one"));
    }
    let resources = tenant.resources();
    let reference = |name: &String| {
        let resource = resources.by_name(name);
        let resource = resource.filter(|resource| !resource.is_builtin());
        resource
            .map(|resource| resource.reference().to_owned())
            .ok_or_else(|| OAuthError::not_found(format!("There is no resource '{name}'.")))
    };
    names.iter().map(reference).collect()
}

/// Commits it, and says which place it got.
async fn tell(
    app: &App,
    tenant: &Tenant,
    who: &AccessClaims,
    row: signal::Model,
    why: Option<&str>,
) -> Result<i64> {
    let kind = EventKind::by_name(&row.kind).map(EventKind::name);
    let kind = kind.unwrap_or_default();
    let object = format!("{kind} {}", row.subject);
    let event = Event {
        client_id: Some(&who.client_id),
        sub: Some(&who.sub),
        act: who.act.as_ref(),
        object: Some(&object),
        reason: why,
        ..Event::default()
    };
    let audit = vec![app.record(tenant, Kind::EventEmitted, &event)];
    let id = row.id.clone();
    let command = Command::new(vec![Change::Signal(row)], audit);
    app.journal.commit(command).await?;
    let seq = app.registry.signals().place_of(&id);
    seq.ok_or_else(|| OAuthError::server_error("a signal has got no place"))
}

fn refuse(why: impl std::fmt::Display) -> OAuthError {
    OAuthError::invalid_request(format!("{why}."))
}
