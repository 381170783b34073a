"""SIGKILL in the middle of load, again and again, and afterwards everything that was answered is there.

    python crash.py [sqlite | postgres]

On SQLite the node is killed. On PostgreSQL also its connections are cut, and PostgreSQL itself is restarted as
after a power cut, while the node lives on and has to come back by itself.
"""

import asyncio
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compare import Comparison, counters
from judging import ROOT, Judge
from load import Load, document
from node import Node, Psql, Sqlite, play
from postgres import CannotRun, Postgres

KILLS = {"sqlite": 4, "postgres": 3}
LOAD_LIMIT = 120  # seconds until a round must have had load enough
RECOVERY_LIMIT = 30


class Crash:
    def __init__(self, judge, kind, directory, postgres=None):
        self.judge, self.kind, self.postgres = judge, kind, postgres
        declared, private = document()
        settings = {"WRIT_REGISTRATION__MAX_CLIENTS": "1000000"}
        if postgres:
            settings["WRIT_STORAGE__URL"] = postgres.create("writ_crash")
        self.node = Node(directory / kind, declared, settings)
        self.nodes = [self.node]
        self.database = Psql(postgres, "writ_crash") if postgres else Sqlite(self.node)
        judge.note(f"{self.database.kind}: ready after {self.node.start():.2f} s")
        self.load = Load(self.node, private)

    async def until(self, condition, limit, what):
        """Wait for a condition; whether it came to hold in time."""
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline or len(self.load.ledger.wrong) > 100:
                return self.judge.check(f"{what} within {limit} s", False, self.load.ledger.lacking(self.answered))
            await asyncio.sleep(0.01)
        return True

    async def loaded(self, number):
        """Starts load and waits until every kind of operation was answered often enough."""
        self.before = counters(self.load.ledger)
        self.answered = self.before["answered"]
        self.load.begin(f"{self.kind} {number}")
        enough = await self.until(lambda: self.load.ledger.enough(self.answered), LOAD_LIMIT, "enough load")
        # In the middle of work: most connections wait for an answer.
        await self.until(lambda: self.load.in_flight >= self.load.workers // 2, 10, "requests under way")
        under_way = self.load.in_flight
        if not enough:
            self.judge.check("the answers were as they should be", not self.load.ledger.wrong, self.load.ledger.wrong[:5])
            raise CannotRun("there is no load to kill anything under")
        return under_way

    async def compare(self, what):
        await Comparison(self.judge, self.load, self.database, self.before).run(what)

    async def kill(self, number):
        """SIGKILL for the node, a new process on the same data."""
        under_way = await self.loaded(number)
        self.node.kill()
        await self.load.end()
        took = self.node.start(applied=True)
        what = f"{self.database.kind}, kill {number}"
        self.judge.note(f"{what}: killed with {under_way} requests under way, ready again after {took:.2f} s")
        await self.compare(what)

    async def disturb(self, number, what, action):
        """Something happens to PostgreSQL; the node lives on and comes back by itself."""
        await self.loaded(number)
        pid, reached = self.node.process.pid, sum(self.load.ledger.answered.values())
        await asyncio.to_thread(action)
        happened = time.monotonic()
        # Load goes on: it has to be answered again without anybody's help.
        recovered = await self.until(
            lambda: sum(self.load.ledger.answered.values()) > reached + 300, RECOVERY_LIMIT, "answers again")
        took = time.monotonic() - happened
        await self.load.end()
        what = f"PostgreSQL, {what}"
        self.judge.check(f"{what}: the node answers again by itself", recovered and self.node.process.poll() is None,
                         f"300 more answers after {took:.2f} s, process {pid}")
        await self.compare(what)
        # What it holds in memory must be what a new process reads.
        self.node.kill()
        self.node.start(applied=True)
        await self.compare(f"{what}, node started anew")

    def cut(self):
        self.cut_off = int(self.postgres.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'writ_crash'"))

    def restart(self):
        self.postgres.stop(signal.SIGQUIT)
        self.postgres.start()

    async def run(self):
        for number in range(1, KILLS[self.kind] + 1):
            await self.kill(number)
        if self.postgres:
            await self.disturb(11, "connections cut", self.cut)
            self.judge.check("connections were there to cut", self.cut_off > 0, self.cut_off)
            await self.disturb(12, "restarted as after a power cut", self.restart)
        self.judge.equal("the node stops on SIGTERM", self.node.stop(), 0)
        self.judge.check("the node never panicked", "panicked at" not in self.node.log())


def main():
    kinds = sys.argv[1:] or ["sqlite", "postgres"]
    judge = Judge("crash")
    directory = ROOT / "target/conformance/scenes/crash"
    shutil.rmtree(directory, ignore_errors=True)
    for kind in kinds:
        # fsync is on: what PostgreSQL answered is on disk, as in production.
        with Postgres() if kind == "postgres" else nullcontext() as postgres:
            play(judge, lambda: Crash(judge, kind, directory, postgres))
    judge.finish()


if __name__ == "__main__":
    main()
