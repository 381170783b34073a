//! Bodies: which requests' are read, and how long an answer's goes on.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use pin_project_lite::pin_project;

use crate::challenge::Refusal;

/// What a protected server answers with: its own body, or one of the layer's.
pub type ProtectedBody<B> = Either<Full<Bytes>, WhileValid<B>>;

pin_project! {
    /// The body of an answer, which ends early when the token of its request is
    /// revoked; that of a GET, which is a stream of what is to come, also when
    /// the token expires.
    pub struct WhileValid<B> {
        #[pin]
        body: B,
        ended: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
        over: bool,
    }
}

impl<B: Body> WhileValid<B> {
    /// `ended` is over with the token. A body whose length is known is all
    /// there: nothing more can be sent.
    pub(super) fn new<F>(body: B, ended: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = ()> + Send + Sync + 'static,
    {
        let open = body.size_hint().exact().is_none();
        Self {
            body,
            ended: open.then(|| Box::pin(ended()) as _),
            over: false,
        }
    }
}

impl<B: Body> Body for WhileValid<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(ended) = this.ended.as_mut()
            && ended.as_mut().poll(context).is_ready()
        {
            *this.ended = None;
            *this.over = true;
        }
        if *this.over {
            return Poll::Ready(None);
        }
        this.body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.over {
            SizeHint::with_exact(0)
        } else {
            self.body.size_hint()
        }
    }
}

/// The whole body, which is bounded whatever its length claims to be, and has
/// to be here in time.
pub(super) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    most: usize,
    time: Duration,
) -> Result<Bytes, Refusal>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    const TOO_LONG: Refusal = Refusal::Unreadable(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body is longer than this server reads",
    );
    if is_announced_over(headers, most) {
        return Err(TOO_LONG);
    }
    match tokio::time::timeout(time, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LONG),
        Ok(Err(_)) => Err(Refusal::Unreadable(
            StatusCode::BAD_REQUEST,
            "the body could not be read",
        )),
        Err(_) => Err(Refusal::Unreadable(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
        )),
    }
}

fn is_announced_over(headers: &HeaderMap, most: usize) -> bool {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length > most as u64)
}

/// Whether the server may read a message out of such a request. Methods that
/// MCP does not use are treated as if they did.
pub(super) fn carries_message(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}

/// Whether the octets of the body are the octets the server will read.
pub(super) fn readable(headers: &HeaderMap) -> Result<(), Refusal> {
    let coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Refusal::Unreadable(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a body with a content coding is not read",
        ));
    }
    for content_type in headers.get_all(CONTENT_TYPE) {
        let content_type = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
        let mut parameters = content_type.split(';').map(str::trim);
        if parameters.next() == Some("application/x-www-form-urlencoded") {
            return Err(Refusal::Unreadable(
                StatusCode::BAD_REQUEST,
                "the body is JSON, and the token is in the Authorization header only",
            ));
        }
        let other_charset = parameters
            .filter_map(|parameter| parameter.strip_prefix("charset="))
            .any(|charset| !matches!(charset.trim_matches('"'), "utf-8" | "utf8"));
        if other_charset {
            return Err(Refusal::Unreadable(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "JSON is in UTF-8",
            ));
        }
    }
    Ok(())
}
