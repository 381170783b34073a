//! The harness: a server with a fresh database, a clock that stands still and entropy with a
//! fixed seed, and what it takes to make a scene in a line or two.
//!
//! Two front doors lead to the same server. [`TestApp`] answers in the process and is what nearly
//! every test uses; [`LiveServer`] has real sockets, for what only happens on the wire. Every
//! answer that comes back through [`Call`] has passed the checks of [`oracle`].

mod app;
mod at_rest;
mod authenticator;
mod browser;
mod document_host;
mod dpop;
mod home;
mod http;
mod jose;
mod key_host;
mod live;
mod oracle;
mod person;
pub(crate) mod provider;
mod tls;

pub(crate) use self::{
    app::{
        ACME, ADMIN_SECRET, CALENDAR, DELEGATION, NOW, TestApp, WEATHER, after_first_start,
        overlay, secret_of, short_limits,
    },
    at_rest::AtRest,
    authenticator::Authenticator,
    browser::{Browser, Page},
    document_host::DocumentHost,
    dpop::{ath, proof_header, thumbprint},
    home::Home,
    http::{Answer, Call, encode},
    jose::{Key, ServerKey, b64, parts, unsigned, verify},
    key_host::KeyHost,
    live::{Connection, LiveServer, status},
    person::{CALLBACK, CHALLENGE, Person, VERIFIER, fields, pairs, refusal, request, told},
    tls::Certificate,
};
