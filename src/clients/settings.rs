//! What a client says of its authorization requests and of what comes of them (OpenID Connect
//! Registration §2, RFC 9126 §6, RFC 9101 §10.5, OpenID Connect Back-Channel Logout §2.2), and the
//! rules it has to meet.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    declaration::ClientDeclaration,
    metadata::{Members, Unsupported, check_fetched},
};
use crate::{
    app::App,
    error::{OAuthError, Result},
    keys::SigningAlgorithm,
    oauth::{grant_type::AuthMethod, redirect_uri},
    registry::{
        AuthorizationSettings, ClientDocument, Profile, RequestAlgorithm, SubjectType, Tenant,
    },
};

/// Reads them from the metadata that a client sends.
///
/// # Errors
/// `invalid_client_metadata`, naming the member.
pub(super) fn read(members: &Members, unsupported: Unsupported) -> Result<AuthorizationSettings> {
    let subject_type: Option<SubjectType> = named(members, "subject_type")?;
    let sector = members.text("sector_identifier_uri")?;
    Ok(AuthorizationSettings {
        require_pushed_authorization_requests: members
            .flag("require_pushed_authorization_requests")?,
        rotate_refresh_tokens: None,
        id_token_signed_response_alg: named(members, "id_token_signed_response_alg")?,
        userinfo_signed_response_alg: named(members, "userinfo_signed_response_alg")?,
        require_signed_request_object: members.flag("require_signed_request_object")?,
        request_object_signing_alg: named(members, "request_object_signing_alg")?,
        subject_type: subject_type.unwrap_or_default(),
        // Of a document that is read again and again nothing else is fetched.
        sector_identifier_uri: sector.filter(|_| unsupported == Unsupported::Refused),
        backchannel_logout_uri: members.text("backchannel_logout_uri")?,
        backchannel_logout_session_required: members.flag("backchannel_logout_session_required")?,
    })
}

/// A registered word.
fn named<T: DeserializeOwned>(members: &Members, name: &'static str) -> Result<Option<T>> {
    let text = members.text(name)?;
    let word = text.map(|text| {
        serde_json::from_value(Value::String(text.clone())).map_err(|_| {
            OAuthError::invalid_client_metadata(format!("{name} '{text}' is not supported."))
        })
    });
    word.transpose()
}

/// Whether what a client is fits its profile, and what it says fits together.
///
/// # Errors
/// A sentence for its developer.
pub(super) fn check(document: &ClientDocument, private_addresses: bool) -> Result<(), String> {
    let (settings, method) = (&document.authorization, document.token_endpoint_auth_method);
    match document.profile {
        Profile::Fapi2 if method != AuthMethod::PrivateKeyJwt => {
            return Err("profile fapi2 needs private_key_jwt".to_owned());
        }
        Profile::OidcCompat if method == AuthMethod::None => {
            return Err("profile oidc_compat is for clients that authenticate".to_owned());
        }
        _ => {}
    }
    check_algorithms(document)?;
    if let Some(uri) = &settings.backchannel_logout_uri {
        check_fetched("backchannel_logout_uri", uri, private_addresses)?;
    }
    for uri in &document.metadata.post_logout_redirect_uris {
        redirect_uri::check(uri, document.metadata.application_type)
            .map_err(|why| format!("post_logout_redirect_uris: {why}"))?;
    }
    match &settings.sector_identifier_uri {
        Some(uri) => check_fetched("sector_identifier_uri", uri, private_addresses),
        None if settings.subject_type == SubjectType::Pairwise => {
            document.own_sector().map(drop).ok_or_else(|| {
                "subject_type pairwise needs a sector_identifier_uri, unless all redirect_uris \
                 have one and the same host, which is not the person's own device"
                    .to_owned()
            })
        }
        None => Ok(()),
    }
}

fn check_algorithms(document: &ClientDocument) -> Result<(), String> {
    let settings = &document.authorization;
    let signs =
        settings.require_signed_request_object || settings.request_object_signing_alg.is_some();
    if signs && document.jwks.is_none() && document.jwks_uri.is_none() {
        return Err("signed requests need jwks or jwks_uri".to_owned());
    }
    let ours = [
        settings.id_token_signed_response_alg,
        settings.userinfo_signed_response_alg,
    ];
    let asks_for_rs256 = ours.contains(&Some(SigningAlgorithm::RS256))
        || settings.request_object_signing_alg == Some(RequestAlgorithm::RS256);
    // FAPI 2.0 Security Profile §5.4.1.
    if document.profile == Profile::Fapi2 && asks_for_rs256 {
        return Err("profile fapi2 does without RS256".to_owned());
    }
    Ok(())
}

/// Whether the list at a client's `sector_identifier_uri` holds all of its redirect URIs (OpenID
/// Connect Registration §5).
///
/// # Errors
/// A sentence for its developer.
pub async fn check_sector(
    app: &App,
    settings: &AuthorizationSettings,
    redirect_uris: &[String],
) -> Result<(), String> {
    let Some(uri) = &settings.sector_identifier_uri else {
        return Ok(());
    };
    let refuse = |why: String| format!("sector_identifier_uri: {why}");
    let body = app.fetch.get(uri).await;
    let body = body.map_err(|why| refuse(why.to_string()))?;
    let listed: Vec<String> = serde_json::from_slice(&body)
        .map_err(|_| refuse("the document is not a JSON list of URIs".to_owned()))?;
    let missing = redirect_uris.iter().find(|uri| !listed.contains(uri));
    missing.map_or(Ok(()), |uri| {
        Err(refuse(format!("the document does not list '{uri}'")))
    })
}

/// The same for a client that is declared; what was so before is not looked at again.
///
/// # Errors
/// `invalid_request` with the rule that says no.
pub async fn check_declared(
    app: &App,
    tenant: Option<&Tenant>,
    declared: &ClientDeclaration,
) -> Result<()> {
    let (settings, uris) = (&declared.authorization, &declared.redirect_uris);
    let known = tenant.and_then(|tenant| tenant.client(&declared.client_id));
    let known = known.and_then(|client| client.document().ok());
    let same = known.is_some_and(|known| {
        known.authorization.sector_identifier_uri == settings.sector_identifier_uri
            && known.metadata.redirect_uris == *uris
    });
    if same {
        return Ok(());
    }
    let checked = check_sector(app, settings, uris).await;
    let id = &declared.client_id;
    checked.map_err(|why| OAuthError::invalid_request(format!("client '{id}': {why}.")))
}
