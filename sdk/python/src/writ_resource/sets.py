"""Security event tokens (RFC 8417): which are genuine, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import SetError, UnknownKeyError, VerifyError
from .keys import Keys
from .strict import ALGORITHMS, Unverified, seconds

MAX_SET = 64 * 1024
"""Octets of the longest SET that is read."""

MAX_AHEAD = 60
"""Seconds that `iat` of a SET may be ahead of this machine's clock."""

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"

SESSION_REVOKED = f"{CAEP}session-revoked"
TOKEN_CLAIMS_CHANGE = f"{CAEP}token-claims-change"
ACCOUNT_DISABLED = f"{RISC}account-disabled"
ACCOUNT_ENABLED = f"{RISC}account-enabled"
ACCOUNT_PURGED = f"{RISC}account-purged"
VERIFICATION = f"{SSF}verification"
STREAM_UPDATED = f"{SSF}stream-updated"


@dataclass(frozen=True)
class SecurityEvent:
    """What a genuine SET says."""

    jti: str
    type: str
    """The URI of the event type."""
    sub_id: Mapping[str, Any]
    payload: Mapping[str, Any]
    time: float
    """When it happened: `event_timestamp`, else `toe`, else `iat`."""
    iat: float
    txn: str | None = None
    """The same for all SETs that come from one cause."""


class SetReader:
    """Reads the SETs of one issuer for one audience."""

    def __init__(self, keys: Keys, issuer: str, audience: str, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def read(self, token: str | bytes, algorithms: Collection[str] = ALGORITHMS) -> SecurityEvent:
        """The checks in the order of their answers.

        `SetError` says what is wrong with the SET; `UnavailableError` that its signature cannot be checked
        at the moment.
        """
        unverified = _parse(token, algorithms)
        key = await self._keys.find(unverified.kid, unverified.alg) if unverified.kid else None
        if key is None:
            raise UnknownKeyError
        try:
            claims = unverified.verify(key)
        except VerifyError as error:
            code = "invalid_key" if "signature" in str(error) else "invalid_request"
            raise SetError(code, str(error)) from None
        return self._event(claims)

    def _event(self, claims: Mapping[str, Any]) -> SecurityEvent:
        if claims.get("iss") != self._issuer:
            raise SetError("invalid_issuer", "iss is not the issuer of this stream")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise SetError("invalid_audience", "aud does not name this receiver")
        iat = seconds(claims.get("iat"))
        if iat is None or iat > self._clock() + MAX_AHEAD:
            raise SetError("invalid_request", "iat is missing, not a time, or ahead of the clock")
        # SSF 1.0: what has them could pass for another kind of token.
        if "exp" in claims or "sub" in claims:
            raise SetError("invalid_request", "a SET has neither exp nor sub")
        jti, sub_id, txn = claims.get("jti"), claims.get("sub_id"), claims.get("txn")
        if not isinstance(jti, str) or not jti:
            raise SetError("invalid_request", "jti is missing")
        if not isinstance(sub_id, dict):
            raise SetError("invalid_request", "sub_id is missing")
        kind, payload = _single(claims.get("events"))
        return SecurityEvent(
            jti=jti,
            type=kind,
            sub_id=sub_id,
            payload=payload,
            # What is not issued yet is not ended: a time further ahead is a mistake.
            time=min(_when(claims, payload, iat), max(self._clock(), iat) + MAX_AHEAD),
            iat=iat,
            txn=txn if isinstance(txn, str) else None,
        )


def _parse(token: str | bytes, algorithms: Collection[str]) -> Unverified:
    if len(token) > MAX_SET:
        raise SetError("invalid_request", "the SET is longer than 64 KiB")
    try:
        text = token.decode("ascii") if isinstance(token, bytes) else token
        unverified = Unverified.parse(text)
    except (UnicodeDecodeError, VerifyError) as error:
        raise SetError("invalid_request", f"not a SET: {error}") from None
    # An access token is no SET, though one key may sign both (RFC 8725 §3.11).
    if not unverified.is_typ("secevent+jwt"):
        raise SetError("invalid_request", "typ is not secevent+jwt")
    if unverified.alg not in algorithms:
        raise SetError("invalid_request", "the signature algorithm is not accepted")
    return unverified


def _single(events: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(events, dict) or len(events) != 1:
        raise SetError("invalid_request", "events needs exactly one member")
    kind, payload = next(iter(events.items()))
    if not isinstance(payload, dict):
        raise SetError("invalid_request", "the event is not an object")
    for name, fits, wanted in _SHAPES.get(kind, ()):
        if not fits(payload.get(name)):
            raise SetError("invalid_request", f"{name} of the event is not {wanted}")
    return kind, payload


def _when(claims: Mapping[str, Any], payload: Mapping[str, Any], iat: float) -> float:
    for name, said in (("event_timestamp", payload.get("event_timestamp")), ("toe", claims.get("toe"))):
        if said is not None:
            moment = seconds(said)
            if moment is None:
                raise SetError("invalid_request", f"{name} is not a time in seconds")
            return moment
    return iat


def _claims_fit(claims: Any) -> bool:
    return isinstance(claims, dict) and isinstance(claims.get("scope", ""), str)


# Only what is acted upon is looked at: a revocation must not be lost for a member that nobody reads.
_SHAPES: dict[str, tuple[tuple[str, Callable[[Any], bool], str], ...]] = {
    TOKEN_CLAIMS_CHANGE: (("claims", _claims_fit, "an object whose scope is a string"),),
    VERIFICATION: (("state", lambda state: state is None or isinstance(state, str), "a string"),),
    STREAM_UPDATED: (("status", lambda s: s in ("enabled", "paused", "disabled"), "a status"),),
}
