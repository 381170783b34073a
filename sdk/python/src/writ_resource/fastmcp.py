"""For FastMCP: its `TokenVerifier`, for servers that are not wrapped with `Protect`."""

from __future__ import annotations

from fastmcp.server.auth import AccessToken, TokenVerifier

from .mcp import verified
from .verifier import Verifier


class WritTokenVerifier(TokenVerifier):
    """Gives tokens to a `Verifier`, for `FastMCP(auth=…)` alone or in a `RemoteAuthProvider`. While a token cannot be
    judged FastMCP answers 500 (`UnavailableError` passes through it), and clients keep the token.

    Its events arrive while `verifier.running()` is entered.
    """

    def __init__(self, verifier: Verifier, required_scopes: list[str] | None = None) -> None:
        super().__init__(required_scopes=required_scopes)
        self._verifier = verifier

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the token says in FastMCP's terms; None when it is refused."""
        claims = await verified(self._verifier, token)
        if claims is None:
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
