//! The end of a session.

mod back_channel;
mod requests;

use serde_json::{Value, json};

use crate::support::{CALLBACK, Person, TestApp, overlay};

/// Where the client `app` of [`scene`] wants people back.
const BACK: &str = "https://app.example/out?a=b";

/// Makes `client_id` a public client that asks who people are.
async fn client(app: &TestApp, client_id: &str, settings: Value) {
    let members = json!({
        "redirect_uris": [CALLBACK], "post_logout_redirect_uris": [BACK],
        "token_endpoint_auth_method": "none", "authorization": settings,
    });
    app.client(client_id, members).await;
}

/// The tokens of an authentication at this client.
async fn tokens(app: &TestApp, person: &Person<'_>, client_id: &str) -> Value {
    let mut over = json!({ "scope": "openid", "resource": null });
    overlay(&mut over, &json!({ "client_id": client_id }));
    let code = person.code(&over).await;
    let redeemed = app.redeem(&code, &json!({ "client_id": client_id }));
    redeemed.await.ok()
}
