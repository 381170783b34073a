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

from judging import ROOT, Judge
from load import SETTINGS, Load, document
from node import Node, Psql, Sqlite
from play import Play, play
from postgres import Postgres

KILLS = {"sqlite": 4, "postgres": 3}


class Crash(Play):
    def __init__(self, judge, kind, directory, postgres):
        super().__init__(judge)
        self.kind, self.postgres = kind, postgres
        declared, private = document()
        database = {"WRIT_STORAGE__URL": postgres.create("writ_crash")} if postgres else {}
        self.node = Node(directory / kind, declared, SETTINGS | database)
        self.nodes = [self.node]
        self.database = Psql(postgres, "writ_crash") if postgres else Sqlite(self.node)
        self.load = Load(self.node, private)

    async def kill(self, number):
        """SIGKILL for the node, a new process on the same data."""
        under_way = await self.loaded(f"{self.kind} {number}")
        self.node.kill()
        await self.load.end()
        took = self.node.start(applied=True)
        what = f"{self.database.kind}, kill {number}"
        self.judge.note(f"{what}: killed with {under_way} requests under way, ready again after {took:.2f} s")
        await self.compare(what)

    async def disturb(self, what, action):
        """Something happens to PostgreSQL; the node lives on and comes back by itself."""
        await self.loaded(what)
        begun, what = time.monotonic(), f"PostgreSQL, {what}"
        await asyncio.to_thread(action)
        happened = time.monotonic() - begun
        # Load goes on: it has to be answered again without anybody's help.
        took = await self.answers(300)
        await self.load.end()
        self.judge.check(f"{what}: the node answers again by itself",
                         took is not None and self.node.process.poll() is None,
                         took and f"after {happened:.2f} s, 300 more answers within {took:.2f} s")
        await self.compare(what)
        # What it holds in memory must be what a new process reads.
        self.node.kill()
        self.node.start(applied=True)
        await self.compare(f"{what}, node started anew")

    def cut(self):
        cut = self.postgres.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'writ_crash'")
        self.judge.check("connections were there to cut", int(cut) > 0, cut)

    def restart(self):
        self.postgres.stop(signal.SIGQUIT)
        self.postgres.start()

    async def run(self):
        self.judge.note(f"{self.database.kind}: ready after {self.node.start():.2f} s")
        for number in range(1, KILLS[self.kind] + 1):
            await self.kill(number)
        if self.postgres:
            await self.disturb("connections cut", self.cut)
            await self.disturb("restarted as after a power cut", self.restart)


def main():
    kinds = sys.argv[1:] or list(KILLS)
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
