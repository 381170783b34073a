"""Decides whether an access token is good for one resource (RFC 9068 §4), and whether it was revoked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from .claims import AccessClaims
from .delivery import Delivery
from .errors import SetupError, UnavailableError, VerifyError
from .events import Events, Receiver
from .introspection import Introspect, Introspector
from .keys import Keys
from .sets import SetReader
from .stream import Push, Stream
from .strict import ALGORITHMS, Unverified
from .web import Credentials, Web, trusted_url

ASK_AGAIN = 1
"""Seconds on the way after which the answer about a token is not taken for a fresh one."""

CLOSING = 5
"""Seconds within which what was begun has to be tidied up."""


class Verifier:
    """Verifies access tokens of one issuer for one resource, which is what `aud` has to name.

    `issuer` and `resource` are compared octet for octet. With `introspect` the issuer is asked about each
    token; with `events` it tells by itself what was revoked, and is asked only while that is in doubt.
    """

    def __init__(
        self,
        *,
        resource: str,
        issuer: str,
        events: Events | None = None,
        introspect: Introspect | None = None,
        jwks_uri: str | None = None,
        algorithms: Sequence[str] = ALGORITHMS,
        leeway: float = 30,
        refetch_floor: float = 10,
        timeout: float = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.resource = trusted_url("resource", resource)
        self.issuer = trusted_url("issuer", issuer)
        if "?" in resource or "?" in issuer:
            raise SetupError("resource, issuer: neither has a query (RFC 8414 §2, RFC 9728 §1.2)")
        if not algorithms or not set(algorithms) <= set(ALGORITHMS):
            raise SetupError(f"algorithms: some of {', '.join(ALGORITHMS)}")
        if jwks_uri is not None:
            trusted_url("jwks_uri", jwks_uri)
        self._algorithms = algorithms
        self._leeway = leeway
        self._clock = clock
        self._web = Web(issuer, timeout)
        self._refetch_floor = refetch_floor
        self._jwks_uri = jwks_uri
        self._keys = Keys(self._web, clock, self._find_keys, refetch_floor)
        self._introspector = None
        if introspect is not None:
            credentials = Credentials(introspect.client_id, introspect.client_secret)
            self._introspector = Introspector(self._web, credentials)
        self.events = events
        self.receiver: Receiver | None = None
        """What hears of revocations, when there are `events`."""
        self.was_started = False
        """Whether `running()` was ever entered; before, nothing is heard of."""
        if events is not None:
            self._listen(events)

    def _listen(self, events: Events) -> None:
        credentials = Credentials(events.client_id, events.client_secret)
        push = events.delivery if isinstance(events.delivery, Push) else None
        if push is not None:
            trusted_url("push", push.at(self.resource))
        # A token may come so long after its `iat`, by the clocks of two machines.
        keep = events.token_lifetime + max(60, 2 * self._leeway)
        # Their own: whoever sends tokens with made-up keys must not use up the fetches for SETs.
        keys = Keys(self._web, self._clock, self._find_transmitter_keys, self._refetch_floor)
        reader = SetReader(keys, self.issuer, self.resource, self._clock)
        self.receiver = Receiver(events, keep, reader, self.issuer, self._clock)
        name, secret = events.instance, self.receiver.push_secret
        stream = Stream(self._web, self.resource, credentials, self._clock, name, events.requested, push, secret)
        self._delivery = Delivery(events, keep, keys.floor, stream, self.receiver, self._clock)
        self._in_doubt = Introspector(self._web, credentials) if events.when_stale == "introspect" else None

    async def verify(self, token: str) -> AccessClaims:
        """Checks a token that came as a bearer token, and gives what it says.

        `UnavailableError` when it cannot be judged at the moment; every other `VerifyError` is its own fault.
        """
        return await self._judge(token, await self._check(token))

    async def verify_again(self, token: str, claims: AccessClaims, waited: float) -> AccessClaims:
        """What a token is still worth that was verified before, `waited` seconds ago."""
        return await self._judge(token, claims) if waited >= ASK_AGAIN else self.standing(claims)

    def standing(self, claims: AccessClaims) -> AccessClaims:
        """What a token that was verified is worth by what is known here and now; nobody is asked."""
        if self.remaining(claims) <= 0:
            raise VerifyError("the token has expired")
        if self.receiver is None:
            return claims
        decision = self.receiver.decide(claims)
        if decision.verdict == "denied":
            raise VerifyError(decision.reason)
        return replace(claims, scopes=decision.scopes)

    def remaining(self, claims: AccessClaims) -> float:
        """Seconds for which the token is still accepted."""
        return claims.exp + self._leeway - self._clock()

    async def load_keys(self) -> None:
        """Fetches the issuer's keys if there are none yet, so that a wrong setting shows at start."""
        await self._keys.load()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens for revocations meanwhile. `Protect` does this by itself, with the server's lifespan."""
        failure: BaseException | None = None
        self.was_started = True
        try:
            async with anyio.create_task_group() as tasks:
                if self.receiver is not None:
                    tasks.start_soon(self._delivery.run)
                try:
                    yield
                except Exception as error:  # to be raised as itself, not as one of a group
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                if self.receiver is not None:
                    with anyio.move_on_after(CLOSING):
                        await self._delivery.close()
                await self._web.close()
        if failure is not None:
            raise failure

    async def _find_keys(self) -> str:
        return self._jwks_uri or await self._web.endpoint("jwks_uri")

    async def _find_transmitter_keys(self) -> str:
        return self._web.named(await self._web.transmitter(), "jwks_uri")

    async def _check(self, token: str) -> AccessClaims:
        """What needs nobody's opinion. What needs no key comes first, so that other tokens cause no fetch."""
        unverified = Unverified.parse(token)
        if unverified.alg not in self._algorithms:
            raise VerifyError("the signature algorithm is not accepted")
        if not unverified.is_typ("at+jwt"):
            raise VerifyError("the token is not an access token")
        key = await self._keys.find(unverified.kid, unverified.alg)
        if key is None:
            raise VerifyError("the issuer has no such key")
        claims = AccessClaims.read(unverified.verify(key))
        now = self._clock()
        if claims.iss != self.issuer:
            raise VerifyError("the token is from another issuer")
        if self.resource not in claims.aud:
            raise VerifyError("the token is for another resource")
        if self.remaining(claims) <= 0:
            raise VerifyError("the token has expired")
        if now + self._leeway < max(claims.iat, claims.nbf or 0):
            raise VerifyError("the token is not valid yet")
        # RFC 9449 §7.2, RFC 8705 §3: without its proof a bound token is nothing.
        if claims.bound:
            raise VerifyError("the token is bound to a key and cannot be used as a bearer token")
        return claims

    async def _judge(self, token: str, claims: AccessClaims) -> AccessClaims:
        claims = self.standing(claims)
        introspector = self._whom_to_ask(claims)
        if introspector is None:
            return claims
        # Something may arrive, and the token may end, while the answer is on its way.
        return self.standing(await introspector.confirm(token, claims))

    def _whom_to_ask(self, claims: AccessClaims) -> Introspector | None:
        if self.receiver is None or self.receiver.decide(claims).verdict != "ask":
            return self._introspector
        if self._in_doubt is None:
            raise UnavailableError("revocations cannot be heard of at the moment")
        return self._in_doubt
