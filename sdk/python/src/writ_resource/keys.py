"""The issuer's keys: discovered, kept, and fetched again when a token names one that is not there."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import jwt

from .errors import UnavailableError
from .strict import algorithm
from .web import Answer, Web, WebError

DEFAULT_MAX_AGE = 300
MAX_AGE_BOUNDS = (60, 24 * 3600)
MAX_STALE = 24 * 3600
"""Seconds that keys count past their freshness while the issuer cannot be reached."""

FIRST_FETCH_FLOOR = 1
"""Seconds between two fetches while there are no keys at all."""

_FITTING = {
    "RSA": (("RS256", "PS256"), None),
    "EC": (("ES256",), "P-256"),
    "OKP": (("EdDSA",), "Ed25519"),
}

log = logging.getLogger("writ_resource")


class Keys:
    """The keys as they were fetched last. Many callers share one fetch."""

    def __init__(
        self, web: Web, clock: Callable[[], float], jwks_uri: Callable[[], Awaitable[str]], floor: float
    ) -> None:
        self._web = web
        self._clock = clock
        self._jwks_uri = jwks_uri
        self.floor = floor
        """The least seconds between two fetches."""
        self._keys: list[tuple[str | None, str, jwt.PyJWK]] = []
        self._fresh_until: float | None = None
        self._last_fetch = float("-inf")
        self._fetches = 0
        self._cut_off = False
        self._fetching = anyio.Lock()

    async def find(self, kid: str | None, alg: str) -> jwt.PyJWK | None:
        """The key for a token, or None when the issuer has no such key.

        An unknown `kid` causes a fetch, at most one every `floor` seconds however many tokens name it.
        Raises `UnavailableError` when there are no keys to rely on, or when the key may be one that the
        issuer, which cannot be asked, has made since.
        """
        now = self._clock()
        # Whoever comes while aged keys are renewed goes on with those.
        if self._fresh_until is None or (now >= self._fresh_until and not self._fetching.locked()):
            await self._refetch()
        key = self._look_up(kid, alg)
        if key is None:
            await self._refetch()
            key = self._look_up(kid, alg)
        if self._fresh_until is None or now >= self._fresh_until + MAX_STALE or (key is None and self._cut_off):
            raise UnavailableError("the keys of the authorization server cannot be fetched at the moment")
        return key

    async def load(self) -> None:
        """Fetches the keys if there are none yet, so that a wrong setting shows at start."""
        if self._fresh_until is None:
            await self._refetch()
        if self._fresh_until is None:
            raise UnavailableError("the keys of the authorization server cannot be fetched at the moment")

    def _look_up(self, kid: str | None, alg: str) -> jwt.PyJWK | None:
        # Without a `kid` there must be exactly one: keys are never tried one after the other.
        fitting = [key for name, fits, key in self._keys if fits == alg and kid in (None, name)]
        return fitting[0] if len(fitting) == 1 else None

    async def _refetch(self) -> None:
        seen = self._fetches
        async with self._fetching:
            now = self._clock()
            least = min(self.floor, FIRST_FETCH_FLOOR) if self._fresh_until is None else self.floor
            # The distance: a clock that was set back must not forbid fetching until it has caught up.
            if seen != self._fetches or abs(now - self._last_fetch) < least:
                return
            self._last_fetch = now
            try:
                answer = await self._web.get(await self._jwks_uri())
                self._keys = _usable(answer)
                self._fresh_until, self._cut_off = now + _max_age(answer), False
            except WebError as error:
                self._cut_off = True
                self._web.forget()
                log.warning("could not fetch the issuer's keys; what was known before stays: %s", error)
            finally:
                self._fetches += 1


def _usable(answer: Answer) -> list[tuple[str | None, str, jwt.PyJWK]]:
    keys = answer.json().get("keys")
    if not isinstance(keys, list):
        raise WebError("the keys are not a JWK Set")
    usable = []
    for jwk in keys:
        usable += [(jwk.get("kid"), alg, key) for alg, key in _readings(jwk)] if isinstance(jwk, dict) else []
    return usable


def _readings(jwk: dict[str, Any]) -> list[tuple[str, jwt.PyJWK]]:
    """A key under each algorithm it may verify; none for private, weak and foreign keys."""
    algorithms, curve = _FITTING.get(str(jwk.get("kty")), ((), None))
    if "d" in jwk or jwk.get("use", "sig") != "sig" or (curve is not None and jwk.get("crv") != curve):
        return []
    readings = []
    for alg in algorithms:
        if algorithm(str(jwk.get("alg", alg))) != alg:
            continue
        try:
            key = jwt.PyJWK(jwk, alg)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if jwk["kty"] != "RSA" or key.key.key_size >= 2048:
            readings.append((alg, key))
    return readings


def _max_age(answer: Answer) -> float:
    """`max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), within bounds."""
    found = re.search(r'(?:^|[\s,])max-age="?(\d{1,9})', answer.headers.get("cache-control", ""), re.IGNORECASE)
    said = int(found.group(1)) if found else DEFAULT_MAX_AGE
    return min(max(said, MAX_AGE_BOUNDS[0]), MAX_AGE_BOUNDS[1])
