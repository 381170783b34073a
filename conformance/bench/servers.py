"""The servers under test: how each is started, and its processes while it runs."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from kernel import CannotRun, cpu_seconds, memory_mib, output

HERE = Path(__file__).resolve().parent
PEER = HERE / "peer"
sys.path.insert(0, str(HERE.parent / "judges"))

import postgres as postgresql  # noqa: E402


class Server:
    """One server under test: its name, its data, the process while it runs."""

    environment = {}

    def __init__(self, name, work, core):
        self.name, self.core, self.process = name, core, None
        self.log, self.data = work / f"{name}.log", work / f"{name}-data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self.port}"

    def forget(self):
        """Back to the state before the first start."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)

    def start(self, loaded=True, limit=60):
        """Spawns the server; milliseconds until discovery first answers 200."""
        with self.log.open("ab") as log:
            begun = time.perf_counter()
            self.process = subprocess.Popen(
                [*postgresql.bounded(), "taskset", "-c", str(self.core), *self.command(loaded)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean() | self.environment,
            )
        while not self.answers():
            if self.process.poll() is not None or time.perf_counter() - begun > limit:
                raise CannotRun(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.001)
        return (time.perf_counter() - begun) * 1000

    def answers(self):
        """Whether discovery answers 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/.well-known/openid-configuration")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def stop(self):
        """Ends the process this object started, and no other."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def pids(self):
        return [self.process.pid]

    def memory(self):
        """MiB resident now, and at the highest."""
        return memory_mib(self.process.pid)

    def database_seconds(self):
        """CPU time of a database with processes of its own."""
        return 0.0

    def metadata(self):
        return get_json(f"{self.issuer}/.well-known/openid-configuration")


class Writ(Server):
    """`writ serve` with its defaults, every token's audit row committed before the answer: on SQLite, or on
    `database`, a PostgreSQL whose processes run on the same core."""

    def __init__(self, binary, work, core, declaration, name="writ", database=None, node="1", settings=None):
        super().__init__(name, work, core)
        self.binary, self.database = binary, database
        self.declaration = work / f"{name}-apply.json"
        self.declaration.write_text(json.dumps(declaration))
        self.environment = {"WRIT_STORAGE__NODE": node, "RUST_BACKTRACE": "1"} | (settings or {})
        if database:
            self.environment["WRIT_STORAGE__URL"] = database.url("writ")

    def forget(self):
        super().forget()
        if self.database:
            self.database.create("writ")

    def command(self, loaded):
        command = [self.binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--issuer", self.issuer,
                   "--data-dir", self.data]
        return command + ["--apply", self.declaration] if loaded else command

    def database_seconds(self):
        return self.database.seconds() if self.database else 0.0

    def facts(self):
        return {"version": output(self.binary, "--version"), "installed_mib": mib(self.binary)}


class Database(postgresql.Postgres):
    """PostgreSQL with its defaults, on one core."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def start(self):
        super().start()
        for pid in self.pids():
            # Each connection's process inherits it.
            output("taskset", "-a", "-p", "-c", str(self.core), str(pid))
        return self

    def seconds(self):
        first, *children = self.pids()
        total = cpu_seconds(first, children=True)
        for pid in children:
            with contextlib.suppress(FileNotFoundError):
                total += cpu_seconds(pid)
        return total


class Peer(Server):
    """oidc-provider, in memory; its keys are the only thing it keeps between starts."""

    environment = {"NODE_ENV": "production"}

    def __init__(self, work, core, scene):
        super().__init__("oidc-provider", work, core)
        self.scene_file = work / "scene.json"
        self.scene_file.write_text(json.dumps(scene))

    def command(self, _loaded):
        return ["node", PEER / "server.mjs", self.scene_file, self.data / "keys.json", str(self.port)]

    def facts(self):
        package = json.loads((PEER / "node_modules/oidc-provider/package.json").read_text())
        node = Path(os.path.realpath(shutil.which("node")))
        modules = sum(f.stat().st_size for f in (PEER / "node_modules").rglob("*") if f.is_file())
        return {
            "version": f"oidc-provider {package['version']}, node {output('node', '--version')}",
            "installed_mib": mib(node) + modules / 2**20,
        }


def clean():
    """The environment without settings for other servers of whoever runs this."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WRIT_")}


def get_json(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def mib(path):
    return Path(path).stat().st_size / 2**20


def secret():
    return secrets.token_urlsafe(32)
