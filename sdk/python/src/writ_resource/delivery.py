"""Keeps the events coming: subscribes, reads, acknowledges, verifies, and begins again after a failure."""

from __future__ import annotations

import logging
import math
import random
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from .errors import SetError, SetupError, UnavailableError, UnknownKeyError
from .events import Events, Receiver
from .health import ECHO_LIMIT
from .stream import Push, Stream
from .web import WebError

CLOCKS = 60
"""Seconds that the clocks of two machines may differ by."""

STEADY = 60
"""Seconds after which a subscription is not taken for one that fails at once."""

RETRY = 10
"""Seconds between two verifications while something is wrong."""

LONGEST_PAUSE = 30
"""Seconds between two attempts to reach the transmitter, at most."""

log = logging.getLogger("writ_resource")

_Task = Callable[[], Coroutine[Any, Any, None]]


class Delivery:
    """One subscription, for as long as `run` runs."""

    def __init__(
        self,
        settings: Events,
        keep: float,
        keys_floor: float,
        stream: Stream,
        receiver: Receiver,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._method = settings.delivery
        self._keep = keep
        self._keys_floor = keys_floor
        self._heartbeats = settings.max_age - ECHO_LIMIT
        self._stream = stream
        self._receiver = receiver
        self._clock = clock
        self._sleep = sleep
        self._gap = True
        """Whether there are events that will not come again by themselves."""
        self._last: str | None = None
        self._acks: list[str] = []
        self._errors: dict[str, Any] = {}
        self._to_acknowledge = anyio.Event()

    async def run(self) -> None:
        """Never ends, unless the stream turns out to be one that cannot be trusted."""
        failures = 0
        while True:
            begun = self._clock()
            try:
                await self._subscribe()
            except SetupError as error:
                self._receiver.health.fail(str(error))
                log.error("not subscribed to revocations: %s", error)
                return
            except (WebError, UnavailableError) as error:
                self._receiver.health.fail(str(error))
                log.warning("events may be missing: %s", error)
            except Exception:
                # Whatever it is, a server that keeps calls out beats one that stopped listening.
                self._receiver.health.fail("the receiver failed")
                log.exception("the receiver failed")
            # Also after a feed that was ended properly, when it was ended at once.
            failures = 0 if self._clock() - begun >= STEADY else min(failures + 1, 10)
            pause = min(2**failures / 8, LONGEST_PAUSE) if failures else 0
            await self._sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter is no secret

    async def _subscribe(self) -> None:
        if await self._stream.prepare():
            self._gap, self._last = True, None
        self._receiver.critical = self._stream.critical
        self._receiver.paused = False
        if self._gap and not self._stream.has_feed:
            self._receiver.denials.cold_start(self._clock() + CLOCKS)
            self._gap = False
        if self._method == "feed":
            await self._feed(lambda: False)
            return
        if self._gap and isinstance(self._method, Push):
            await self._feed(None)
            self._gap = False
        elif self._gap:
            await self._feed(lambda: not self._gap)
        await self._beside(self._wait if isinstance(self._method, Push) else self._poll, self._heartbeat)

    async def _feed(self, done: Callable[[], bool] | None) -> None:
        """Reads the feed to its end or until `done`. None: it is a replay alone, nothing is live in it."""
        # What is told again has its own places in the queue: it says nothing about what was taken over.
        past, last = (math.ceil(self._keep), None) if self._gap else (None, self._last)
        async with self._stream.feed(past, last) as sets:
            if self._gap:
                # What is asked for from now on is echoed after the replay.
                self._receiver.health.fail("catching up with the events of before the start")

            async def read() -> None:
                async for jti, token in sets:
                    await self._take(jti, token)
                    self._last = jti
                    self._to_acknowledge.set()
                    if done is not None and done():
                        return

            if done is None:
                await read()
                self._drain()  # pushed SETs are acknowledged by their answers
            else:
                await self._beside(read, self._heartbeat, self._acknowledge)

    async def _poll(self) -> None:
        while not self._receiver.paused:
            acks, errors = self._drain()
            asked = self._clock()
            try:
                sets = await self._stream.poll(acks, errors)
            except WebError:
                self._acks, self._errors = acks + self._acks, errors | self._errors
                raise
            for jti, token in sets.items():
                await self._take(jti, token)
            if not sets and self._clock() - asked < 1:
                await self._sleep(1)  # a transmitter that does not hold polls

    async def _wait(self) -> None:
        """SETs are pushed; looks after the stream when they do not arrive."""
        while True:
            await self._sleep(LONGEST_PAUSE)
            if self._receiver.health.doubt() is not None:
                return

    async def _take(self, jti: str, token: str) -> None:
        try:
            await self._accept_only_once(jti, token)
        except SetError as error:
            log.warning("refused the SET %s: %s", jti, error)
            self._errors[jti] = {"err": error.err, "description": error.description}
        else:
            self._acks.append(jti)
        if self._gap and self._receiver.health.doubt() is None:
            self._gap = False

    async def _accept_only_once(self, jti: str, token: str) -> None:
        """Nobody sends again what was fetched and refused, but its key may be too new to be fetched just now."""
        try:
            return await self._receiver.accept(token, jti)
        except UnknownKeyError:
            await self._sleep(self._keys_floor)
        try:
            await self._receiver.accept(token, jti)
        except UnknownKeyError:
            until = self._clock() + self._keep
            self._receiver.denials.doubt(until, "an event is signed with a key that is not published")
            raise

    def _drain(self) -> tuple[list[str], dict[str, Any]]:
        acks, errors = self._acks, self._errors
        self._acks, self._errors = [], {}
        return acks, errors

    async def _acknowledge(self) -> None:
        while True:
            await self._to_acknowledge.wait()
            self._to_acknowledge = anyio.Event()
            acks, errors = self._drain()
            try:
                await self._stream.acknowledge(acks, errors)
            except WebError as error:
                # They go with the next ones, or with `Last-Event-ID`.
                self._acks, self._errors = acks + self._acks, errors | self._errors
                log.warning("could not acknowledge: %s", error)

    async def _heartbeat(self) -> None:
        health = self._receiver.health
        if health.doubt() is None:
            # What was proved a moment ago, over another connection, still holds.
            await self._sleep(max(self._heartbeats - (health.age or 0), 0))
        while True:
            state = secrets.token_urlsafe(16)
            health.asked(state)
            pause: float = RETRY
            try:
                await self._stream.verify(state)
            except WebError as error:
                if error.status:
                    health.withdraw(state)  # refused: there will be no echo
                if error.status == 429:
                    pause = max(error.retry_after or RETRY, 1)
                else:
                    health.fail(f"a verification cannot be asked for: {error}")
            else:
                pause = RETRY if health.doubt() is not None else self._heartbeats
            await self._sleep(pause)

    async def _beside(self, main: _Task, *others: _Task) -> None:
        """Runs `main` to its end, and the others meanwhile."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            for other in others:
                tasks.start_soon(other)
            try:
                await main()
            except Exception as error:  # to be raised as itself, not as one of a group
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
