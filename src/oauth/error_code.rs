//! Every registered error code Writ answers with, each with its section and status.

/// A registered OAuth error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// RFC 6749 §5.2: malformed request.
    InvalidRequest,
    /// RFC 6749 §5.2: client authentication failed.
    InvalidClient,
    /// RFC 6749 §5.2: the grant or a token that stands for one does not hold.
    InvalidGrant,
    /// RFC 6749 §5.2: this client may not use this grant type.
    UnauthorizedClient,
    /// RFC 6749 §5.2: the grant type is not one of ours.
    UnsupportedGrantType,
    /// RFC 6749 §5.2: nothing of the requested scope can be granted.
    InvalidScope,
    /// RFC 8707 §2, RFC 8693 §2.2.2: unknown resource, or not one for this client.
    InvalidTarget,
    /// RFC 6749 §4.1.2.1, used here where a policy says no.
    AccessDenied,
    /// The same, of who may act here at all.
    Forbidden,
    /// RFC 6750 §3.1: the bearer token at a protected endpoint does not hold.
    InvalidToken,
    /// RFC 6750 §3.1: the token holds but lacks the scope.
    InsufficientScope,
    /// RFC 7591 §3.2.2: a member of the client metadata cannot be accepted.
    InvalidClientMetadata,
    /// RFC 7591 §3.2.2: a redirect URI cannot be accepted.
    InvalidRedirectUri,
    /// RFC 9449 §5, §7.1: no proof where one is needed, or one that does not hold.
    InvalidDpopProof,
    /// RFC 9449 §8, §9: the proof needs the nonce that comes with this answer.
    UseDpopNonce,
    /// RFC 6749 §4.1.2.1: only `code` is served.
    UnsupportedResponseType,
    /// OpenID Connect Core §3.1.2.6: the person would have to sign in.
    LoginRequired,
    /// As above: the person would have to be asked.
    ConsentRequired,
    /// RFC 9101 §6.3, RFC 9126 §4: it has expired, was used, or is another client's.
    InvalidRequestUri,
    /// RFC 9101 §6.3: the signed request does not hold.
    InvalidRequestObject,
    /// RFC 9101 §6.3: signed requests are not taken from this client.
    RequestNotSupported,
    /// RFC 9101 §6.3: requests are not fetched.
    RequestUriNotSupported,
    /// RFC 9396 §5: no type of authorization details is known here.
    InvalidAuthorizationDetails,
    /// OpenID Connect Core Unmet Authentication Requirements 1.0: an essential `acr` is not met.
    UnmetAuthenticationRequirements,
    /// No registered code exists for HTTP-level refusals; the status says it all.
    NotFound,
    /// As above: the thing to create exists already, or changed meanwhile.
    Conflict,
    /// As above: body larger than the limit.
    TooLarge,
    /// As above: too many requests or registrations.
    TooMany,
    /// RFC 6749 §4.1.2.1: our own failure.
    ServerError,
    /// RFC 6749 §4.1.2.1: overloaded, try again.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The registered string.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied | Self::Forbidden => "access_denied",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "invalid_request",
            Self::ServerError => "server_error",
            Self::TooMany | Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status that goes with the code on a JSON endpoint.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope | Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::TooMany => 429,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}
