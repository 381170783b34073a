//! A room: people, their accounts and sessions, how they sign in and what they see of it.
//!
//! | file | what it is |
//! |---|---|
//! | [`account`] | an account, found by id, name or address |
//! | [`session`] | a browser in which somebody is signed in |
//! | [`cookie`], [`browser`], [`csrf`] | what a browser carries, and that a form is its own |
//! | [`errand`] | where a person was going before signing in |

pub mod account;
pub mod browser;
pub mod cookie;
pub mod csrf;
pub mod errand;
pub mod session;

pub use self::{account::User, errand::Errand, session::Session};
