"""What can go wrong, in words that are fit for a client."""


class SetupError(ValueError):
    """A setting is wrong; the words say which, and what is allowed."""


class VerifyError(Exception):
    """The token is refused: 401 `invalid_token` (RFC 6750 §3.1)."""


class UnavailableError(VerifyError):
    """The token cannot be judged at the moment and may well be good: 503."""


class SetError(Exception):
    """A security event token is refused, with a registered code (RFC 8935 §2.4, SSF 1.0)."""

    def __init__(self, err: str, description: str) -> None:
        super().__init__(f"{err}: {description}")
        self.err = err
        self.description = description


class UnknownKeyError(SetError):
    """Of a security event token that is signed with a key which the transmitter does not publish, or not yet."""

    def __init__(self) -> None:
        super().__init__("invalid_key", "the issuer has no such key")
