//! Who is asking. Everything that must be refused is in `attacks`.

mod assertion;
mod authentication;
pub(crate) mod cimd;
mod declaration;
mod profiles;
mod registration;
mod unused;
