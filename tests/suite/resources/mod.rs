//! MCP servers as protected resources.

mod declaration;
mod metadata;
mod self_registration;
