//! What an administrator gives a client that its own metadata document describes.

use super::declaration::{ClientDeclaration, resolve};
use crate::{
    grant_types,
    registry::{Client, ClientDocument, Profile, Resources},
};

/// The client with what is declared for it. What it says of itself stays its own.
///
/// # Errors
/// When the declaration says something that the document does, or names what is not there.
pub(super) fn document(
    resources: &Resources,
    declaration: &ClientDeclaration,
    known: &Client,
) -> Result<ClientDocument, String> {
    check(declaration)?;
    let own = known.document().map_err(|error| error.to_string())?;
    let granted = |name: &String| grant_types::find(name).is_some_and(|one| !one.self_service);
    let declared = declaration.grant_types.as_deref().unwrap_or_default();
    if let Some(other) = declared.iter().find(|name| !granted(name)) {
        return Err(format!(
            "grant_types: '{other}' is for its metadata document to say"
        ));
    }
    let of_itself = own.grant_types.iter().filter(|name| !granted(name));
    Ok(ClientDocument {
        grant_types: of_itself.chain(declared).cloned().collect(),
        access: resolve(resources, "access", &declaration.access)?,
        exchange: resolve(resources, "exchange", &declaration.exchange)?,
        delegates: declaration.delegates.clone(),
        multiple_resources: declaration.multiple_resources,
        dpop_bound_access_tokens: declaration.dpop_bound_access_tokens,
        ..own
    })
}

fn check(declaration: &ClientDeclaration) -> Result<(), String> {
    let said = [
        (
            "token_endpoint_auth_method",
            declaration.token_endpoint_auth_method.is_some(),
        ),
        ("client_secret", declaration.client_secret.is_some()),
        ("jwks", declaration.jwks.is_some()),
        ("jwks_uri", declaration.jwks_uri.is_some()),
        ("redirect_uris", !declaration.redirect_uris.is_empty()),
        (
            "post_logout_redirect_uris",
            !declaration.post_logout_redirect_uris.is_empty(),
        ),
        ("authorization", !declaration.authorization.is_default()),
        ("name", !declaration.name.is_empty()),
    ];
    if let Some((name, _)) = said.iter().find(|(_, said)| *said) {
        return Err(format!("{name} is for its metadata document to say"));
    }
    let not_for_strangers = [
        ("profile", declaration.profile != Profile::Strict),
        ("serves", declaration.serves.is_some()),
        ("receiver", declaration.receiver.is_some()),
    ];
    match not_for_strangers.iter().find(|(_, said)| *said) {
        Some((name, _)) => Err(format!(
            "{name} is not for a client that came by its metadata document: declare one of your own"
        )),
        None => Ok(()),
    }
}
