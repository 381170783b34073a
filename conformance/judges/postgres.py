"""A PostgreSQL of our own, on a free loopback port, for as long as somebody needs it.

    python postgres.py [--no-fsync] COMMAND [ARGUMENT...]

starts a cluster in a temporary directory, runs the command with TEST_POSTGRES_URL naming it, and stops it
whatever happens to the command. Whoever may connect to the loopback address is trusted: it holds nothing but
the data of one run. PostgreSQL refuses to run as root; it then runs as `postgres` or else as `nobody`.
"""

import argparse
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIABLE = "TEST_POSTGRES_URL"
ROLE = "writ"
START_LIMIT = 60  # seconds, also for the recovery after a crash
STOP_LIMIT = 15


class CannotRun(Exception):
    """PostgreSQL is missing or does not do its part."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bounded():
    """The prefix of a process that must not outlive this one, however that ends."""
    return ["setpriv", "--pdeathsig", "KILL", "--"]


def program(name):
    """Debian keeps the server's programs off the path, one directory for each version."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parts[4]))
    found = shutil.which(name) or (places and str(places[-1]))
    if not found:
        raise CannotRun(f"there is no {name}: install Debian's package postgresql")
    return found


def owner():
    """Whom PostgreSQL runs as: us, or somebody without rights when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotRun("there is neither a user 'postgres' nor 'nobody' to run PostgreSQL as")


class Postgres:
    """One cluster. `settings` are given to the server, `initdb` options when it is made."""

    def __init__(self, fsync=True, settings=(), initdb=(), place=None):
        self.settings = [f"fsync={'on' if fsync else 'off'}", *settings]
        if not fsync:
            self.settings += ["synchronous_commit=off", "full_page_writes=off"]
        self.owner, self.port, self.process = owner(), free_port(), None
        self.directory = Path(tempfile.mkdtemp(prefix="writ-postgres-", dir=place))
        self.data, self.log = self.directory / "data", self.directory / "postgres.log"
        if self.owner:
            os.chown(self.directory, self.owner.pw_uid, self.owner.pw_gid)
        made = self._run([program("initdb"), "-D", self.data, "-U", ROLE, "-A", "trust", "-E", "UTF8",
                          "--locale=C.UTF-8", "--no-sync", *initdb])
        if made.returncode != 0:
            raise CannotRun(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _as_owner(self, death):
        drop = []
        if self.owner:
            drop = [f"--reuid={self.owner.pw_uid}", f"--regid={self.owner.pw_gid}", "--clear-groups"]
        return ["setpriv", *drop, "--pdeathsig", death, "--"]

    def _run(self, command):
        return subprocess.run([*self._as_owner("KILL"), *map(str, command)], cwd=self.directory, timeout=120,
                              capture_output=True, text=True, env=os.environ | {"LC_ALL": "C.UTF-8"})

    def url(self, database="postgres"):
        return f"postgres://{ROLE}@127.0.0.1:{self.port}/{database}"

    def start(self):
        """Start the server and wait until it answers."""
        options = []
        for setting in ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=",
                        "max_connections=300", "timezone=UTC", *self.settings):
            options += ["-c", setting]
        with open(self.log, "ab") as log:
            # Should this process be killed, PostgreSQL stops by itself.
            self.process = subprocess.Popen(
                [*self._as_owner("INT"), program("postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, start_new_session=True,
            )
        self.wait()
        return self

    def wait(self, limit=START_LIMIT):
        """Wait until it answers, for example after it has crashed and recovered."""
        deadline = time.monotonic() + limit
        while self.query("SELECT 1", check=False) != "1":
            if self.process.poll() is not None:
                raise CannotRun(f"PostgreSQL ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise CannotRun(f"PostgreSQL did not answer within {limit} s:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, count=3000):
        return self.log.read_text(errors="replace")[-count:]

    def stop(self, how=signal.SIGINT):
        """Stop the server: SIGINT is its fast way, SIGQUIT its immediate one, as after a power cut."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                try:
                    self.process.wait(STOP_LIMIT)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        self.process = None

    def pids(self):
        """The server's processes: the one that was started and its children."""
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, children)]

    def query(self, sql, database="postgres", check=True):
        """What psql says to a statement: rows as lines, columns with a unit separator between them."""
        done = subprocess.run(
            [program("psql"), "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-c", sql,
             f"{self.url(database)}?connect_timeout=5"],
            capture_output=True, text=True, timeout=60, env=os.environ | {"PGOPTIONS": ""},
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr}")
        return done.stdout.rstrip("\n") if done.returncode == 0 else None

    def create(self, database):
        """A database of this name, new and empty; its URL."""
        self.query(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        self.query(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-fsync", action="store_true", help="for tests that restart nothing")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    # Every way out unwinds, so that the cluster is stopped and removed.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    with Postgres(fsync=not options.no_fsync) as postgres:
        version = postgres.query("SHOW server_version")
        print(f"PostgreSQL {version} on 127.0.0.1:{postgres.port}, fsync={postgres.query('SHOW fsync')}", flush=True)
        child = subprocess.Popen(options.command, env=os.environ | {VARIABLE: postgres.url()})
        try:
            code = child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(20)
        print(f"PostgreSQL held {postgres.query('SELECT count(*) FROM pg_database')} databases at the end", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    try:
        main()
    except CannotRun as error:
        sys.exit(f"PostgreSQL cannot run: {error}")
