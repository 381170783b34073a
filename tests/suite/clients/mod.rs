//! Who is asking. Everything that must be refused is in `attacks`.

mod assertion;
mod authentication;
pub(crate) mod cimd;
mod declaration;
mod registration;
mod unused;
