//! A room: people, their accounts and sessions, how they sign in and what they see of it.
//!
//! | file | what it is |
//! |---|---|
//! | [`account`] | an account, found by id, name or address |
//! | [`session`] | a browser in which somebody is signed in |
//! | [`cookie`], [`browser`], [`device`], [`csrf`] | what a browser carries, and that a form is its own |
//! | [`signed`] | somebody who is signed in, and what they send, as handlers take it |
//! | [`errand`] | where a person was going before signing in |
//! | [`credential`] | what a person signs in with |
//! | [`password`], [`totp`], [`recovery`] | each kind of it |
//! | [`webauthn`] | passkeys |
//! | [`upstream`] | who somebody is at another provider |
//! | [`sign_in`] | from what a person shows to who they are |
//! | [`half`] | what was shown first, while a second factor is to follow |
//! | [`change`] | changes of accounts, with what hangs from them |
//! | [`declaration`] | what administrators say of a person, and see |
//! | [`agent`] | what a browser calls itself, in a few words |
//! | [`pages`] | what people see |

pub mod account;
pub mod agent;
pub mod browser;
pub mod change;
pub mod cookie;
pub mod credential;
pub mod csrf;
pub mod declaration;
pub mod device;
pub mod errand;
pub mod half;
pub mod pages;
pub mod password;
pub mod recovery;
pub mod session;
pub mod sign_in;
pub mod signed;
pub mod totp;
pub mod upstream;
pub mod webauthn;

pub use self::{account::User, errand::Errand, session::Session};
