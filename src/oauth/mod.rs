//! The vocabulary: the words of the specifications as types.
//!
//! Nothing here does I/O, reads a clock or knows axum or the database.
//!
//! | file | follows |
//! |---|---|
//! | [`error_code`] | RFC 6749 §5.2, RFC 6750 §3.1, RFC 7591 §3.2.2, RFC 8693 §2.2.2, RFC 8707 §2, RFC 9449 |
//! | [`params`] | RFC 6749 §3.1–3.2 and appendix B |
//! | [`scope`] | RFC 6749 §3.3 |
//! | [`grant_type`] | the grant-type and authentication-method registries |
//! | [`claims`] | RFC 9068 §2.2, RFC 8693 §4.1 and §4.4, RFC 7800 |
//! | [`pkce`] | RFC 7636 |
//! | [`openid`] | OpenID Connect Core 1.0 |
//! | [`resource`] | RFC 8707 §2, RFC 9728 §1.2 |
//! | [`uri`] | RFC 3986, without repair |
//! | [`unseen`] | RFC 8264 §9.13 |
//! | [`redirect_uri`] | RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §4.1 |
//! | [`metadata`] | RFC 8414, OpenID Connect Discovery 1.0, RFC 9728 |

pub mod claims;
pub mod error_code;
pub mod grant_type;
pub mod metadata;
pub mod openid;
pub mod params;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod scope;
pub mod unseen;
pub mod uri;
