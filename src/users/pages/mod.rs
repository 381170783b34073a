//! The pages: one file for each, with its template beside it.

mod account;
mod authenticator;
mod factor;
mod login;
mod new_password;
mod passkeys;
mod profile;
mod sign_up;
mod upstream;
mod visit;

pub use self::upstream::{Leaving, depart};

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{get, post},
};

use crate::{
    app::AppState,
    web::{SharedPages, refused},
};

/// The URLs of the room.
pub fn router(pages: SharedPages) -> Router<AppState> {
    Router::new()
        .route("/login", get(login::show).post(login::submit))
        .route("/login/factor", get(factor::show).post(factor::submit))
        .route("/login/passkey", post(passkeys::sign_in))
        .route("/login/upstream/{id}", post(upstream::leave))
        .route("/login/upstream/{id}/callback", get(upstream::arrive))
        .route("/signup", get(sign_up::show).post(sign_up::submit))
        .route("/account", get(account::show))
        .route("/account/signout", post(account::sign_out))
        .route("/account/sessions/end", post(account::end_sessions))
        .route("/account/profile", get(profile::show).post(profile::submit))
        .route(
            "/account/password",
            get(new_password::show).post(new_password::submit),
        )
        .route(
            "/account/authenticator",
            get(authenticator::show).post(authenticator::submit),
        )
        .route("/account/authenticator/remove", post(authenticator::remove))
        .route("/account/recovery", post(authenticator::renew))
        .route("/account/passkeys", get(passkeys::show).post(passkeys::add))
        .route("/account/passkeys/remove", post(passkeys::remove))
        .route("/account/upstream", post(upstream::add))
        .route("/account/upstream/remove", post(upstream::remove))
        .layer(from_fn_with_state(pages, refused::as_page))
        .route("/pages/passkey.js", get(passkeys::script))
}
