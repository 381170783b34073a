#![doc = include_str!("../README.md")]

mod challenge;
pub mod claims;
mod clock;
mod discovery;
pub mod dpop;
pub mod events;
mod introspection;
mod json;
mod jwks;
pub mod jws;
mod layer;
mod proofs;
mod rpc;
mod scopes;
mod verifier;

pub use claims::AccessClaims;
pub use clock::{Clock, ManualClock};
pub use events::{Events, Health, Revoked, WhenStale};
pub use introspection::Introspect;
pub use layer::{PresentedToken, Protect, ProtectBuilder, ProtectLayer, ProtectedBody, WhileValid};
pub use scopes::tool_scope;
pub use verifier::{SetupError, Verifier, VerifierBuilder, VerifyError};
