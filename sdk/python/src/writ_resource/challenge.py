"""The answers given in the server's place: challenges (RFC 6750 §3, RFC 9728 §5.1) and refused bodies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Refusal(Exception):  # noqa: N818 -- it is an answer
    """A whole answer."""

    status: int
    body: dict[str, Any]
    headers: Sequence[tuple[str, str]] = ()

    def encoded(self) -> tuple[Headers, bytes]:
        """Headers and body as ASGI wants them."""
        body = json.dumps(self.body).encode()
        headers = [("content-type", "application/json"), ("cache-control", "no-store"), *self.headers]
        headers.append(("content-length", str(len(body))))
        return [(name.encode(), value.encode()) for name, value in headers], body


@dataclass(frozen=True)
class Entrance:
    """What challenges tell about getting in."""

    metadata_url: str
    scope: str
    """The scopes to ask for before it is known what the caller wants."""

    def no_token(self) -> Refusal:
        """Nothing went wrong yet, so the challenge has no error code (RFC 6750 §3.1)."""
        body = self._body("invalid_token", "an access token is needed in the Authorization header", "")
        return Refusal(401, body, [self._challenge("", self.scope)])

    def invalid_token(self, why: str) -> Refusal:
        return self._refusal(401, "invalid_token", why, self.scope)

    def invalid_request(self, why: str) -> Refusal:
        return self._refusal(400, "invalid_request", why, "")

    def insufficient_scope(self, needed: str) -> Refusal:
        return self._refusal(403, "insufficient_scope", "the access token does not allow this", needed)

    def _refusal(self, status: int, code: str, why: str, scope: str) -> Refusal:
        error = f'error="{code}", error_description="{why}", '
        return Refusal(status, self._body(code, why, scope), [self._challenge(error, scope)])

    def _challenge(self, error: str, scope: str) -> tuple[str, str]:
        scopes = f'scope="{scope}", ' if scope else ""
        return "www-authenticate", f'Bearer {error}{scopes}resource_metadata="{self.metadata_url}"'

    def _body(self, code: str, why: str, scope: str) -> dict[str, Any]:
        body = {"error": code, "error_description": why, "resource_metadata": self.metadata_url}
        return body | ({"scope": scope} if scope else {})


def unavailable(why: str) -> Refusal:
    """Nobody's fault who asks: a 401 would make clients throw good tokens away."""
    body = {"error": "temporarily_unavailable", "error_description": why}
    return Refusal(503, body, [("retry-after", "2")])


def unreadable(status: int, why: str) -> Refusal:
    return Refusal(status, {"error": "invalid_request", "error_description": why})


def bad_rpc(code: int, message: str) -> Refusal:
    return Refusal(400, {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}})
