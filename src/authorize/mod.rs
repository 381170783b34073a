//! The front channel: from a request to a code.
//!
//! | file | what |
//! |---|---|
//! | [`request`] | the request as received, and as it is after all checks |
//! | [`request_object`] | requests that are signed |
//! | [`machine`] | the order that matters most: until client and redirect URI are known to be good, nobody is redirected |
//! | [`checks`] | the other checks, a table |
//! | [`interaction`] | where the browser goes next: sign in, be asked, be done |
//! | [`completion`] | the end of that: a code for what the person allows, or none |
//! | [`consent`] | what a person lets a client have |
//! | [`decision`] | what was decided before anybody had signed in |
//! | [`code`] | codes, made and redeemed |
//! | [`refresh`] | refresh tokens, written and read |
//!
//! Nothing is stored while a person makes up their mind: browsers carry the request along, sealed,
//! and every step reads and checks it again from the beginning.

pub mod checks;
pub mod code;
pub mod completion;
pub mod consent;
pub mod decision;
pub mod interaction;
pub mod machine;
pub mod refresh;
pub mod request;
pub mod request_object;

pub use self::{
    completion::Word,
    decision::Decision,
    interaction::{Interaction, Step},
    machine::read,
    request::{Answer, AuthorizationRequest, Channel, Received, Refusal, ResponseMode},
};
