"""For FastMCP: its `TokenVerifier`, for servers that are not wrapped with `Protect`."""

from __future__ import annotations

import logging

from fastmcp.server.auth import AccessToken, TokenVerifier

from .errors import VerifyError
from .verifier import Verifier

log = logging.getLogger("writ_resource")


class WritTokenVerifier(TokenVerifier):
    """Gives tokens to a `Verifier`, for `FastMCP(auth=…)` alone or in a `RemoteAuthProvider`.

    Its events arrive while `verifier.running()` is entered.
    """

    def __init__(self, verifier: Verifier, required_scopes: list[str] | None = None) -> None:
        super().__init__(required_scopes=required_scopes)
        self._verifier = verifier

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the token says in FastMCP's terms; None when it is refused."""
        try:
            claims = await self._verifier.verify(token)
        except VerifyError as refusal:
            log.info("refused a token: %s", refusal)
            return None
        return AccessToken(
            token=token,
            client_id=claims.client_id,
            scopes=list(claims.scopes),
            expires_at=int(claims.exp),
            resource=self._verifier.resource,
            subject=claims.sub,
            claims=dict(claims.claims),
        )
