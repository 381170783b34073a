//! The suite: everything goes through the front door of a real server with a real database.
//!
//! The tree mirrors `src`; `attacks` has a file for each class of attack and `properties` what
//! must hold of all inputs. `support` makes the scenes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod admin;
mod attacks;
mod authorize;
mod cli;
mod clients;
mod cluster;
mod config;
mod context;
mod edge;
mod endpoints;
mod grant_types;
mod journal;
mod keys;
mod logout;
mod properties;
mod resources;
mod serve;
mod streams;
mod support;
mod telemetry;
mod tenants;
mod tokens;
mod trail;
mod users;
