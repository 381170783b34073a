//! What a receiver and this transmitter agree on (SSF 1.0 §8.1.1): whose word each member of a
//! stream is, and what becomes of a stream by what its receiver says. Nothing here is written.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::asked::{Members, refuse, said, text};
use crate::{
    error::Result,
    fetch::Fetch,
    oauth::{claims::Audience, uri},
    registry::{ClientDocument, Delivery, Resources, Stream, StreamDocument, SubjectStyle, Tenant},
    signals::{EventKind, KINDS},
};

/// RFC 8935
pub const PUSH: &str = "urn:ietf:rfc:8935";
/// RFC 8936
pub const POLL: &str = "urn:ietf:rfc:8936";

/// Longest header that is sent with pushes, bytes.
const MAX_HEADER: usize = 4096;
/// Longest URL that is pushed to, bytes.
const MAX_URL: usize = 2000;
/// Most event types that are asked for, and the longest name of one.
const MAX_EVENTS: usize = 100;
const MAX_EVENT: usize = 500;
/// Bytes of a description that are kept (SSF 1.0 §8.1.1 lets it be cut).
const MAX_DESCRIPTION: usize = 500;

/// Members that only this transmitter says (SSF 1.0 §8.1.1).
const OURS: [&str; 7] = [
    "stream_id",
    "iss",
    "aud",
    "events_supported",
    "events_delivered",
    "min_verification_interval",
    "inactivity_timeout",
];

/// The event types that any receiver may ask for.
pub fn supported() -> impl Iterator<Item = &'static EventKind> {
    KINDS.iter().filter(|kind| !kind.is_of_the_framework())
}

/// What a receiver gets, whatever it asks for.
#[must_use]
pub fn terms(resources: &Resources, client_id: &str, client: &ClientDocument) -> StreamDocument {
    let wanted = client.receiver.unwrap_or_default();
    let (aud, subjects) = match &client.serves {
        None => (client_id, SubjectStyle::Plain),
        Some(reference) => {
            let resource = resources.by_uri(reference);
            // A server whose resource is gone is still nobody else's.
            let uri = resource.map_or(reference.as_str(), |resource| resource.uri());
            (uri, wanted.subjects.unwrap_or(SubjectStyle::Oauth))
        }
    };
    let about = client.serves.iter().cloned();
    let resources = match subjects {
        SubjectStyle::Oauth => about.collect(),
        SubjectStyle::Plain => Vec::new(),
    };
    StreamDocument {
        aud: vec![aud.to_owned()],
        resources,
        subjects,
        algorithm: wanted.signing_algorithm,
        delivery: Delivery::Poll,
        events_requested: None,
        description: None,
        declared: false,
        excluded: Vec::new(),
    }
}

/// What a receiver says of a stream. Of what is not there it said nothing.
#[derive(Debug, Default)]
pub struct Wish {
    /// How it wants to be told.
    pub delivery: Option<WishedDelivery>,
    /// What it wants to hear, as it said it.
    pub events_requested: Option<Vec<String>>,
    /// Its words for the stream.
    pub description: Option<String>,
}

/// A delivery with what goes with it: one member, which is replaced whole.
#[derive(Debug)]
pub struct WishedDelivery {
    /// How.
    pub delivery: Delivery,
    /// The `Authorization` header of pushes.
    pub authorization: Option<Zeroizing<String>>,
}

/// What is agreed on then.
#[derive(Debug)]
pub struct Agreed {
    /// The stream's document.
    pub document: StreamDocument,
    /// The `Authorization` header of pushes from now on; the outer nothing leaves it as it is.
    pub authorization: Option<Option<Zeroizing<String>>>,
}

impl Wish {
    /// Reads what a receiver says of a new stream: what is this transmitter's to say is not there.
    ///
    /// # Errors
    /// `invalid_request` with the member to mend.
    pub fn of_new(members: &Members, fetch: &Fetch) -> Result<Self> {
        if let Some(name) = OURS.iter().find(|name| said(members, name).is_some()) {
            return Err(refuse(name, "the transmitter says it, not the receiver"));
        }
        Self::read(members, None, fetch)
    }

    /// Reads what a receiver says of a stream that it has: what is this transmitter's to say may
    /// be there as it is shown, and not otherwise.
    ///
    /// # Errors
    /// `invalid_request` with the member to mend.
    pub fn of_known(members: &Members, shown: &Value, fetch: &Fetch) -> Result<Self> {
        for name in OURS {
            if said(members, name).is_some_and(|sent| !is_same(sent, &shown[name])) {
                return Err(refuse(
                    name,
                    "the transmitter says it: leave it out, or send it as it is",
                ));
            }
        }
        Self::read(members, shown["delivery"]["endpoint_url"].as_str(), fetch)
    }

    fn read(members: &Members, url: Option<&str>, fetch: &Fetch) -> Result<Self> {
        let delivery = said(members, "delivery").map(|value| read_delivery(value, url, fetch));
        let events = said(members, "events_requested").map(read_events);
        let description = text(members, "description", usize::MAX)?
            .map(|text| text[..text.floor_char_boundary(MAX_DESCRIPTION)].to_owned());
        Ok(Self {
            delivery: delivery.transpose()?,
            events_requested: events.transpose()?,
            description,
        })
    }

    /// What is said is new, the rest stays (SSF 1.0 §8.1.1.3).
    #[must_use]
    pub fn update(self, mut document: StreamDocument) -> Agreed {
        let authorization = self.delivery.map(|wished| {
            document.delivery = wished.delivery;
            wished.authorization
        });
        if self.events_requested.is_some() {
            document.events_requested = self.events_requested;
        }
        if self.description.is_some() {
            document.description = self.description;
        }
        Agreed {
            document,
            authorization,
        }
    }

    /// What is said is all there is (SSF 1.0 §8.1.1.4), also of a new stream. Who does not say how
    /// it wants to be told polls.
    #[must_use]
    pub fn replace(self, mut document: StreamDocument) -> Agreed {
        let wished = self.delivery.unwrap_or(WishedDelivery {
            delivery: Delivery::Poll,
            authorization: None,
        });
        document.delivery = wished.delivery;
        document.events_requested = self.events_requested;
        document.description = self.description;
        Agreed {
            document,
            authorization: Some(wished.authorization),
        }
    }
}

/// A stream as its receiver sees it (SSF 1.0 §8.1.1). The `Authorization` header of pushes is
/// never shown.
#[must_use]
pub fn shown(tenant: &Tenant, stream: &Stream, verification_interval: u64) -> Value {
    let document = stream.document();
    let uris = |kinds: &mut dyn Iterator<Item = &'static EventKind>| -> Vec<&str> {
        kinds.map(|kind| kind.uri).collect()
    };
    let delivery = match &document.delivery {
        Delivery::Push { endpoint_url } => json!({ "method": PUSH, "endpoint_url": endpoint_url }),
        Delivery::Poll => json!({ "method": POLL, "endpoint_url": poll_url(tenant, stream.id()) }),
    };
    let mut shown = json!({
        "stream_id": stream.id(),
        "iss": tenant.issuer(),
        "aud": document.aud.iter().cloned().collect::<Audience>(),
        "events_supported": uris(&mut supported()),
        "events_delivered": uris(&mut document.delivered()),
        "delivery": delivery,
    });
    if let Some(requested) = &document.events_requested {
        shown["events_requested"] = json!(requested);
    }
    if let Some(description) = &document.description {
        shown["description"] = json!(description);
    }
    if verification_interval > 0 {
        shown["min_verification_interval"] = json!(verification_interval);
    }
    shown
}

/// Where a stream is polled: each at a URL of its own (SSF 1.0 §6.1.2).
#[must_use]
pub fn poll_url(tenant: &Tenant, stream: &str) -> String {
    tenant.url(&format!("/ssf/poll/{stream}"))
}

/// Lists are compared as sets, and one text is a list of one.
fn is_same(sent: &Value, ours: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut all = match value {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        all.sort_by_key(Value::to_string);
        all
    };
    sorted(sent) == sorted(ours)
}

/// `url` is where the stream is polled now, if it is.
fn read_delivery(value: &Value, url: Option<&str>, fetch: &Fetch) -> Result<WishedDelivery> {
    let Some(members) = value.as_object() else {
        return Err(refuse("delivery", "an object with a 'method'"));
    };
    let endpoint_url = text(members, "endpoint_url", MAX_URL)?;
    let header = text(members, "authorization_header", MAX_HEADER)?;
    match text(members, "method", MAX_URL)? {
        Some(PUSH) => {
            let url = endpoint_url.ok_or_else(|| refuse("endpoint_url", "push needs one"))?;
            Ok(WishedDelivery {
                delivery: Delivery::Push {
                    endpoint_url: check_url(url, fetch)?.to_owned(),
                },
                authorization: header.map(check_header).transpose()?,
            })
        }
        Some(POLL) if header.is_some() => Err(refuse(
            "authorization_header",
            "it goes with pushes; polls show an access token",
        )),
        Some(POLL) if endpoint_url.is_some_and(|sent| Some(sent) != url) => Err(refuse(
            "endpoint_url",
            "where a stream is polled is the transmitter's to say",
        )),
        Some(POLL) => Ok(WishedDelivery {
            delivery: Delivery::Poll,
            authorization: None,
        }),
        _ => Err(refuse("method", &format!("'{PUSH}' or '{POLL}'"))),
    }
}

fn read_events(value: &Value) -> Result<Vec<String>> {
    let wrong = || {
        refuse(
            "events_requested",
            &format!("a list of at most {MAX_EVENTS} URIs, each of at most {MAX_EVENT} bytes"),
        )
    };
    let all = value.as_array().filter(|all| all.len() <= MAX_EVENTS);
    let texts = all.ok_or_else(wrong)?.iter().map(|event| {
        let text = event.as_str().filter(|text| text.len() <= MAX_EVENT);
        text.map(str::to_owned).ok_or_else(wrong)
    });
    texts.collect()
}

/// The URL is kept as it was sent: what browsers would repair is refused. Its host is resolved,
/// and judged, whenever something is delivered.
fn check_url<'a>(url: &'a str, fetch: &Fetch) -> Result<&'a str> {
    let parsed = uri::parse(url);
    let parsed = parsed.ok_or_else(|| refuse("endpoint_url", "an absolute https URL"))?;
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
        return Err(refuse(
            "endpoint_url",
            "without user information and fragment",
        ));
    }
    let checked = fetch.check(url);
    checked.map_err(|why| refuse("endpoint_url", &why.to_string()))?;
    Ok(url)
}

fn check_header(text: &str) -> Result<Zeroizing<String>> {
    let visible = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if visible && !text.is_empty() && text.trim() == text {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    Err(refuse(
        "authorization_header",
        "visible ASCII characters, with spaces between them",
    ))
}
