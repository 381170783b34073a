"""The claims of an access token (RFC 9068 §2.2) and who acts through it (RFC 8693 §4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import VerifyError
from .strict import seconds

MAX_ACTORS = 16
"""How long a chain of actors may be to be read at all."""

_MALFORMED = "the token claims are malformed"


@dataclass(frozen=True)
class Actor:
    """One actor of the `act` chain."""

    sub: str
    iss: str | None = None
    """Whose name for the actor `sub` is, when it is not the token's issuer's."""


@dataclass(frozen=True)
class AccessClaims:
    """What an access token says. Reading it checks shapes; whether it holds is for the verifier."""

    iss: str
    sub: str
    aud: tuple[str, ...]
    exp: float
    iat: float
    jti: str
    client_id: str
    scopes: tuple[str, ...] = ()
    """What it allows, less whatever was taken from it since it was issued."""
    nbf: float | None = None
    grant_id: str | None = None
    actors: tuple[Actor, ...] = ()
    """From the current actor back to the first; empty when nobody acts for the subject."""
    bound: bool = False
    """Whether the token is bound to a key or a certificate (`cnf`, RFC 7800 §3.1)."""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Every claim, as it is in the token."""

    @property
    def caller(self) -> str:
        """Who makes this call: the current actor, or the client when there is none."""
        return self.actors[0].sub if self.actors else self.client_id

    def has_scope(self, scope: str) -> bool:
        """Whether exactly this scope is held (RFC 6749 §3.3: case-sensitive)."""
        return scope in self.scopes

    @classmethod
    def read(cls, claims: Mapping[str, Any]) -> AccessClaims:
        """The claims that RFC 9068 §2.2 demands, and those that revocations are about."""
        audience = claims.get("aud")
        names = (audience,) if isinstance(audience, str) else audience
        if not isinstance(names, (list, tuple)) or not names or not all(_text(name) for name in names):
            raise VerifyError(_MALFORMED)
        scope = claims.get("scope", "")
        if not isinstance(scope, str):
            raise VerifyError(_MALFORMED)
        grant_id = claims.get("grant_id")
        if grant_id is not None and not _text(grant_id):
            raise VerifyError(_MALFORMED)
        return cls(
            iss=_required(claims, "iss"),
            sub=_required(claims, "sub"),
            aud=tuple(names),
            exp=_time(claims, "exp"),
            iat=_time(claims, "iat"),
            jti=_required(claims, "jti"),
            client_id=_required(claims, "client_id"),
            scopes=tuple(name for name in scope.split(" ") if name),
            nbf=_time(claims, "nbf") if "nbf" in claims else None,
            grant_id=grant_id,
            actors=_actors(claims.get("act")),
            bound="cnf" in claims,
            claims=claims,
        )


def _actors(act: Any) -> tuple[Actor, ...]:
    chain: list[Actor] = []
    while act is not None:
        if not isinstance(act, dict) or not _text(act.get("sub")) or len(chain) == MAX_ACTORS:
            raise VerifyError(_MALFORMED)
        iss = act.get("iss")
        if iss is not None and not _text(iss):
            raise VerifyError(_MALFORMED)
        chain.append(Actor(act["sub"], iss))
        act = act.get("act")
    return tuple(chain)


def _required(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise VerifyError(_MALFORMED)
    return value


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = seconds(claims.get(name))
    if value is None:
        raise VerifyError(_MALFORMED)
    return value


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""
