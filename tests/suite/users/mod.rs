//! People: signing in, sessions, accounts.

mod account;
pub(crate) mod factor;
mod passkeys;
mod sessions;
mod sign_in;
mod sign_up;
pub(crate) mod upstream;
mod webauthn;
