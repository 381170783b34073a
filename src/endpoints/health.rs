//! `GET /healthz`: the process answers.

/// Always 200.
pub async fn healthy() -> &'static str {
    "ok\n"
}
