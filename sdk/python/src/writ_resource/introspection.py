"""Asks the authorization server whether a token still holds (RFC 7662)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from .claims import AccessClaims
from .errors import UnavailableError, VerifyError
from .web import Credentials, Web, WebError

log = logging.getLogger("writ_resource")


@dataclass(frozen=True)
class Introspect:
    """That the authorization server is asked about each token, on each call, and as whom."""

    client_id: str
    client_secret: str = field(repr=False)


class Introspector:
    """Keeps no answers: what was true a moment ago is what a revocation changes."""

    def __init__(self, web: Web, credentials: Credentials) -> None:
        self._web = web
        self._credentials = credentials

    async def confirm(self, token: str, claims: AccessClaims) -> AccessClaims:
        """The claims again, without the scopes that the answer does not name (RFC 7662 §2.2)."""
        try:
            url = await self._web.endpoint("introspection_endpoint")
            form = {"token": token, "token_type_hint": "access_token"}
            headers = {"accept": "application/json"}
            answer = await self._web.send("POST", url, data=form, auth=self._credentials.basic, headers=headers)
            said = answer.json() if answer.status == 200 else {}
            active, scope = said.get("active"), said.get("scope")
            if not isinstance(active, bool) or not isinstance(scope, (str, type(None))):
                raise WebError(f"{url} answered {answer.status} and something else", answer.status)
        except WebError as error:
            log.warning("the authorization server cannot be asked about a token: %s", error)
            words = "the authorization server cannot be asked about the token at the moment"
            raise UnavailableError(words) from None
        if not active:
            raise VerifyError("the token has been revoked")
        if scope is None:
            return claims
        told = scope.split()
        return replace(claims, scopes=tuple(held for held in claims.scopes if held in told))
