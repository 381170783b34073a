"""The receiver: which events count, what they mean for a token, and how much is known."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from .claims import AccessClaims
from .denials import Decision, Denials
from .errors import SetError, SetupError, UnavailableError
from .health import Health
from .sets import (
    ACCOUNT_DISABLED,
    ACCOUNT_ENABLED,
    ACCOUNT_PURGED,
    CAEP,
    RISC,
    SESSION_REVOKED,
    STREAM_UPDATED,
    TOKEN_CLAIMS_CHANGE,
    VERIFICATION,
    SecurityEvent,
    SetReader,
)
from .stream import Push

SEEN_FOR = 24 * 3600
"""Seconds that a `jti` is recognised as a repetition."""

SEEN = 50_000
"""How many are. Nothing rests on it: to apply an event again changes nothing."""

NEEDED = (SESSION_REVOKED, TOKEN_CLAIMS_CHANGE, ACCOUNT_DISABLED, ACCOUNT_ENABLED, ACCOUNT_PURGED)
HOOKED = (
    *(f"{CAEP}{name}" for name in ("credential-change", "assurance-level-change", "device-compliance-change")),
    f"{CAEP}risk-level-change",
    f"{RISC}credential-compromise",
)

log = logging.getLogger("writ_resource")


@dataclass(frozen=True)
class Events:
    """That this server hears of revocations, and how. Its credentials are its own at the authorization server."""

    client_id: str
    client_secret: str = field(repr=False)
    delivery: Literal["feed", "poll"] | Push = "feed"
    """`feed` and `poll` need no public address; `feed` is the fastest. Or `Push`."""
    instance: str | None = None
    """A name for this process that stays over its restarts and is no other process's: each has a stream of its own,
    which goes on where it was. Without one each start makes up a name, and its end deletes the stream."""
    when_stale: Literal["introspect", "refuse"] = "introspect"
    """What becomes of tokens while events may be missing: ask about each (RFC 7662), or answer 503."""
    max_age: float = 70
    """Seconds after which events count as missing when no verification was echoed; 15 at least. One is asked for
    ten seconds before."""
    token_lifetime: int = 3600
    """Seconds that access tokens of this server live at most, six days at the utmost. Markers are kept for so long."""
    memory: int = 100_000
    """How many revocations are kept at once. When there are more, every token is in doubt."""
    on_event: Callable[[SecurityEvent], Literal["end_tokens"] | None] | None = None
    """Is told of every event, also of those that change nothing here by themselves (credentials, devices, risk).
    With "end_tokens" it has the tokens of the event's subject end. Must return at once."""

    def __post_init__(self) -> None:
        if self.max_age < 15:
            raise SetupError("max_age: 15 seconds or more")
        if not 0 < self.token_lifetime <= 6 * 24 * 3600:
            raise SetupError("token_lifetime: 1 second to 6 days")

    @property
    def requested(self) -> tuple[str, ...]:
        """The event types to ask for."""
        return NEEDED if self.on_event is None else (*NEEDED, *HOOKED)


@dataclass(frozen=True)
class Status:
    """How the receiver is."""

    live: bool
    doubt: str | None
    """Why events may be missing."""
    age: float | None
    """Seconds since the moment up to which everything is known to have arrived."""
    lag: float | None
    """Seconds that the last verification took to arrive."""
    markers: int
    """How many revocations are kept."""


class Receiver:
    """Takes SETs, and says what they mean for a token. Any number of deliveries may feed it."""

    def __init__(
        self, settings: Events, keep: float, reader: SetReader, issuer: str, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._watchers: set[Callable[[], None]] = set()
        self.denials = Denials(issuer, keep, settings.memory)
        self.health = Health(clock, settings.max_age)
        self.critical: Collection[str] = ()
        """Subject members that the transmitter declares critical."""
        self.lacks_past = False
        """Whether what was revoked before has still to be told."""
        self.interrupted: Callable[[str, bool], None] = lambda _reason, _lost: None
        """Is told why the stream cannot be relied on, and whether there are events that it will not bring again."""
        self._knows_of_others = False
        self.push_secret = f"Bearer {secrets.token_urlsafe(32)}"
        """The whole `Authorization` header that pushed SETs have to come with."""

    def status(self) -> Status:
        """For metrics and for `/readyz`."""
        doubt = self.health.doubt()
        return Status(doubt is None, doubt, self.health.age, self.health.lag, len(self.denials))

    def decide(self, claims: AccessClaims) -> Decision:
        """What is known about a token that verifies."""
        decision = self.denials.decide(claims, self._clock())
        if decision.verdict != "allowed":
            return decision
        doubt = self.health.doubt()
        if doubt is None and claims.exp - claims.iat > self._settings.token_lifetime:
            doubt = "the token lives longer than token_lifetime says, which is how long revocations are kept"
        return decision if doubt is None else Decision("ask", decision.scopes, doubt)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Calls `changed` after every event that was applied; answers how to end that."""
        self._watchers.add(changed)
        return lambda: self._watchers.discard(changed)

    async def accept(self, token: str | bytes, jti: str | None = None) -> None:
        """Verifies and applies a SET; when this returns it counts.

        `SetError` says why it was refused, `UnavailableError` that it has to come again.
        """
        event = await self._reader.read(token)
        if jti is not None and jti != event.jti:
            raise SetError("invalid_request", "the SET came under another jti")
        now = self._clock()
        while self._seen and (len(self._seen) > SEEN or next(iter(self._seen.values())) <= now - SEEN_FOR):
            self._seen.popitem(last=False)
        if event.jti in self._seen:
            return
        self._apply(event, now)
        if event.type not in (VERIFICATION, STREAM_UPDATED):
            self._consult(event, now)
        self._seen[event.jti] = now

    async def push(self, authorization: str | None, content_type: str | None, body: bytes | None) -> SetError | None:
        """A pushed SET (RFC 8935 §2): None for 202, the error for 400; `UnavailableError` for 503.

        A `body` of None stands for one that was too long to be read.
        """
        if not hmac.compare_digest((authorization or "").encode(), self.push_secret.encode()):
            return SetError("authentication_failed", "the Authorization header is not the one of this stream")
        if (content_type or "").split(";")[0].strip().lower() != "application/secevent+jwt":
            return SetError("invalid_request", "the body is application/secevent+jwt")
        if body is None:
            return SetError("invalid_request", "the SET is longer than 64 KiB")
        try:
            await self.accept(body)
        except UnavailableError:
            raise
        except SetError as error:
            log.warning("refused a SET: %s", error)
            return error
        return None

    def _apply(self, event: SecurityEvent, now: float) -> None:
        if event.type == VERIFICATION:
            state = event.payload.get("state")
            if state is not None and not self.health.echo(state):
                self._hear_of_others()
        elif event.type == STREAM_UPDATED:
            status = event.payload["status"]
            # What is told of the past was so then. A paused stream keeps what arises (SSF 1.0 §8.1.2); one that is
            # enabled may have been disabled before.
            if not self.lacks_past:
                self.interrupted(f"the transmitter has set the stream to {status}", status != "paused")
        else:
            self.denials.apply(event, now, self.critical)

    def _hear_of_others(self) -> None:
        """A verification has arrived that this receiver has not asked for."""
        # Until the past has been told it may be what an earlier process asked for.
        if self.lacks_past or self.health.age is None:
            return
        if not self._knows_of_others:
            log.warning("another receiver uses this stream, and takes events away: each process needs an own instance")
            self._knows_of_others = True
        self.interrupted("another receiver uses this stream", True)
        raise SetError("invalid_state", "nobody asked for a verification with this state")

    def _consult(self, event: SecurityEvent, now: float) -> None:
        """Tells the author, and whoever has requests under way."""
        if self._settings.on_event is not None:
            try:
                if self._settings.on_event(event) == "end_tokens":
                    self.denials.apply(replace(event, type=SESSION_REVOKED), now, self.critical)
            except Exception:
                log.exception("on_event failed for SET %s", event.jti)
        for changed in list(self._watchers):
            changed()
