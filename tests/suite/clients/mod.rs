//! Who is asking. Everything that must be refused is in `attacks`.

mod assertion;
mod authentication;
mod declaration;
mod registration;
