"""Whether the events still arrive: asked by verification (SSF 1.0), known by its echo."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

ECHO_LIMIT = 10
"""Seconds within which a verification has to be echoed."""

REMEMBERED = 256
"""Verification states that are still recognised, however late they are echoed."""


class Elapsed:
    """Seconds that have passed, by whichever of two clocks says more: one may be set back, and the other stands still
    while the machine sleeps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock(), monotonic()
        self._total = 0.0

    def __call__(self) -> float:
        now = self._clock(), monotonic()
        self._total += max(now[0] - self._last[0], now[1] - self._last[1])
        self._last = now
        return self._total


class Health:
    """Live from the echo of a verification on, until something goes wrong or too much time passes."""

    def __init__(self, clock: Callable[[], float], max_age: float) -> None:
        self._clock = Elapsed(clock)
        self._max_age = max_age
        self._states: dict[str, tuple[int, float]] = {}
        self._asked = 0
        self._heard = 0
        self._heard_at: float | None = None
        self._failure: str | None = "the stream of events has not begun"
        self._failed_after = 0
        self.lag: float | None = None
        """Seconds between the last verification and its echo."""

    @property
    def age(self) -> float | None:
        """Seconds since the moment up to which everything is known to have arrived."""
        return None if self._heard_at is None else self._clock() - self._heard_at

    def asked(self, state: str) -> None:
        """A verification with this state is about to be requested."""
        self._asked += 1
        self._states[state] = (self._asked, self._clock())
        while len(self._states) > REMEMBERED:
            del self._states[next(iter(self._states))]

    def awaits(self, state: str) -> bool:
        """Whether neither the verification with this state nor a later one has arrived."""
        return self._states.get(state, (0, 0))[0] > self._heard

    def withdraw(self, state: str) -> None:
        """The request was refused: there will be no echo."""
        self._states.pop(state, None)

    def echo(self, state: str) -> bool:
        """A verification has arrived; False when nobody here asked for it."""
        if state not in self._states:
            return False
        number, at = self._states[state]
        if number > self._heard:
            self._heard, self._heard_at = number, at
            self.lag = self._clock() - at
        if number > self._failed_after:
            self._failure = None
        return True

    def fail(self, reason: str) -> None:
        """Doubt, until a verification that is asked for from now on has been echoed."""
        self._failure, self._failed_after = reason, self._asked

    def doubt(self) -> str | None:
        """Why events may be missing; None when all is well."""
        if self._failure is not None:
            return self._failure
        now = self._clock()
        waiting = [at for number, at in self._states.values() if number > self._heard]
        if waiting and now - min(waiting) > ECHO_LIMIT:
            return "a verification was not echoed"
        if self._heard_at is None or now - self._heard_at > self._max_age:
            return "nothing was heard for too long"
        return None
