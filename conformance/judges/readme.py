"""The README, followed literally: its files are written, its commands run, in its own words.

Every line of its `sh` blocks is run here, or is a step of `conformance/run`; a line that is neither fails the judge.
"""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from judging import ROOT, Judge

# What other steps of `conformance/run` do with the same words.
STEPS_OF_THEIR_OWN = {"cargo run --release -- demo", "conformance/run", "cargo build --release"}


class Reader:
    """Somebody who follows the README in an empty directory."""

    def __init__(self, judge, home, bin_dir, python_dir):
        self.judge, self.home = judge, home
        self.environment = os.environ | {"PATH": f"{bin_dir}:{python_dir}:{os.environ['PATH']}"}
        self.started = []

    def run(self, line):
        # cargo is used where the sources are; everything else happens in the reader's directory.
        where = ROOT if line.startswith("cargo ") else self.home
        done = subprocess.run(
            ["bash", "-c", line], cwd=where, env=self.environment, capture_output=True, text=True, timeout=600,
        )
        self.judge.check(line, done.returncode == 0, done.stderr.strip()[-600:] if done.returncode else "")
        return done.stdout

    def run_at_terminal(self, line, answers):
        """Runs a command that asks, and types an answer to each question."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.home)
            os.execvpe("bash", ["bash", "-c", line], self.environment)
        said = b""
        for answer in answers:
            while not said.endswith(b": "):
                said += os.read(terminal, 1024)
            os.write(terminal, answer.encode() + b"\n")
            said = b""
        try:
            while more := os.read(terminal, 1024):
                said += more
        except OSError:  # how a terminal ends on Linux
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.judge.check(line, status == 0, said.decode(errors="replace").strip()[-600:] if status else "")

    def start(self, line, port):
        where = ROOT if line.startswith("cargo ") else self.home
        with open(self.home / f"{port}.log", "ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", line.removesuffix("&").strip()], cwd=where, env=self.environment,
                stdout=log, stderr=log, start_new_session=True,
            )
        self.started.append(process)
        self.judge.check(line, answers(port, process, within=600), (self.home / f"{port}.log").read_text()[-600:])
        return process

    def stop(self, process):
        """Ends the process group that `start` made."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        self.started.remove(process)


def answers(port, process, within):
    end = time.monotonic() + within
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def main():
    judge = Judge("readme")
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for kind, body in blocks if kind == "sh" for line in body.splitlines() if line.strip()]
    files = {}
    for kind, body in blocks:
        first, _, rest = body.partition("\n")
        name = re.fullmatch(r"(?:#|//) (\S+\.\w+)", first)
        if kind in ("toml", "python", "rust") and name:
            files[name[1]] = body if kind != "rust" else rest
    example = "sdk/resource-server/examples/weather.rs"
    judge.equal(f"the Rust server of the README is {example}", files.pop(example, None), (ROOT / example).read_text())
    for port in (4455, 8000):
        judge.check(f"port {port}, which the README uses, is free here", free(port))

    bin_dir = Path(os.environ["SERVER_BINARY"]).resolve().parent
    done = set()

    def said(line):
        judge.check(f"the README says: {line}", line in lines)
        done.add(line)
        return line

    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        for name, body in files.items():
            (home / name).write_text(body)
        reader = Reader(judge, home, bin_dir, Path(sys.executable).parent)
        try:
            reader.start(said("writ serve &"), 4455)
            reader.run(said("writ apply weather.toml"))
            server = reader.start(said("cargo run --release -p writ-resource --example weather &"), 8000)
            reader.run(said("writ doctor http://127.0.0.1:8000/mcp"))
            password = "a password of alice's"
            reader.run_at_terminal(said("writ user add alice"), [password, password])
            result = reader.run(
                f'python {ROOT}/conformance/judges/mcp_clients/readme_person.py http://127.0.0.1:4455 '
                f'http://127.0.0.1:8000/mcp "{password}"'
            )
            judge.check("a client that nobody declared reached the server for alice", result.startswith("Sunny, "), result)
            reader.run(said("writ apply app.toml"))
            reader.run(said("writ client key generate --out agent.pem > agent.jwks.json"))
            reader.run(said("writ client add --id agent --jwks agent.jwks.json --access weather=tool:forecast"))
            result = reader.run(said("python agent.py"))
            judge.equal("the agent reached the server in Rust", result, "Sunny, agent.\n")
            token = reader.run(said("writ token weather --scope tool:forecast --client-id agent --key agent.pem"))
            judge.equal("the token is a signed one", token.count("."), 2)
            reader.stop(server)

            server = reader.start(said("python server.py &"), 8000)
            reader.run("writ doctor http://127.0.0.1:8000/mcp")
            result = reader.run("python agent.py")
            judge.equal("the agent reached the server in Python", result, "Sunny, agent.\n")
            reader.stop(server)

            reader.run(said("writ client add --id weather-server --serves weather"))
            lists = ("writ client list", "writ keys list", "writ stream list", "writ audit list", "writ audit verify")
            for line in lists:
                judge.check(f"{line} prints something", reader.run(said(line)).strip())
            reader.run(said("writ doctor http://127.0.0.1:4455"))
            reader.run(said('writ revoke client agent --reason "leaked"   # end what it was granted; it may ask anew'))
            reader.run(said("writ client disable agent                    # the same, and no more tokens"))
            reader.run(said("writ event emit credential-change --user alice --member credential_type=password "
                            "--member change_type=update"))
            reader.run(said("writ backup writ.backup"))
            judge.check("the backup is there", (home / "writ.backup").stat().st_size)
        finally:
            for process in list(reader.started):
                reader.stop(process)

    for line in lines:
        if line not in done and line not in STEPS_OF_THEIR_OWN and not line.startswith("export PATH="):
            judge.check(f"somebody tries: {line}", False)
    judge.finish()


if __name__ == "__main__":
    main()
