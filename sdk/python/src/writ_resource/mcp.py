"""For the official SDK (`mcp`): its `TokenVerifier`, for servers that are not wrapped with `Protect`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken, TokenVerifier
from starlette.authentication import AuthCredentials

from .claims import AccessClaims
from .errors import UnavailableError, VerifyError
from .verifier import Verifier

log = logging.getLogger("writ_resource")


class WritTokenVerifier(TokenVerifier):
    """Gives tokens to a `Verifier`. The SDK answers 401 to whatever is refused, and knows no scope per tool. While a
    token cannot be judged it answers 500 (`UnavailableError` passes through it), and clients keep the token.

    Its events arrive while `verifier.running()` is entered.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the token says in the SDK's terms; None when it is refused."""
        claims = await verified(self._verifier, token)
        return None if claims is None else access_token(token, claims, self._verifier.resource)


async def verified(verifier: Verifier, token: str) -> AccessClaims | None:
    """What a token says; None when it is refused. `UnavailableError` is no refusal, and passes through."""
    try:
        return await verifier.verify(token)
    except UnavailableError:
        raise
    except VerifyError as refusal:
        log.info("refused a token: %s", refusal)
        return None


def access_token(token: str, claims: AccessClaims, resource: str) -> AccessToken:
    """What a token says in the SDK's terms."""
    return AccessToken(
        token=token,
        client_id=claims.client_id,
        scopes=list(claims.scopes),
        expires_at=int(claims.exp),
        resource=resource,
        subject=claims.sub,
        claims=dict(claims.claims),
    )


@contextmanager
def signed_in(token: str, claims: AccessClaims, resource: str) -> Iterator[dict[str, Any]]:
    """Does what the SDK's own middleware would: gives what belongs into the scope of the request meanwhile."""
    user = AuthenticatedUser(access_token(token, claims, resource))
    before = auth_context_var.set(user)
    try:
        yield {"user": user, "auth": AuthCredentials(list(claims.scopes))}
    finally:
        auth_context_var.reset(before)
