"""What the plays have in common: nodes under load, conditions waited for, comparisons."""

import asyncio
import signal
import time

from compare import Comparison, counters
from node import DidNotStart
from postgres import CannotRun

LOAD_LIMIT = 120  # seconds until a round must have had load enough
RECOVERY_LIMIT = 30  # seconds until there must be answers again


class Play:
    """`nodes` are ended when the play is over; `load` and `database` are compared with each other."""

    def __init__(self, judge):
        self.judge, self.nodes, self.load, self.database = judge, [], None, None
        self.before = None

    async def until(self, condition, limit, what):
        """Wait for a condition; whether it came to hold in time."""
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline or len(self.load.ledger.wrong) > 100:
                lacking = self.load.ledger.lacking(self.before["answered"]) if self.before else ""
                return self.judge.check(f"{what} within {limit} s", False, lacking)
            await asyncio.sleep(0.01)
        return True

    async def loaded(self, seed):
        """Starts load and waits until every kind of operation was answered often enough; requests under way."""
        load = self.load
        self.before = counters(load.ledger)
        load.begin(seed)
        if not await self.until(lambda: load.ledger.enough(self.before["answered"]), LOAD_LIMIT, "enough load"):
            self.judge.check("the answers were those asked for", not load.ledger.wrong, load.ledger.wrong[:5])
            raise CannotRun("there is not the load that this is about")
        # In the middle of work: most connections wait for an answer.
        await self.until(lambda: load.in_flight >= load.workers // 2, 10, "requests under way")
        return load.in_flight

    async def answers(self, count, limit=RECOVERY_LIMIT):
        """Waits for so many more answers; the seconds that took, or None."""
        begun, reached = time.monotonic(), self.load.ledger.answered.total()
        there = await self.until(lambda: self.load.ledger.answered.total() >= reached + count, limit, "answers again")
        return time.monotonic() - begun if there else None

    async def compare(self, what):
        await Comparison(self.judge, self.load, self.database, self.before).run(what)

    def finish(self):
        for node in self.nodes:
            self.judge.equal(f"node {node.name} stops on SIGTERM", node.stop(), 0)
            self.judge.check(f"node {node.name} never panicked", "panicked at" not in node.log())


def play(judge, make):
    """Plays what `make` makes; what goes wrong in it fails the judge, and no node stays behind."""
    async def within():
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        piece = make()
        try:
            await piece.run()
            piece.finish()
        except (CannotRun, DidNotStart, OSError, RuntimeError) as error:
            judge.check("the judge could go on", False, f"{type(error).__name__}: {error}")
        finally:
            for node in piece.nodes:
                if node.process and node.process.poll() is None:
                    node.kill()
    try:
        asyncio.run(within())
    except asyncio.CancelledError:
        raise SystemExit(143) from None
