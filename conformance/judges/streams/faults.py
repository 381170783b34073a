"""Servers and receivers that are killed, away, slow or broken: what was revoked is told all the same.

    python faults.py [--away SECONDS] [server | receivers | minute | two-nodes]...

Revocations are asked for all the while. Those that were answered are the truth; each has to reach every receiver it
concerns, in order, however often, under one name. Receivers are processes of their own (receiver.py).
"""

import argparse
import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "durability")]

from judging import ROOT, Judge
from load import SETTINGS
from node import Node, Psql, Sqlite
from play import Play, play
from postgres import CannotRun, Postgres, bounded, free_port
from revoking import CALENDAR, SERVERS, WEATHER, WORKERS, Revoking, answered, document
from sets import CAEP
from ssf import Receiver, push_to
from tally import Ledger, Tally, places, report

AWAY = 60  # seconds that receivers are away
BROKEN = 20  # seconds that receivers answer nonsense
ENOUGH = 120  # revocations between two disturbances
SOON = 2000  # milliseconds within which a good receiver hears while others are bad: less than a slow one takes
PLAYS = ("server", "receivers", "minute", "two-nodes")
MOODS = ("500", "400", "429", "302", "garbage", "hang-up", "noise", "slow")
OPEN = {"WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS": "true"}  # receivers are on loopback


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Station:
    """A receiver's process, its stream and its ledger."""

    def __init__(self, directory, name, kind, resource, receiver, secret, nodes):
        self.name, self.kind, self.resource, self.process = name, kind, resource, None
        self.receiver, self.directory = receiver, directory
        self.directory.mkdir(parents=True)
        self.mood = directory / "mood"
        self.set_mood("good")
        port, header = free_port(), f"Bearer of-{name}"
        delivery = push_to(f"http://127.0.0.1:{port}/events", header) if kind == "push" else None
        self.stream = receiver.stream(delivery, [CAEP + "session-revoked"], description=name)
        self.ledger = Ledger(directory / "ledger")
        self.settings = {
            "kind": kind, "ledger": str(self.ledger.path), "issuer": receiver.issuer, "aud": resource,
            "nodes": [node.address for node in nodes], "client_id": receiver.client_id, "secret": secret,
            "stream_id": self.stream["stream_id"], "port": port, "authorization": header, "mood": str(self.mood),
        }
        (directory / "settings.json").write_text(json.dumps(self.settings))

    def set_mood(self, mood):
        new = self.mood.with_suffix(".new")
        new.write_text(mood)
        new.rename(self.mood)

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*bounded(), sys.executable, HERE / "receiver.py", self.directory / "settings.json"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        if self.kind == "push":
            self.wait()

    def wait(self, limit=20):
        """Until it can be reached."""
        deadline = time.monotonic() + limit
        while not answers(self.settings["port"]):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise CannotRun(f"the receiver by {self.name} is not there: {(self.directory / 'log').read_text()}")
            time.sleep(0.01)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Faults(Play):
    """What the plays share: the truth, the receivers, and the waiting for what is on its way."""

    settings = SETTINGS | OPEN

    def __init__(self, judge, directory):
        super().__init__(judge)
        self.directory, self.truth, self.stations, self.loads = directory, [], [], []
        self.declared, self.private = document()

    def station(self, name, kind, resource=WEATHER, nodes=None, start=True):
        nodes = nodes or self.nodes
        client = SERVERS[resource]
        secret = self.private["secrets"][client]
        receiver = Receiver(self.nodes[0].issuer, client, secret, nodes[0].address)
        station = Station(self.directory / f"receiver {name}", name, kind, resource, receiver, secret, nodes)
        self.stations.append(station)
        if start:
            station.start()
        return station

    def begin(self, seed, pause=0.0):
        for load in self.loads:
            load.pause = pause
            load.begin(seed, rotate=False)

    async def more(self, count=ENOUGH, limit=60):
        """Waits for so many more revocations."""
        reached = answered(self.truth) + count
        if not await self.until(lambda: answered(self.truth) >= reached, limit, f"{count} more revocations"):
            raise CannotRun(f"there is not the load that this is about: {self.load.ledger.wrong[:3]}")

    async def rest(self):
        for load in self.loads:
            await load.end()

    def missing(self):
        return {station.name: len(missing) for station in self.stations
                if (missing := station.ledger.missing(self.truth, station.resource))}

    async def drained(self, what, limit):
        """Waits until everybody has everything."""
        begun = time.monotonic()
        while (missing := self.missing()) and time.monotonic() < begun + limit:
            await asyncio.sleep(0.1)
        took = time.monotonic() - begun
        self.judge.check(f"{what}: everybody has everything within {limit} s", not missing,
                         f"missing {missing}" if missing else f"{took:.1f} s")

    def count(self, what):
        self.judge.check(f"{what}: the server said what it should", not self.load.ledger.wrong,
                         self.load.ledger.wrong[:3] or "")
        stored = places(self.database)
        tallies = [Tally(one, self.truth, stored) for one in self.stations]
        report(self.judge, what, tallies, self.truth)
        return tallies

    def finish(self):
        self.leave()
        super().finish()

    def leave(self):
        for station in self.stations:
            station.kill()


class OneNode(Faults):
    """On SQLite."""

    def __init__(self, judge, directory, away):
        super().__init__(judge, directory)
        self.away = away
        self.node = Node(directory / "node", self.declared, self.settings)
        self.nodes, self.database = [self.node], Sqlite(self.node)
        self.load = Revoking(self.node, self.private, self.truth)
        self.loads = [self.load]

    async def run(self):
        self.node.start()
        self.three = [self.station(kind, kind) for kind in ("push", "poll", "feed")]
        self.station("push elsewhere", "push", CALENDAR)
        await self.go()

    async def restart(self, what):
        self.node.kill()
        under_way = sum(load.in_flight for load in self.loads)
        await self.rest()
        self.judge.note(f"{what}: killed with {under_way} requests under way, "
                        f"ready again after {self.node.start(applied=True):.2f} s")


class Server(OneNode):
    async def go(self):
        for number in range(1, 4):
            self.begin(f"server {number}")
            await self.more()
            await self.restart(f"kill -9 of the server, {number}")
        self.begin("afterwards")
        await self.more()
        await self.rest()
        await self.drained("kill -9 of the server", 30)
        self.count("kill -9 of the server")


class Receivers(OneNode):
    async def go(self):
        self.begin("receivers", pause=0.02)
        for station in self.three:
            await self.more()
            had = len(station.ledger.refresh().names)
            station.kill()
            await asyncio.sleep(0.5)
            station.start()
            self.judge.note(f"kill -9 of the receiver by {station.name}, which had {had} SETs, and a new one")
        await self.more()
        await self.rest()
        await self.drained("kill -9 of receivers", 30)
        self.count("kill -9 of receivers")


class Minute(OneNode):
    """Receivers that are away for a minute, and others that answer nonsense; the good ones notice nothing."""

    async def go(self):
        bad = [self.station(mood, "push") for mood in MOODS]
        away = [self.station(f"{kind}, away", kind) for kind in ("push", "poll", "feed")]
        good = list(self.stations[:4])
        self.begin("before", pause=0.1)
        await self.more(60)
        for station in bad:
            station.set_mood(station.name)
        for station in away:
            station.kill()
        begun = time.monotonic()
        for load in self.loads:
            load.pause = 0.8
        await asyncio.sleep(BROKEN)
        for station in bad:
            station.set_mood("good")
        await asyncio.sleep(max(0.0, begun + self.away - time.monotonic()))
        for station in away:
            station.start()
            # As a receiver does that was away; it ends the wait before the next attempt.
            answer = station.receiver.verify(station.stream["stream_id"], "back")
            self.judge.check(f"{station.name}: is verified when it is back", answer.status == 204, answer.body[:200])
        await self.more(30)
        await self.rest()
        what = f"receivers away for {self.away} s, and broken for {BROKEN} s"
        await self.drained(what, 45)
        tallies = {tally.name: tally for tally in self.count(what)}
        while_bad = [one for one in self.truth if begun <= one.sent <= begun + self.away]
        for station in good:
            late = sorted(tallies[station.name].delays(while_bad))
            late = late[int(len(late) * 0.99)] if late else None
            self.judge.check(f"meanwhile {station.name} hears of 99 of 100 within {SOON} ms",
                             late is not None and late < SOON, None if late is None else f"{late:.0f} ms")
        for station in bad:
            tally = tallies[station.name]
            tried = tally.duplicates() if station.name == "slow" else tally.refused()
            self.judge.check(f"{station.name}: it was tried in vain, and then taken", tried > 0, tried)
        self.patience(next(station for station in bad if station.name == "429"))

    def patience(self, station):
        """Who asks to be left alone for two seconds is."""
        times = [line["at"] for line in station.ledger.lines if "refused" in line]
        gaps = [b - a for a, b in zip(times, times[1:])]
        self.judge.check("429 with Retry-After: 2 is not asked earlier", gaps and min(gaps) >= 2,
                         f"{len(gaps)} times, after {min(gaps, default=0):.2f} s at least")


class TwoNodes(Faults):
    """Two nodes on one PostgreSQL, each with load, one killed after the other."""

    def __init__(self, judge, directory, postgres):
        super().__init__(judge, directory)
        settings = self.settings | {"WRIT_STORAGE__URL": postgres.create("writ_faults"),
                                    "WRIT_KEYS__SEALING_KEY": str(directory / "sealing.key")}
        self.a = Node(directory / "a", self.declared, settings, None, "a")
        self.b = Node(directory / "b", None, settings, self.a.issuer, "b")
        self.b.credentials_file = self.a.data / "admin.json"
        self.nodes, self.database = [self.a, self.b], Psql(postgres, "writ_faults")
        self.loads = [Revoking(node, self.private, self.truth, number * WORKERS, pause=0.02)
                      for number, node in enumerate(self.nodes)]
        self.load = self.loads[0]
        self.loads[1].ledger = self.load.ledger

    def holders(self):
        """Which node pushes which stream."""
        known = {one.stream["stream_id"]: one.name for one in self.stations}
        rows = self.database.rows("SELECT stream, node FROM stream_progress")
        return {known[stream]: node for stream, node in rows if known.get(stream, "").startswith("push")}

    async def run(self):
        self.a.start()
        self.b.start()
        a, b = self.nodes
        for number in range(1, 5):
            self.station(f"push {number}", "push")
        for kind in ("poll", "feed"):
            self.station(f"{kind} at a", kind, nodes=[a, b])
            self.station(f"{kind} at b", kind, nodes=[b, a])
        self.station("poll elsewhere", "poll", CALENDAR, nodes=[b, a])
        both = await self.until(lambda: set(self.holders().values()) == {"a", "b"}, 15, "both nodes push")
        self.judge.check("the nodes share the pushed streams", both, self.holders())
        for victim, load in ((b, self.loads[1]), (a, self.loads[0])):
            await self.lose(victim, load)

    async def lose(self, victim, load):
        what = f"kill -9 of node {victim.name}"
        self.begin(what, pause=0.02)
        await self.more(2 * ENOUGH)
        held = [name for name, node in self.holders().items() if node == victim.name]
        under_way, killed = load.in_flight, time.monotonic()
        victim.kill()
        load.stopping = True
        await self.more()
        await self.rest()
        await self.drained(what, 30)
        tallies = {tally.name: tally for tally in self.count(what)}
        after = [one for one in self.truth if one.sent > killed]
        for name, tally in tallies.items():
            late = max(tally.delays(after), default=0)
            moved = name in held or f"at {victim.name}" in name or "elsewhere" in name and victim is self.b
            self.judge.note(f"{what}, with {under_way} requests under way: {name} "
                            f"{'moves and ' if moved else ''}hears after at most {late:.0f} ms")
        self.judge.check(f"{what}: it had streams to push", held, held)
        victim.start(applied=True)
        again = await self.until(lambda: set(self.holders().values()) == {"a", "b"}, 20, "both nodes push again")
        self.judge.check(f"{what}: and gets some again", again, self.holders())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--away", type=int, default=AWAY, help="seconds that receivers are away")
    parser.add_argument("plays", nargs="*", default=PLAYS, metavar="PLAY", help=", ".join(PLAYS))
    options = parser.parse_args()
    judge = Judge("stream-faults")
    directory = ROOT / "target/conformance/scenes/stream-faults"
    shutil.rmtree(directory, ignore_errors=True)
    kinds = {"server": Server, "receivers": Receivers, "minute": Minute}
    for name in options.plays:
        print(f"-- {name}", flush=True)
        with Postgres() if name == "two-nodes" else nullcontext() as postgres:
            pieces = []

            def make():
                place = directory / name
                pieces.append(TwoNodes(judge, place, postgres) if postgres
                              else kinds[name](judge, place, options.away))
                return pieces[0]
            try:
                play(judge, make)
            finally:
                for piece in pieces:
                    piece.leave()
    judge.finish()


if __name__ == "__main__":
    main()
