"""Keeps the events coming: subscribes, reads, acknowledges, verifies, and begins again after a failure."""

from __future__ import annotations

import logging
import math
import random
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
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

MOST_MISSED = 2
"""Verifications without an echo after which everything begins again: the stream may have been stopped."""

CATCHING_UP = "catching up with the events of before the start"

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
        # Servers are put together before there is a loop, and a scope needs one.
        self._subscription: anyio.CancelScope | None = None
        self._last: str | None = None
        self._acks: list[str] = []
        self._errors: dict[str, Any] = {}
        self._to_acknowledge = anyio.Event()

    async def run(self) -> None:
        """Never ends, unless the stream turns out to be one that cannot be trusted."""
        self._receiver.lacks_past, self._receiver.interrupted = True, self._interrupt
        failures = 0
        while True:
            begun = self._clock()
            try:
                with anyio.CancelScope() as self._subscription:
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

    async def close(self) -> None:
        """Leaves nothing behind at the transmitter that nobody comes back to."""
        self._receiver.health.fail("no events are received any more")
        try:
            await self._stream.leave()
        except WebError as error:
            log.warning("the stream of this process is left behind, until it has been idle for too long: %s", error)

    def _interrupt(self, reason: str, lost: bool) -> None:
        """Has everything begin again."""
        self._receiver.lacks_past |= lost
        self._receiver.health.fail(reason)
        log.warning("events may be missing: %s", reason)
        if self._subscription is not None:
            self._subscription.cancel()

    async def _subscribe(self) -> None:
        receiver = self._receiver
        if await self._stream.prepare():
            receiver.lacks_past, self._last = True, None
        receiver.critical = self._stream.critical
        if receiver.lacks_past and not self._stream.has_feed:
            receiver.denials.cold_start(self._clock() + CLOCKS)
            receiver.lacks_past = False
        if self._method == "feed":
            await self._feed(lambda: False)
            return
        if receiver.lacks_past and isinstance(self._method, Push):
            await self._replay()
            receiver.lacks_past = False
        elif receiver.lacks_past:
            await self._feed(lambda: not receiver.lacks_past)
        await self._beside(self._wait if isinstance(self._method, Push) else self._poll, self._heartbeat)

    async def _feed(self, done: Callable[[], bool]) -> None:
        """Reads the live feed to its end, or until `done`."""
        # What is told again has its own places in the queue: it says nothing about what was taken over.
        past, last = (math.ceil(self._keep), None) if self._receiver.lacks_past else (None, self._last)
        async with self._stream.feed(past, last) as events:
            if past is not None:
                # What is asked for from now on is echoed after the replay.
                self._receiver.health.fail(CATCHING_UP)

            async def read() -> None:
                async for event in events:
                    if event.kind != "set":
                        continue
                    await self._take(event.jti, event.data)
                    self._last = event.jti
                    self._to_acknowledge.set()
                    if done():
                        return

            await self._beside(read, self._heartbeat, self._acknowledge)

    async def _replay(self) -> None:
        """Has the past of a stream told whose events are pushed: nothing is live in its feed."""
        async with self._stream.feed(math.ceil(self._keep), None) as events:
            self._receiver.health.fail(CATCHING_UP)
            async for event in events:
                if event.kind == "set":
                    await self._take(event.jti, event.data)
                elif event.kind == "end":
                    self._acks, self._errors = [], {}  # pushed SETs are acknowledged by their answers
                    return
        raise WebError("the feed ended before the past was told")

    async def _poll(self) -> None:
        while True:
            asked = self._clock()
            with self._drained() as (acks, errors):
                sets = await self._stream.poll(acks, errors)
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
        if self._receiver.lacks_past and self._receiver.health.doubt() is None:
            self._receiver.lacks_past = False

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

    @contextmanager
    def _drained(self) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """What became of SETs, to be told to the transmitter; it stays for the next time when that fails, or ends."""
        acks, errors = self._acks, self._errors
        self._acks, self._errors = [], {}
        try:
            yield acks, errors
        except BaseException:
            self._acks, self._errors = acks + self._acks, errors | self._errors
            raise

    async def _acknowledge(self) -> None:
        while True:
            await self._to_acknowledge.wait()
            self._to_acknowledge = anyio.Event()
            try:
                with self._drained() as (acks, errors):
                    await self._stream.acknowledge(acks, errors)
            except WebError as error:
                # They go with the next ones, or with `Last-Event-ID`.
                log.warning("could not acknowledge: %s", error)

    async def _heartbeat(self) -> None:
        health = self._receiver.health
        if health.doubt() is None:
            # What was proved a moment ago, over another connection, still holds.
            await self._sleep(max(self._heartbeats - (health.age or 0), 0))
        missed = 0
        while missed < MOST_MISSED:
            state = secrets.token_urlsafe(16)
            pause = await self._verify(state)
            await self._sleep(min(pause, RETRY))
            missed = missed + 1 if health.awaits(state) else 0
            await self._sleep(0 if missed else max(pause - RETRY, 0))
        self._interrupt("verifications are not echoed", False)

    async def _verify(self, state: str) -> float:
        """Asks for a verification; answers after how many seconds to ask for the next one."""
        health = self._receiver.health
        health.asked(state)
        try:
            await self._stream.verify(state)
        except WebError as error:
            if error.status:
                health.withdraw(state)  # refused: there will be no echo
            if error.status == 429:
                return max(error.retry_after or RETRY, 1)
            health.fail(f"a verification cannot be asked for: {error}")
        return RETRY if health.doubt() is not None else self._heartbeats

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
