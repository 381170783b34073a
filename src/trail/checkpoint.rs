//! What the trail was at a moment, signed, for somebody to keep elsewhere.
//!
//! The MAC of a chain's head stops those who can write to the database. Whoever has the sealing key
//! as well could write another history, and sign it; they could not change what somebody else has
//! kept of it. A checkpoint is a compact JWS by the tenant's EdDSA key with the position and hash
//! of every chain. Later the row at that position must still have that hash.
//!
//! # Why the key travels along
//! Signing keys leave the JWKS an hour after they are replaced, and must: a key that stays
//! published is a key that resource servers accept tokens from. So the header holds the public key
//! (`jwk`, RFC 7515 §4.1.3) beside its `kid`, which is the key's thumbprint (RFC 7638). Whoever
//! checks a checkpoint takes the key with this `kid` from the JWKS; when it has left, from the
//! header, and then asks who says that this was the issuer's key: the trail does, in the
//! `keys.rotated` event that names it in front of the position that the checkpoint vouches for.

use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    audit::hexadecimal,
    error::{OAuthError, Result},
    keys::SigningAlgorithm,
    registry::Tenant,
    store,
};

/// The `typ` of its header.
pub const TYP: &str = "audit-checkpoint+jwt";

/// The claims of a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The issuer.
    pub iss: String,
    /// The tenant's name.
    pub tenant: String,
    /// Unix seconds.
    pub iat: i64,
    /// Where every chain ended.
    pub chains: Vec<End>,
}

/// The end of a chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct End {
    /// The node that writes it.
    pub node: String,
    /// Position of its last row.
    pub seq: i64,
    /// The row's hash, hexadecimal.
    pub hash: String,
}

/// Signs where every chain of a tenant ends now.
///
/// # Errors
/// 409 when a head does not hold: that is no state to vouch for.
pub async fn sign(app: &App, tenant: &Tenant) -> Result<String> {
    let mut chains = Vec::new();
    for node in store::audit::nodes(&app.db, tenant.name()).await? {
        let head = store::audit::head(&app.db, tenant.name(), &node).await?;
        let held = head.and_then(|head| app.journal.chains().open(&head).ok());
        let Some(chain) = held else {
            return Err(OAuthError::conflict(format!(
                "The chain of node '{node}' does not hold; see what verification finds."
            )));
        };
        chains.push(End {
            node,
            seq: chain.last.seq,
            hash: hexadecimal(&chain.last.hash),
        });
    }
    let checkpoint = Checkpoint {
        iss: tenant.issuer().to_owned(),
        tenant: tenant.name().to_owned(),
        iat: app.clock.seconds(),
        chains,
    };
    let claims = serde_json::to_vec(&checkpoint).map_err(OAuthError::server_error)?;
    let keys = tenant.keys();
    Ok(keys
        .signer(SigningAlgorithm::EdDSA)?
        .sign_with_key(TYP, &claims)?)
}
