"""What was revoked, for as long as a token could still be affected. Pure state: no clock, no network."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from .claims import AccessClaims
from .sets import (
    ACCOUNT_DISABLED,
    ACCOUNT_ENABLED,
    ACCOUNT_PURGED,
    SESSION_REVOKED,
    TOKEN_CLAIMS_CHANGE,
    SecurityEvent,
)
from .subjects import Selector, read_subject, selectors_of

NEVER = float("-inf")

log = logging.getLogger("writ_resource")


@dataclass(frozen=True)
class Decision:
    """What the events say about a token."""

    verdict: Literal["allowed", "denied", "ask"]
    """`ask`: the events known here are not the whole truth about it."""
    scopes: tuple[str, ...] = ()
    """What it still allows."""
    reason: str = ""


@dataclass
class _Marker:
    """Everything known about the tokens of one selector."""

    final: bool = False
    cut_off: float = NEVER
    disabled: float = NEVER
    enabled: float = NEVER
    narrowed: float = NEVER
    scopes: frozenset[str] = frozenset()
    until: float = NEVER

    def kills(self, iat: float) -> bool:
        # On a tie the stricter of the two wins.
        return self.final or iat <= self.cut_off or NEVER < self.disabled >= self.enabled

    def narrow(self, scopes: frozenset[str], time: float) -> None:
        if time == self.narrowed:
            self.scopes &= scopes
        elif time > self.narrowed:
            self.narrowed, self.scopes = time, scopes


class Denials:
    """The markers of one issuer's revocations, bounded in number and in time."""

    def __init__(self, issuer: str, keep: float, capacity: int) -> None:
        self._issuer = issuer
        self._keep = keep
        """Seconds from its `iat` within which a token may come: so long a marker is needed."""
        self._capacity = capacity
        self._markers: dict[Selector, _Marker] = {}
        self._next_expiry = NEVER
        self._ask_until = NEVER
        self._ask_reason = ""
        self._unknown_before = NEVER
        self._unknown_until = NEVER

    def __len__(self) -> int:
        return len(self._markers)

    def cold_start(self, now: float) -> None:
        """Nobody knows what was revoked before `now`: older tokens are unknown until none is left."""
        self._unknown_before, self._unknown_until = now, now + self._keep

    def apply(self, event: SecurityEvent, now: float, critical: Collection[str] = ()) -> None:
        """Keeps what the event says. In any order, and as often as it comes, the outcome is the same.

        `SetError` when its subject is not one.
        """
        if event.type not in _ACTED_UPON:
            return
        subject = read_subject(event.sub_id, self._issuer, critical)
        selector = subject.selector
        if subject.unmapped:
            log.warning("SET %s: subject members %s say nothing here", event.jti, subject.unmapped)
        if event.type == ACCOUNT_ENABLED:
            # To ignore a member widens the match, and nobody else may be let in.
            if subject.unmapped or selector is None or selector.user is None or selector != Selector(selector.user):
                return
        elif subject.critical or (selector is None and subject.unmapped):
            self.doubt(max(event.time, now) + self._keep, "an event was about a subject that is not known here")
            return
        if selector is None:
            return
        if event.type in _ACCOUNT:
            if selector.user is None:
                self.doubt(max(event.time, now) + self._keep, "an event was about an account that is not known here")
                return
            selector = Selector(user=selector.user)  # an account is a user's, whatever else is said
        until = _last(event, selector, now) + self._keep
        marker = self._marker(selector, until, now) if now < until else None
        if marker is not None:
            _mark(marker, event, selector)
            marker.until = max(marker.until, until)

    def doubt(self, until: float, reason: str) -> None:
        """Something may have been said about any token that is there until then."""
        if until > self._ask_until:
            self._ask_until, self._ask_reason = until, reason
            log.warning("%s; every token is in doubt until %d", reason, until)

    def decide(self, claims: AccessClaims, now: float) -> Decision:
        """Denied whatever else is unknown; then unknown; then allowed, with the scopes that are left."""
        scopes = claims.scopes
        for selector in selectors_of(claims, self._issuer) if self._markers else ():
            marker = self._markers.get(selector)
            if marker is None or marker.until <= now:
                continue
            if marker.kills(claims.iat):
                return Decision("denied", reason="the token has been revoked")
            # A token that is issued later says itself what it still allows.
            is_one_token = selector.session == ("jti", claims.jti) and marker.narrowed > NEVER
            if is_one_token or claims.iat <= marker.narrowed:
                scopes = tuple(scope for scope in scopes if scope in marker.scopes)
        if now < self._ask_until:
            return Decision("ask", scopes, self._ask_reason)
        if now < self._unknown_until and claims.iat <= self._unknown_before:
            return Decision("ask", scopes, "the token is older than what is known here")
        return Decision("allowed", scopes)

    def _marker(self, selector: Selector, until: float, now: float) -> _Marker | None:
        marker = self._markers.get(selector)
        if marker is None:
            if len(self._markers) >= self._capacity:
                self._drop_expired(now)
            if len(self._markers) >= self._capacity:
                self.doubt(until, "there is no room for more revocations")
                return None
            marker = self._markers[selector] = _Marker()
        self._next_expiry = min(self._next_expiry, until) if len(self._markers) > 1 else until
        return marker

    def _drop_expired(self, now: float) -> None:
        if now < self._next_expiry:
            return
        self._markers = {key: marker for key, marker in self._markers.items() if now < marker.until}
        self._next_expiry = min((marker.until for marker in self._markers.values()), default=NEVER)


def _last(event: SecurityEvent, selector: Selector, now: float) -> float:
    """The last moment at which a token may be issued that the event is about."""
    compares_times = event.type in _ACCOUNT or (event.type == SESSION_REVOKED and selector.session is None)
    return event.time if compares_times else max(event.time, now)


def _mark(marker: _Marker, event: SecurityEvent, selector: Selector) -> None:
    if event.type == SESSION_REVOKED:
        # A grant or a token that has ended never comes back; of anything else, tokens issued later live.
        if selector.session is not None:
            marker.final = True
        else:
            marker.cut_off = max(marker.cut_off, event.time)
    elif event.type in (ACCOUNT_DISABLED, ACCOUNT_PURGED):
        marker.disabled = max(marker.disabled, event.time)
    elif event.type == ACCOUNT_ENABLED:
        marker.enabled = max(marker.enabled, event.time)
    elif "scope" in event.payload["claims"]:
        marker.narrow(frozenset(event.payload["claims"]["scope"].split()), event.time)


_ACCOUNT = {ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED}
_ACTED_UPON = {SESSION_REVOKED, TOKEN_CLAIMS_CHANGE, *_ACCOUNT}
