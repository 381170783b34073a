//! People: signing in, sessions, accounts.

mod account;
mod factor;
mod passkeys;
mod sessions;
mod sign_in;
mod sign_up;
mod upstream;
mod webauthn;
