//! Who is asking: client authentication, and clients that arrive by themselves.
//!
//! To add an authentication method: a name in [`crate::oauth::grant_type::AuthMethod`], a
//! function here, one arm in [`authentication`].

pub mod assertion;
pub mod authentication;
pub mod cimd;
pub mod declaration;
mod find;
mod given;
pub mod keys;
pub mod metadata;
pub mod registration;
pub mod settings;

pub use self::{
    authentication::{Authenticated, authenticate, remember},
    find::find,
};

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of a bearer string: what is stored of it.
#[must_use]
pub fn digest_of(secret: impl AsRef<[u8]>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret.as_ref()).as_ref());
    out
}
