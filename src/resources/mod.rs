//! Room: MCP servers as protected resources.
//!
//! Follows RFC 9728 (the document Writ publishes for each of them). They come by declaration
//! (`writ apply`, the admin API) or register themselves with a token of scope
//! `resource:register`.
//!
//! | URL | what |
//! |---|---|
//! | `POST /resources` | an MCP server registers or updates itself |
//! | `GET /resources/{id}` | what it registered, for itself |
//! | `DELETE /resources/{id}` | it takes itself away |
//! | `GET /resources/{id}/oauth-protected-resource` | the RFC 9728 document |

pub mod declaration;
pub mod http;
mod self_registration;

pub use self::http::router;
