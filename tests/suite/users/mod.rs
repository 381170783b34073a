//! People: signing in, sessions, accounts.

mod factor;
mod sessions;
mod sign_in;
mod sign_up;
mod upstream;
