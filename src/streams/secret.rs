//! The `Authorization` header that a receiver wants to see with pushes: sealed where it is stored,
//! opened to be sent, shown to nobody.

use zeroize::Zeroizing;

use crate::{app::App, keys::KeyError, registry::Stream};

/// The place that a header is sealed for: nowhere else does it open.
fn place(tenant: &str, stream: &str) -> String {
    format!("stream {tenant}/{stream}")
}

/// A header as it is stored with a stream.
///
/// # Errors
/// When the cipher fails.
pub fn seal(app: &App, tenant: &str, stream: &str, header: &str) -> Result<Vec<u8>, KeyError> {
    let sealer = app.registry.sealer();
    sealer.seal(header.as_bytes(), &place(tenant, stream), &app.entropy)
}

/// The header to send with the pushes of a stream; nothing when there is none.
///
/// # Errors
/// When it was sealed under another key, or was changed or moved.
pub fn header(app: &App, stream: &Stream) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let row = stream.row();
    let sealed = row.authorization.as_ref();
    let open = |sealed: &Vec<u8>| {
        let sealer = app.registry.sealer();
        sealer.open(sealed, &place(&row.tenant, &row.id))
    };
    sealed.map(open).transpose()
}
