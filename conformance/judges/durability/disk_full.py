"""The disk fills up under load: clear errors, nothing lost, and work again as soon as there is space.

    python disk_full.py [sqlite | postgres]

What has to be small is a tmpfs in a mount namespace of this judge's own, as root or in a user namespace; where
neither is to be had, the processes are forbidden to write any file (RLIMIT_FSIZE), which fails with EFBIG
instead of ENOSPC. The log says which it was.
"""

import asyncio
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from judging import ROOT, Judge, http
from load import SETTINGS, Load, document
from node import Node, Psql, Sqlite
from play import Play, play
from postgres import Postgres

STAGE = "WRIT_JUDGE_STAGE"  # which way of keeping a disk small this process is to use
SIZES = {"sqlite": "64m", "postgres": "192m"}
# Small segments, so that the write-ahead log has to grow soon.
SMALL_LOG = {"settings": ["max_wal_size=4MB", "min_wal_size=2MB"], "initdb": ["--wal-segsize=1"]}


class SmallDisk:
    """A tmpfs of a fixed size."""

    kind = "a small tmpfs"

    def __init__(self, place):
        self.place, self.ballast = place, place / "ballast"

    def fill(self, _pids):
        """Takes what is left. Who writes there may give space back, so this is done again and again."""
        with open(self.ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def empty(self, _pids):
        self.ballast.unlink()

    def free(self):
        return shutil.disk_usage(self.place).free


class WriteLimit:
    """No file may grow; for where nothing can be mounted."""

    kind = "RLIMIT_FSIZE, because nothing can be mounted here"

    def __init__(self, place):
        self.place = place

    def _set(self, pids, limit):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def fill(self, pids):
        self._set(pids, 1)

    def empty(self, pids):
        self._set(pids, resource.RLIM_INFINITY)

    def free(self):
        return 0


class DiskFull(Play):
    def __init__(self, judge, kind, disk, scenes, postgres):
        super().__init__(judge)
        self.kind, self.disk, self.postgres = kind, disk, postgres
        declared, private = document()
        database = {"WRIT_STORAGE__URL": postgres.create("writ_full")} if postgres else {}
        data = None if postgres else disk.place / "data"
        # The log is on another disk than the data, so that it can tell of the full one.
        self.node = Node(scenes / kind, declared, SETTINGS | database, data=data)
        self.nodes = [self.node]
        self.database = Psql(postgres, "writ_full") if postgres else Sqlite(self.node)
        self.load = Load(self.node, private)

    def pids(self):
        if not self.postgres:
            return [self.node.process.pid]
        return self.postgres.pids() if self.postgres.process.poll() is None else []

    async def keep_full(self):
        while True:
            await asyncio.to_thread(self.disk.fill, self.pids())
            await asyncio.sleep(0.05)

    def readiness(self):
        return http("GET", f"{self.node.address}/readyz")

    async def ready(self, wanted, limit=20):
        """Waits until /readyz answers `wanted`; its last answer."""
        deadline = time.monotonic() + limit
        while True:
            answer = await asyncio.to_thread(self.readiness)
            if answer.status == wanted or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(0.05)

    async def run(self):
        judge, ledger, what = self.judge, self.load.ledger, f"{self.database.kind}, disk full"
        judge.note(f"{what}: kept full by {self.disk.kind}; ready after {self.node.start():.2f} s")
        judge.equal(f"{what}: /readyz answers 200 before", self.readiness().status, 200)
        await self.loaded(f"{self.kind} full")
        pid, refused, log = self.node.process.pid, ledger.refused.total(), len(self.node.log())
        filling = asyncio.create_task(self.keep_full())
        try:
            full = await self.until(lambda: ledger.refused.total() >= refused + 300, 60, "300 answers of 503")
            answer = await self.ready(503)
            judge.check(f"{what}: /readyz answers 503 with words", answer.status == 503 and len(answer.body) > 10,
                        f"{answer.status} {answer.body[:200]!r}")
            for path in ("/healthz", "/jwks.json", "/.well-known/oauth-authorization-server"):
                status = await asyncio.to_thread(lambda p=path: http("GET", self.node.address + p).status)
                judge.equal(f"{what}: {path} is still answered", status, 200)
            before, answered = ledger.refused.total(), ledger.answered.total()
            await asyncio.sleep(2)
            judge.note(f"{what}: in two seconds of a full disk {ledger.refused.total() - before} answers of 503 and "
                       f"{ledger.answered.total() - answered} of success; {self.disk.free()} bytes free")
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        said = [line for line in self.node.log()[log:].splitlines()
                if any(word in line.lower() for word in ("disk", "space", "too large", "database"))]
        judge.check(f"{what}: the log names it", full and said, said[0][:300] if said else self.node.tail(600))

        self.disk.empty(self.pids())
        if self.postgres and self.postgres.process.poll() is not None:
            judge.note(f"{what}: PostgreSQL gave up, as it does when its log cannot grow during recovery; "
                       f"started again, as its service manager would")
            await asyncio.to_thread(self.postgres.start)
        elif self.postgres:
            await asyncio.to_thread(self.postgres.wait)
        took = await self.answers(300)
        judge.check(f"{what}: there are answers again without a restart",
                    took is not None and self.node.process.poll() is None and self.node.process.pid == pid,
                    took and f"300 more within {took:.2f} s")
        answer = await self.ready(200)
        judge.equal(f"{what}: /readyz answers 200 again", answer.status, 200)
        await self.load.end()
        await self.compare(what)
        self.node.kill()
        self.node.start(applied=True)
        await self.compare(f"{what}, node started anew")


def works(*command):
    return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


def enclose():
    """Starts this program again where it may mount; what it must do there is in the variable."""
    mine = [sys.executable, __file__, *sys.argv[1:]]
    probe = ("sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt")
    for namespace in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        if works(*namespace, *probe):
            # Inside a user namespace PostgreSQL would take us for root: the second one undoes that.
            stage = "mount" if os.geteuid() == 0 else "mount and drop"
            os.environ[STAGE] = stage
            os.execvp(namespace[0], [*namespace, *mine])
    os.environ[STAGE] = "limit"
    os.execvp(mine[0], mine)


def mount(places):
    for kind, place in places.items():
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZES[kind]},mode=0777", "tmpfs", place], check=True)
    if os.environ[STAGE] == "mount and drop":
        os.environ[STAGE] = "mounted"
        os.execvp("unshare", ["unshare", "--map-user=1000", "--map-group=1000",
                              sys.executable, __file__, *sys.argv[1:]])


def main():
    if STAGE not in os.environ:
        enclose()
    kinds = sys.argv[1:] or list(SIZES)
    scenes = ROOT / "target/conformance/scenes/disk-full"
    if os.environ[STAGE] != "mounted":
        shutil.rmtree(scenes, ignore_errors=True)
    places = {kind: Path("/tmp") / f"writ-small-{os.getuid()}-{kind}" for kind in kinds}
    for place in places.values():
        place.mkdir(exist_ok=True)
    if os.environ[STAGE].startswith("mount") and os.environ[STAGE] != "mounted":
        mount(places)
    make = WriteLimit if os.environ[STAGE] == "limit" else SmallDisk
    judge = Judge("disk-full")
    for kind, place in places.items():
        small = Postgres(place=place, **SMALL_LOG) if kind == "postgres" else contextlib.nullcontext()
        with small as postgres:
            play(judge, lambda: DiskFull(judge, kind, make(place), scenes, postgres))
    judge.finish()


if __name__ == "__main__":
    main()
