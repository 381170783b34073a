//! The operators' API, one file for each noun.

pub(crate) mod access;
mod apply;
mod audit;
mod clients;
mod consequences;
mod events;
mod keys;
mod openapi;
mod resources;
mod revocations;
mod streams;
mod tenants;
mod users;
