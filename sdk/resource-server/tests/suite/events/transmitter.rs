//! A transmitter over real HTTP: an authorization server with streams, whose
//! SETs are really signed, and which can be broken at will.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body::Frame;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use writ_resource::ManualClock;

use crate::support::{RSA, Signer, jwks, signers};

pub(crate) const CREDENTIALS: &str = "Basic cnM6c2VjcmV0";
pub(crate) const PUSH: &str = "urn:ietf:rfc:8935";
pub(crate) const POLL: &str = "urn:ietf:rfc:8936";

pub(crate) fn caep(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/caep/event-type/{name}")
}

pub(crate) fn risc(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/risc/event-type/{name}")
}

pub(crate) fn ssf(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/ssf/event-type/{name}")
}

#[derive(Clone)]
pub(crate) struct Transmitter {
    pub(crate) url: String,
    pub(crate) clock: ManualClock,
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    clock: ManualClock,
    world: Mutex<World>,
    /// Changes whenever something is queued, or a stream stops.
    news: watch::Sender<u64>,
    named: AtomicUsize,
    http: reqwest::Client,
}

/// What is true at the transmitter.
pub(crate) struct World {
    pub(crate) streams: BTreeMap<String, Stream>,
    /// What was sent to whom it concerned, whether they were there or not.
    log: Vec<(String, String, bool)>,
    /// Every request but discovery fails with this.
    pub(crate) broken: Option<StatusCode>,
    /// Verification requests are accepted and nothing comes of them.
    pub(crate) mute: bool,
    /// Verification requests are to come back after so many seconds.
    pub(crate) too_soon: Option<u32>,
    /// What introspection says.
    pub(crate) active: bool,
    pub(crate) introspections: usize,
    pub(crate) tokens: usize,
    /// Tokens of the API that count.
    pub(crate) valid: BTreeSet<String>,
    pub(crate) created: usize,
    /// How many streams a client may have.
    pub(crate) most: usize,
    pub(crate) verifications: usize,
    pub(crate) feeds: usize,
    /// The `replay` of each feed that asked for one.
    pub(crate) replays: Vec<i64>,
    pub(crate) last_event_ids: Vec<String>,
    /// `setErrs` of polls.
    pub(crate) refusals: Vec<Value>,
    pub(crate) has_feed: bool,
    pub(crate) has_replay: bool,
    /// Replays end after so many SETs, as if that were all.
    pub(crate) cut_after: Option<usize>,
    pub(crate) issuer: Option<String>,
    /// For whom streams are.
    pub(crate) resource: String,
    pub(crate) critical: Vec<String>,
    pub(crate) keys: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) object: Value,
    pub(crate) secret: Option<String>,
    pub(crate) status: String,
    /// Everything that was ever sent, and whether it was acknowledged.
    pub(crate) sets: Vec<(String, String, bool)>,
}

impl Transmitter {
    pub(crate) async fn start(clock: ManualClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{origin}/t/acme");
        let inner = Arc::new(Inner {
            url: url.clone(),
            clock: clock.clone(),
            world: Mutex::new(World {
                streams: BTreeMap::new(),
                log: Vec::new(),
                broken: None,
                mute: false,
                too_soon: None,
                active: true,
                introspections: 0,
                tokens: 0,
                valid: BTreeSet::new(),
                created: 0,
                most: 16,
                verifications: 0,
                feeds: 0,
                replays: Vec::new(),
                last_event_ids: Vec::new(),
                refusals: Vec::new(),
                has_feed: true,
                has_replay: true,
                cut_after: None,
                issuer: None,
                resource: String::new(),
                critical: Vec::new(),
                keys: jwks(&signers()),
            }),
            news: watch::Sender::new(0),
            named: AtomicUsize::new(0),
            http: reqwest::Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
        });
        let router = Router::new()
            .route(
                "/.well-known/oauth-authorization-server/t/acme",
                get(metadata),
            )
            .route("/.well-known/ssf-configuration/t/acme", get(configuration))
            .route("/t/acme/jwks", get(keys))
            .route("/t/acme/token", post(token))
            .route("/t/acme/introspect", post(introspect))
            .route(
                "/t/acme/ssf/streams",
                get(streams).post(create).patch(update).delete(delete),
            )
            .route("/t/acme/ssf/status", get(status).post(set_status))
            .route("/t/acme/ssf/verify", post(verify))
            .route("/t/acme/ssf/poll/{id}", post(poll))
            .route("/t/acme/ssf/feed", get(feed))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, clock, inner }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.inner.world.lock().unwrap()
    }

    /// How many feeds and polls wait for something.
    pub(crate) fn listening(&self) -> usize {
        self.inner.news.receiver_count()
    }

    /// The one stream.
    pub(crate) fn stream(&self) -> Stream {
        let world = self.world();
        assert_eq!(world.streams.len(), 1, "{:?}", world.streams.keys());
        world.streams.values().next().unwrap().clone()
    }

    /// A stream that is there from before, as the layer leaves one behind.
    pub(crate) fn has_stream(&self, method: &str) -> String {
        let object = json!({ "delivery": { "method": method }, "description": "writ-resource rs" });
        self.inner.add(object)
    }

    /// Everybody who waits looks again, and feeds say that they are there.
    pub(crate) fn changed(&self) {
        self.inner.news.send_modify(|count| *count += 1);
    }

    /// The claims of an honest SET.
    pub(crate) fn set(&self, sub_id: &Value, event_type: &str, payload: &Value) -> Value {
        let stream = self.stream();
        self.inner.set(&stream, sub_id, event_type, payload)
    }

    pub(crate) fn sign(&self, signer: &Signer, claims: &Value) -> String {
        sign(signer, claims)
    }

    /// Queues a SET.
    pub(crate) fn queue(&self, compact: &str) {
        let id = self.stream().object["stream_id"]
            .as_str()
            .unwrap()
            .to_owned();
        self.inner.queue(&id, compact);
        let past = (name_of(compact), compact.to_owned(), true);
        self.world().log.push(past);
    }

    /// Queues an honest SET.
    pub(crate) fn emit(&self, sub_id: &Value, event_type: &str, payload: &Value) -> String {
        let claims = self.set(sub_id, event_type, payload);
        self.queue(&sign(&RSA, &claims));
        claims["jti"].as_str().unwrap().to_owned()
    }

    /// The same, on one of several streams.
    pub(crate) fn emit_on(&self, id: &str, sub_id: &Value, event_type: &str, payload: &Value) {
        let stream = self.world().streams[id].clone();
        let claims = self.inner.set(&stream, sub_id, event_type, payload);
        self.inner.queue(id, &sign(&RSA, &claims));
    }

    /// Pushes one, as the stream says.
    pub(crate) async fn push(&self, compact: &str) -> (u16, Value) {
        let stream = self.stream();
        self.inner.push(&stream, compact).await
    }
}

fn sign(signer: &Signer, claims: &Value) -> String {
    let header = json!({ "alg": signer.alg, "kid": signer.kid, "typ": "secevent+jwt" });
    signer.raw(&header.to_string(), &claims.to_string())
}

/// The `jti` of a SET.
fn name_of(compact: &str) -> String {
    use base64::Engine as _;
    let payload = compact.split('.').nth(1).unwrap_or_default();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    serde_json::from_slice::<Value>(&payload.unwrap_or_default())
        .ok()
        .and_then(|claims| Some(claims["jti"].as_str()?.to_owned()))
        .unwrap_or_else(|| "unreadable".to_owned())
}

impl Inner {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}{}", self.named.fetch_add(1, Ordering::SeqCst))
    }

    fn add(&self, mut object: Value) -> String {
        let id = self.name("stream");
        let mut world = self.world();
        object["stream_id"] = json!(id);
        object["iss"] = json!(world.issuer.clone().unwrap_or_else(|| self.url.clone()));
        object["aud"] = json!(world.resource);
        let secret = delivered(&mut object, &self.url, &id);
        let sets = world.log.clone();
        world.streams.insert(
            id.clone(),
            Stream {
                object,
                secret,
                status: "enabled".to_owned(),
                sets,
            },
        );
        id
    }

    fn set(&self, stream: &Stream, sub_id: &Value, event_type: &str, payload: &Value) -> Value {
        json!({
            "iss": self.url, "aud": stream.object["aud"], "iat": self.clock.now(),
            "jti": self.name("set"), "txn": "t1", "sub_id": sub_id,
            "events": { event_type: payload },
        })
    }

    fn queue(&self, id: &str, compact: &str) {
        let mut world = self.world();
        let stream = world.streams.get_mut(id).unwrap();
        stream
            .sets
            .push((name_of(compact), compact.to_owned(), false));
        drop(world);
        self.news.send_modify(|count| *count += 1);
    }

    async fn push(&self, stream: &Stream, compact: &str) -> (u16, Value) {
        let url = stream.object["delivery"]["endpoint_url"].as_str().unwrap();
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/secevent+jwt")
            .header("accept", "application/json");
        if let Some(secret) = &stream.secret {
            request = request.header("authorization", secret);
        }
        let answer = request.body(compact.to_owned()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// RFC 6750 §3.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let world = self.world();
        if let Some(status) = world.broken {
            return Err(status);
        }
        let presented = headers
            .get("authorization")
            .map(|value| value.to_str().unwrap());
        if presented.is_some_and(|value| world.valid.contains(value)) {
            Ok(())
        } else {
            Err(StatusCode::UNAUTHORIZED)
        }
    }
}

/// Keeps the secret out of what is shown, and gives a polled stream its URL.
fn delivered(object: &mut Value, url: &str, id: &str) -> Option<String> {
    if object["delivery"]["method"] == POLL {
        object["delivery"]["endpoint_url"] = json!(format!("{url}/ssf/poll/{id}"));
    }
    let secret = object["delivery"]
        .as_object_mut()
        .unwrap()
        .remove("authorization_header");
    secret.map(|secret| secret.as_str().unwrap().to_owned())
}

async fn metadata(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let url = &inner.url;
    Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"),
        "token_endpoint": format!("{url}/token"),
        "introspection_endpoint": format!("{url}/introspect"),
    }))
}

async fn configuration(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let (url, world) = (&inner.url, inner.world());
    let mut document = json!({
        "issuer": world.issuer.as_ref().unwrap_or(url),
        "spec_version": "1_0",
        "jwks_uri": format!("{url}/jwks"),
        "configuration_endpoint": format!("{url}/ssf/streams"),
        "status_endpoint": format!("{url}/ssf/status"),
        "verification_endpoint": format!("{url}/ssf/verify"),
    });
    if !world.critical.is_empty() {
        document["critical_subject_members"] = json!(world.critical);
    }
    if world.has_feed {
        document["feed_endpoint"] = json!(format!("{url}/ssf/feed"));
    }
    Json(document)
}

async fn keys(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(inner.world().keys.clone())
}

async fn token(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: String) -> Response {
    let mut world = inner.world();
    if let Some(status) = world.broken {
        return status.into_response();
    }
    assert_eq!(headers["authorization"], CREDENTIALS);
    assert_eq!(body, "grant_type=client_credentials&scope=ssf.manage");
    world.tokens += 1;
    let token = format!("api{}", world.tokens);
    world.valid.insert(format!("Bearer {token}"));
    Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": 300 }))
        .into_response()
}

async fn introspect(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let mut world = inner.world();
    if let Some(status) = world.broken {
        return status.into_response();
    }
    assert_eq!(headers["authorization"], CREDENTIALS);
    world.introspections += 1;
    Json(json!({ "active": world.active })).into_response()
}

async fn streams(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let world = inner.world();
    let objects: Vec<_> = world
        .streams
        .values()
        .map(|stream| &stream.object)
        .collect();
    Json(json!(objects)).into_response()
}

async fn create(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(object): Json<Value>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let is_full = |world: &World| world.streams.len() >= world.most;
    if is_full(&inner.world()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let id = inner.add(object);
    let mut world = inner.world();
    world.created += 1;
    (StatusCode::CREATED, Json(world.streams[&id].object.clone())).into_response()
}

async fn update(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(changes): Json<Value>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let mut world = inner.world();
    let id = changes["stream_id"].as_str().unwrap().to_owned();
    let stream = world.streams.get_mut(&id).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        stream.object[name] = value.clone();
    }
    if changes.get("delivery").is_some() {
        stream.secret = delivered(&mut stream.object, &inner.url, &id);
    }
    Json(stream.object.clone()).into_response()
}

async fn delete(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let gone = inner.world().streams.remove(&query["stream_id"]);
    gone.map_or(StatusCode::NOT_FOUND, |_| StatusCode::NO_CONTENT)
        .into_response()
}

async fn status(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let world = inner.world();
    let stream = &world.streams[&query["stream_id"]];
    Json(json!({ "stream_id": query["stream_id"], "status": stream.status })).into_response()
}

async fn set_status(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let mut world = inner.world();
    let stream = world.streams.get_mut(body["stream_id"].as_str().unwrap());
    body["status"]
        .as_str()
        .unwrap()
        .clone_into(&mut stream.unwrap().status);
    Json(body).into_response()
}

async fn verify(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    let id = body["stream_id"].as_str().unwrap().to_owned();
    let stream = {
        let mut world = inner.world();
        world.verifications += 1;
        let Some(stream) = world.streams.get(&id).cloned() else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if let Some(seconds) = world.too_soon {
            let wait = [("retry-after", seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, wait).into_response();
        }
        if world.mute {
            return StatusCode::NO_CONTENT.into_response();
        }
        stream
    };
    let sub_id = json!({ "format": "opaque", "id": id });
    let payload = json!({ "state": body["state"] });
    let set = inner.set(&stream, &sub_id, &ssf("verification"), &payload);
    let compact = sign(&RSA, &set);
    if stream.object["delivery"]["method"] == PUSH {
        tokio::spawn(async move { inner.push(&stream, &compact).await });
    } else {
        inner.queue(&id, &compact);
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn poll(
    State(inner): State<Arc<Inner>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Err(refusal) = inner.authorize(&headers) {
        return refusal.into_response();
    }
    {
        let mut world = inner.world();
        let refused = body.get("setErrs").and_then(Value::as_object).cloned();
        let refused = refused.unwrap_or_default();
        let taken = body.get("ack").and_then(Value::as_array).cloned();
        let taken = taken.unwrap_or_default();
        let Some(stream) = world.streams.get_mut(&id) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        for set in &mut stream.sets {
            set.2 |= taken.iter().any(|jti| *jti == set.0) || refused.contains_key(&set.0);
        }
        if !refused.is_empty() {
            assert_eq!(headers["content-language"], "en");
            world.refusals.push(Value::Object(refused));
        }
    }
    let mut news = inner.news.subscribe();
    let waited = async {
        loop {
            news.mark_unchanged();
            let sets: BTreeMap<_, _> = {
                let world = inner.world();
                let Some(stream) = world.streams.get(&id) else {
                    return BTreeMap::new();
                };
                let open = stream.sets.iter().filter(|(_, _, taken)| !taken);
                open.map(|(jti, compact, _)| (jti.clone(), compact.clone()))
                    .collect()
            };
            if !sets.is_empty() {
                return sets;
            }
            news.changed().await.unwrap();
        }
    };
    let sets = if body["maxEvents"] == 0 {
        BTreeMap::new()
    } else {
        let limit = Duration::from_secs(25);
        tokio::time::timeout(limit, waited)
            .await
            .unwrap_or_default()
    };
    Json(json!({ "sets": sets })).into_response()
}

async fn feed(
    State(inner): State<Arc<Inner>>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    if let Err(refusal) = inner.authorize(request.headers()) {
        return refusal.into_response();
    }
    let id = query["stream_id"].clone();
    let replay: Option<i64> = query.get("replay").map(|seconds| seconds.parse().unwrap());
    let mut news = inner.news.subscribe();
    let (first, ends) = {
        let mut world = inner.world();
        if replay.is_some() && !world.has_replay {
            return StatusCode::BAD_REQUEST.into_response();
        }
        world.feeds += 1;
        world.replays.extend(replay);
        if let Some(last) = request.headers().get("last-event-id") {
            world.last_event_ids.push(last.to_str().unwrap().to_owned());
        }
        let Some(stream) = world.streams.get_mut(&id) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if let Some(last) = request.headers().get("last-event-id") {
            let taken = stream.sets.iter().position(|(jti, _, _)| last == &**jti);
            for set in stream.sets.iter_mut().take(taken.map_or(0, |at| at + 1)) {
                set.2 = true;
            }
        }
        let ends = stream.object["delivery"]["method"] == PUSH;
        // Everything again, or what was not taken yet: always all of it here.
        let first = if replay.is_some() {
            0
        } else {
            let open = stream.sets.iter().position(|(_, _, taken)| !taken);
            open.unwrap_or(stream.sets.len())
        };
        (first, ends)
    };
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    tokio::spawn(async move {
        let mut next = first;
        loop {
            news.mark_unchanged();
            let (sets, is_cut) = {
                let world = inner.world();
                let Some(stream) = world.streams.get(&id) else {
                    return;
                };
                if world.broken.is_some() || stream.status != "enabled" {
                    return;
                }
                let cut = world.cut_after.filter(|_| ends);
                let last = stream.sets.len().min(cut.unwrap_or(usize::MAX));
                (stream.sets[next.min(last)..last].to_vec(), cut.is_some())
            };
            next += sets.len();
            for (jti, compact, _) in sets {
                let text = format!("id: {jti}\nevent: set\ndata: {compact}\n\n");
                if sender.send(text.into()).await.is_err() {
                    return;
                }
            }
            if ends {
                if !is_cut {
                    // Fails only when nobody listens any more.
                    let _ = sender.send("event: end\ndata: {}\n\n".into()).await;
                }
                return;
            }
            // A comment, as when nothing happens.
            if sender.send(":\n".into()).await.is_err() {
                return;
            }
            tokio::select! {
                changed = news.changed() => changed.unwrap(),
                () = sender.closed() => return,
            }
        }
    });
    let body = Body::new(Channel(receiver));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// A body of what is sent through a channel.
pub(crate) struct Channel(pub(crate) mpsc::Receiver<Bytes>);

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }
}
