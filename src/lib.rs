//! Writ: an OAuth 2.1 authorization server for AI agents and MCP servers.
//!
//! One sentence to remember: **grant types only ask; [`policy::decide`] makes a
//! [`policy::Permit`]; [`tokens::issue`] spends it.** That is why scopes and delegation rules
//! cannot be skipped by a new grant.
//!
//! # The map
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | [`oauth`] | the vocabulary of the specifications | nothing of ours |
//! | [`error`] | a registered code, words for the client, a private cause | `oauth` |
//! | [`clock`], [`entropy`], [`config`] | time, randomness, settings | `oauth`, `error` |
//! | [`fetch`] | the only way out | `config` |
//! | [`edge`] | who is at the other end, and how often they may ask | the above |
//! | [`keys`] | made, sealed, published, used, retired | the above |
//! | [`store`] | the only place with SQL | `oauth`, `config` |
//! | [`audit`] | what happened, in a hash chain | `oauth` |
//! | [`signals`] | what receivers are told | `oauth`, `entropy`, `keys`, `store` |
//! | [`registry`] | what the token path reads, in memory | `oauth`, `config`, `keys`, `signals`, `store` |
//! | [`context`] | the request that is being answered | `edge`, `entropy`, `registry` |
//! | [`journal`] | the one writer | `audit`, `clock`, `context`, `entropy`, `registry`, `signals`, `store` |
//! | [`cluster`] | what other nodes have done | `journal`, `store` |
//! | [`web`] | what handlers take; pages: rendered, guarded | `config`, `context`, `error`, `oauth`, `registry` |
//! | [`app`] | a server without its sockets | all of the above |
//! | [`policy`] | may it be? pure decisions | `oauth`, `error`, `keys`, `registry` |
//! | [`clients`] | who is asking | the above; `grant_types` for its list |
//! | [`tokens`] | the only place tokens begin | the above |
//! | [`users`] | a room: people, how they sign in, where they are signed in | the above |
//! | [`authorize`] | the front channel: from a request to a code | the above |
//! | [`grant_types`] | the back channel, one file for each | the above |
//! | [`endpoints`] | OAuth over HTTP, thin | the above |
//! | [`logout`] | a room: the end of a session, at a client's wish and told to clients | the above |
//! | [`streams`] | a room: receivers of security events, their streams, delivery | the above |
//! | [`resources`] | a room: registered MCP servers | the above |
//! | [`trail`] | a room: the audit trail, verified, listed, signed, exported, cut | the above |
//! | [`admin`] | the operators' API | the above |
//! | [`router`], [`serve`], [`cli`], `demo` | the URL table, the sockets, the command line | everything |
//!
//! `tests/architecture.rs` keeps this table.

pub mod admin;
pub mod app;
pub mod audit;
pub mod authorize;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod context;
#[cfg(feature = "demo")]
pub mod demo;
pub mod edge;
pub mod endpoints;
pub mod entropy;
pub mod error;
pub mod fetch;
pub mod grant_types;
pub mod journal;
pub mod keys;
pub mod logout;
pub mod oauth;
pub mod policy;
pub mod registry;
pub mod resources;
pub mod router;
pub mod serve;
pub mod signals;
pub mod store;
pub mod streams;
pub mod telemetry;
pub mod tokens;
pub mod trail;
pub mod users;
pub mod web;
