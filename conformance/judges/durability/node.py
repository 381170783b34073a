"""One `writ serve` that is started, killed and started again on the same data, and what it wrote, read directly."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from postgres import bounded, free_port, program
from scene import binary

READY_LIMIT = 60  # seconds; a debug build on a busy machine with PostgreSQL recovering
STOP_LIMIT = 30


class DidNotStart(Exception):
    """It ended, or did not get ready in time; what it said."""


class Node:
    """A node with a port and a data directory of its own."""

    def __init__(self, directory, document=None, settings=None, issuer=None, name="1", data=None):
        self.directory, self.name, self.port = Path(directory), name, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.issuer = issuer or self.address
        self.data, self.process, self.logs = data or self.directory / "data", None, []
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = {"WRIT_STORAGE__NODE": name} | (settings or {})
        self.apply = self.credentials_file = None
        if document is not None:
            self.apply = self.directory / "apply.json"
            self.apply.write_text(json.dumps(document))

    def spawn(self, applied=False):
        """Start the process without waiting for it."""
        ready, log = self.directory / "ready.json", self.directory / f"writ-{len(self.logs)}.log"
        ready.unlink(missing_ok=True)
        self.logs.append(log)
        command = [*bounded(), binary(), "serve", "--listen", f"127.0.0.1:{self.port}", "--issuer", self.issuer,
                   "--data-dir", self.data, "--ready-file", ready]
        if self.apply and not applied:
            command += ["--apply", self.apply]
        # Settings that whoever runs this has for servers of their own are none of the judges' business.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WRIT_")}
        with open(log, "wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, env=environment | self.settings)
        self.begun = time.monotonic()

    def wait(self, limit=READY_LIMIT):
        """Wait until it says that it is ready; the seconds that took."""
        while not (self.directory / "ready.json").exists():
            if self.process.poll() is not None:
                raise DidNotStart(f"writ serve ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() - self.begun > limit:
                raise DidNotStart(f"writ serve was not ready after {limit} s:\n{self.tail()}")
            time.sleep(0.005)
        return time.monotonic() - self.begun

    def start(self, applied=False):
        self.spawn(applied)
        return self.wait()

    def kill(self):
        """As a crash does it: SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """As an operator does it; the exit code, and None when it had to be killed."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()
                return None
        return self.process.returncode

    def log(self):
        return "\n".join(path.read_text(errors="replace") for path in self.logs)

    def tail(self, count=3000):
        return self.logs[-1].read_text(errors="replace")[-count:]

    @property
    def administrator(self):
        """The credentials file; where nodes share a database, one of them has it."""
        return self.credentials_file or self.data / "admin.json"

    def credentials(self):
        return json.loads(self.administrator.read_text())

    def cli(self, *arguments):
        """The command line against this node, as its administrator; the finished process."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WRIT_")}
        return subprocess.run([binary(), *arguments, "--credentials", self.administrator], env=environment,
                              capture_output=True, text=True, timeout=120)


class Sqlite:
    """What the node wrote, read by another program than Writ while Writ runs."""

    kind = "SQLite"

    @staticmethod
    def hex(column):
        return f"hex({column})"

    def __init__(self, node):
        self.file = node.data / "writ.db"

    def rows(self, sql):
        connection = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=20)
        try:
            return [tuple("" if c is None else str(c) for c in row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def sound(self):
        """What the database itself finds wrong with its file; nothing when it is sound."""
        [(said,)] = self.rows("PRAGMA integrity_check")
        return "" if said == "ok" else said


class Psql:
    """The same for PostgreSQL, by psql."""

    kind = "PostgreSQL"

    @staticmethod
    def hex(column):
        return f"encode({column}, 'hex')"

    def __init__(self, postgres, database):
        self.postgres, self.database = postgres, database

    def rows(self, sql):
        said = self.postgres.query(sql, self.database)
        return [tuple(line.split("\x1f")) for line in said.split("\n")] if said else []

    def sound(self):
        """Every index against its table, by Debian's pg_amcheck."""
        done = subprocess.run(
            [program("pg_amcheck"), "--install-missing", "--heapallindexed", "-h", "127.0.0.1",
             "-p", str(self.postgres.port), "-U", "writ", self.database],
            capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr if done.returncode else ""
