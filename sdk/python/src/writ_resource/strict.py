"""JSON and compact JWS, read so that no two readers could understand them differently."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jwt

from .errors import VerifyError

_NEWER_NAMES = {"Ed25519": "EdDSA"}
"""RFC 9864 §2.2: of the same algorithm."""

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""The signature algorithms that are accepted unless fewer are asked for; asymmetric ones only."""

LATEST = 253_402_300_799
"""The last second of the year 9999: later times are mistakes (milliseconds) or attacks."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_JWS = jwt.PyJWS()
for _newer, _known in _NEWER_NAMES.items():
    with suppress(ValueError):  # PyJWT knows it by now
        _JWS.register_algorithm(_newer, _JWS.get_algorithm_by_name(_known))


def read_json(text: str | bytes) -> Any:
    """One JSON text in UTF-8; `ValueError` also for members named twice (RFC 8259 §4 leaves them open)."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepeatedMember("a member is repeated")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


class RepeatedMember(ValueError):  # noqa: N818 -- a kind of ValueError, named for what it saw
    """An object names a member twice."""


def algorithm(name: str) -> str:
    """The older name of an algorithm that has two."""
    return _NEWER_NAMES.get(name, name)


def seconds(value: Any) -> float | None:
    """A NumericDate (RFC 7519 §2) that a clock may show, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LATEST:
        return None
    return value


@dataclass(frozen=True)
class Unverified:
    """A compact JWS whose signature has not been looked at."""

    token: str
    said_alg: str
    typ: str
    kid: str | None

    @classmethod
    def parse(cls, token: str) -> Unverified:
        """Reads the header alone."""
        if not _COMPACT.fullmatch(token):
            raise VerifyError("the token is not a compact JWS")
        try:
            header = read_json(jwt.utils.base64url_decode(token.split(".", 1)[0]))
        except ValueError:
            raise VerifyError("the token header is malformed") from None
        if not isinstance(header, dict):
            raise VerifyError("the token header is malformed")
        # RFC 7515 §4.1.11: whatever is critical here is not understood here.
        if "crit" in header or "b64" in header:
            raise VerifyError("the token needs a header extension that is not supported")
        alg, typ, kid = header.get("alg"), header.get("typ", ""), header.get("kid")
        if not isinstance(alg, str) or not isinstance(typ, str) or not isinstance(kid, (str, type(None))):
            raise VerifyError("the token header is malformed")
        return cls(token, alg, typ, kid)

    @property
    def alg(self) -> str:
        """The algorithm, by its older name."""
        return algorithm(self.said_alg)

    def is_typ(self, media_type: str) -> bool:
        """Media types fold case and may leave `application/` out (RFC 7515 §4.1.9)."""
        return self.typ.lower().removeprefix("application/") == media_type

    def verify(self, key: jwt.PyJWK) -> Mapping[str, Any]:
        """The claims, once the signature holds."""
        try:
            # PyJWT holds a key to one name of its algorithm.
            same = key if self.said_alg == self.alg else key.key
            payload = _JWS.decode(self.token, same, algorithms=[self.said_alg])
        except jwt.PyJWTError:
            raise VerifyError("the signature does not verify") from None
        try:
            claims = read_json(payload)
        except ValueError:
            claims = None
        if not isinstance(claims, dict):
            raise VerifyError("the token claims are malformed")
        return claims
