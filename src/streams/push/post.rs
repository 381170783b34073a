//! One push (RFC 8935 §2): a SET is signed and posted, and its receiver's answer read.

use http::HeaderValue;

use super::verdict::{self, Verdict};
use crate::{
    app::App,
    registry::{Signal, Stream, Tenant},
    streams::{secret, set},
};

/// Posts the SET that tells a stream of a signal to this URL of its receiver, once.
pub(super) async fn post(
    app: &App,
    tenant: &Tenant,
    stream: &Stream,
    url: &str,
    signal: &Signal,
) -> Verdict {
    let minted = set::mint(tenant, stream, signal, app.clock.seconds());
    let authorization = secret::header(app, stream);
    let (set, authorization) = match (minted, authorization) {
        (Ok((_, set)), Ok(authorization)) => (set, authorization),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(stream = stream.id(), %error, "a SET cannot be sent");
            return Verdict::Later(None);
        }
    };
    let authorization = authorization.map(|text| HeaderValue::from_bytes(&text));
    let authorization = authorization.and_then(Result::ok);
    verdict::of(&app.fetch.push(url, authorization.as_ref(), set).await)
}
