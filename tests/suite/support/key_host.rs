//! A web server of a client that publishes its keys, on loopback.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, routing::get};
use serde_json::Value;
use tokio::net::TcpListener;

/// What it serves, and how often it was asked.
#[derive(Clone)]
pub(crate) struct KeyHost {
    pub(crate) url: String,
    body: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl KeyHost {
    pub(crate) async fn start(jwks: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            url: format!("http://{}/jwks.json", listener.local_addr().unwrap()),
            body: Arc::new(Mutex::new(jwks.to_string())),
            asked: Arc::default(),
        };
        let serve = |State(host): State<Self>| async move {
            host.asked.fetch_add(1, Ordering::SeqCst);
            let body = host.body.lock().unwrap();
            body.clone()
        };
        let router = Router::new()
            .route("/jwks.json", get(serve))
            .with_state(host.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        host
    }

    /// Publishes another body from now on.
    pub(crate) fn publish(&self, body: &str) {
        body.clone_into(&mut self.body.lock().unwrap());
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
