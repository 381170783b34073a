//! `GET /admin/openapi.json`: the document, from the annotations of the operations.

use axum::Json;
use serde::Serialize;
use utoipa::{
    Modify, OpenApi as _, ToSchema,
    openapi::{
        AllOf, Components, ContentBuilder, Object, OpenApi, PathItem, Ref, RefOr, Response, Schema,
        Server,
        path::{Operation, ParameterIn},
        security::{ClientCredentials, Flow, OAuth2, Scopes, SecurityScheme},
    },
};

use super::{
    apply, audit, clients, credentials, events, keys, resources, revocations, sessions, streams,
    tenants, users,
};
use crate::{
    registry::{AdminScope, Tenant},
    web::extract::ForTenant,
};

/// The name of the security scheme; operations ask it for their scopes.
const TOKEN: &str = "token";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Writ admin API",
        description = "Manage resources, clients, users, streams, keys and tenants."
    ),
    paths(
        apply::apply,
        resources::list,
        resources::show,
        resources::add,
        resources::replace,
        resources::remove,
        clients::list,
        clients::show,
        clients::add,
        clients::replace,
        clients::remove,
        clients::new_secret,
        clients::disable,
        clients::enable,
        users::list,
        users::show,
        users::add,
        users::replace,
        users::remove,
        users::disable,
        users::enable,
        credentials::set_password,
        credentials::list,
        credentials::remove,
        credentials::reset_factor,
        sessions::list,
        sessions::end_all,
        sessions::end,
        revocations::revoke,
        events::emit,
        streams::list,
        streams::show,
        streams::remove,
        streams::enable,
        streams::pause,
        streams::disable,
        keys::list,
        keys::rotate,
        audit::list,
        audit::verify,
        audit::checkpoint,
        audit::truncate,
        audit::sinks,
        tenants::list,
        tenants::show,
        tenants::add,
        tenants::remove,
    ),
    components(schemas(Problem)),
    modifiers(&Common, &Closed)
)]
struct Document;

/// An error as this API answers it.
#[derive(Serialize, ToSchema)]
struct Problem {
    /// The code.
    error: String,
    /// What to mend.
    error_description: String,
}

/// The document, for the issuer that is asked.
pub(super) async fn show(ForTenant(tenant): ForTenant) -> Json<OpenApi> {
    let mut document = Document::openapi();
    document.servers = Some(vec![Server::new(tenant.issuer())]);
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, client_credentials(&tenant));
    Json(document)
}

/// RFC 6749 §4.4: every operation takes a bearer token for this API's own resource.
fn client_credentials(tenant: &Tenant) -> SecurityScheme {
    let scopes = AdminScope::ALL.map(|scope| (scope.as_str(), scope.description()));
    let flow = ClientCredentials::new(tenant.url("/token"), Scopes::from_iter(scopes));
    SecurityScheme::OAuth2(OAuth2::with_description(
        [Flow::ClientCredentials(flow)],
        format!("Ask for a token with resource={}.", tenant.url("/admin")),
    ))
}

/// What every operation has in common: a name of its own, words for every answer, and a body that
/// says why when it refuses.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            let noun = operation.tags.iter().flatten().next();
            if let (Some(noun), Some(verb)) = (noun, &operation.operation_id) {
                operation.operation_id = Some(format!("{noun}_{verb}"));
            }
            let reads = operation.request_body.is_some();
            let mut refusals = vec!["401", "403"];
            if reads || has_query(operation) {
                refusals.push("400");
            }
            if reads {
                refusals.push("413");
            }
            let responses = &mut operation.responses.responses;
            for status in refusals {
                responses
                    .entry(status.to_owned())
                    .or_insert_with(|| Response::default().into());
            }
            for (status, response) in responses {
                let RefOr::T(response) = response else {
                    continue;
                };
                words(status).clone_into(&mut response.description);
                if status.starts_with('4') {
                    let problem = Ref::from_schema_name("Problem");
                    let content = ContentBuilder::new().schema(Some(problem)).build();
                    let media_type = "application/json".to_owned();
                    response.content.insert(media_type, content.into());
                }
            }
        }
    }
}

fn words(status: &str) -> &'static str {
    match status {
        "200" => "This is how it is now.",
        "201" => "It is there now.",
        "204" => "It is gone.",
        "400" => "The request is malformed, or breaks a rule.",
        "401" => "There is no token, or one that does not hold (RFC 6750 section 3.1).",
        "403" => "The token does not have the scope (RFC 6750 section 3.1).",
        "404" => "There is nothing of this name.",
        "409" => "What is there does not allow it.",
        "413" => "The body is too long.",
        _ => "",
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

fn has_query(operation: &Operation) -> bool {
    operation
        .parameters
        .iter()
        .flatten()
        .any(|parameter| matches!(parameter, RefOr::T(p) if p.parameter_in == ParameterIn::Query))
}

/// One object in place of each `allOf`.
///
/// A flattened part that takes no other members would contradict the whole it is a part of, and
/// nothing would be valid.
struct Closed;

impl Modify for Closed {
    fn modify(&self, document: &mut OpenApi) {
        let Some(components) = &mut document.components else {
            return;
        };
        let merged: Vec<_> = components
            .schemas
            .iter()
            .filter_map(|(name, schema)| match schema {
                RefOr::T(Schema::AllOf(parts)) => Some((name.clone(), merge(components, parts))),
                _ => None,
            })
            .collect();
        for (name, object) in merged {
            components
                .schemas
                .insert(name, Schema::Object(object).into());
        }
        // A part that is never there by itself.
        components.schemas.remove("ResourceDocument");
    }
}

fn merge(components: &Components, parts: &AllOf) -> Object {
    let mut whole = Object::new();
    whole.description.clone_from(&parts.description);
    for part in &parts.items {
        let schema = match part {
            RefOr::T(schema) => Some(schema),
            RefOr::Ref(reference) => {
                let name = reference
                    .ref_location
                    .rsplit('/')
                    .next()
                    .unwrap_or_default();
                match components.schemas.get(name) {
                    Some(RefOr::T(schema)) => Some(schema),
                    _ => None,
                }
            }
        };
        let object = match schema {
            Some(Schema::Object(object)) => object.clone(),
            Some(Schema::AllOf(parts)) => merge(components, parts),
            _ => continue,
        };
        whole.properties.extend(object.properties);
        whole.required.extend(object.required);
        // What one part knows nothing of may be of another; of the whole it is not.
        whole.additional_properties = whole.additional_properties.or(object.additional_properties);
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_operation_says_what_it_needs_and_how_it_refuses() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let mut names = BTreeSet::new();
        let paths = document["paths"].as_object().unwrap();
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let scope = operation["security"][0][TOKEN][0].as_str().unwrap();
                let known = AdminScope::ALL.iter().any(|one| one.as_str() == scope);
                assert!(known, "{method} {path}: {scope}");
                assert!(
                    names.insert(operation["operationId"].to_string()),
                    "{method} {path}"
                );
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.contains_key("401") && responses.contains_key("403"));
                for (status, response) in responses {
                    assert_ne!(response["description"], "", "{method} {path} {status}");
                    let schema = &response["content"]["application/json"]["schema"]["$ref"];
                    let refuses = schema == "#/components/schemas/Problem";
                    assert_eq!(refuses, status.starts_with('4'), "{method} {path} {status}");
                }
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let name = parameter["name"].as_str().unwrap();
                    let place = if path.contains(&format!("{{{name}}}")) {
                        "path"
                    } else {
                        "query"
                    };
                    assert_eq!(parameter["in"], place, "{method} {path} {name}");
                }
            }
        }
        assert!(names.len() >= 20);
    }

    #[test]
    fn a_closed_schema_names_all_of_its_members() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for (name, schema) in schemas {
            assert_eq!(schema.get("allOf"), None, "{name}");
        }
        let declaration = &schemas["ResourceDeclaration"];
        assert_eq!(declaration["additionalProperties"], Value::Bool(false));
        for member in ["id", "resource", "tools", "scopes", "access_token_lifetime"] {
            assert!(declaration["properties"].get(member).is_some(), "{member}");
        }
    }
}
