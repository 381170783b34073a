//! The `Authorization` header of pushes: kept sealed, and never shown (SSF 1.0 §7.1.1).

use zeroize::Zeroizing;

use crate::{app::App, keys::KeyError, registry::Stream};

/// Where a stream's header belongs: sealed for one stream, it opens for no other.
fn context(tenant: &str, stream: &str) -> String {
    format!("stream {tenant} {stream}")
}

/// Seals a header for a stream.
///
/// # Errors
/// When the cipher fails.
pub(super) fn seal(
    app: &App,
    tenant: &str,
    stream: &str,
    header: &str,
) -> Result<Vec<u8>, KeyError> {
    let sealer = app.registry.sealer();
    sealer.seal(header.as_bytes(), &context(tenant, stream), &app.entropy)
}

/// A stream's header, if it has one.
///
/// # Errors
/// When it was sealed with another key.
pub(super) fn open(app: &App, stream: &Stream) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let row = stream.row();
    let Some(sealed) = &row.authorization else {
        return Ok(None);
    };
    let sealer = app.registry.sealer();
    sealer
        .open(sealed, &context(&row.tenant, &row.id))
        .map(Some)
}
