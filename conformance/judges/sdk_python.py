"""The Python SDK: its own tests, with real MCP servers of both SDKs in them, and what mypy and ruff say of it.

    python sdk_python.py DIRECTORY     (where the virtual environment for it is kept)
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from judging import ROOT, Judge

SDK = ROOT / "sdk" / "python"
WANTED = SDK / "requirements-test.txt"


def environment(directory):
    """A virtual environment with exactly what is wanted; made anew only when that has changed."""
    python, stamp = directory / "bin" / "python", directory / "stamp"
    digest = hashlib.sha256(WANTED.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        venv.create(directory, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", WANTED]
        subprocess.run(pip, check=True, timeout=900)
        stamp.write_text(digest)
    return python


def main():
    judge = Judge("sdk-python")
    python = environment(Path(sys.argv[1]).absolute())

    def run(*command, timeout=600):
        quiet = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [python, "-m", *command], cwd=SDK, env=quiet, capture_output=True, text=True, timeout=timeout
        )
        if done.returncode:
            print(done.stdout[-6000:], done.stderr[-3000:], flush=True)
        return done

    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        tests = run("pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}")
        count = judge.add_junit(report)
    judge.equal("pytest", tests.returncode, 0)
    judge.check("there are as many tests as there should be at least", count >= 250, count)
    judge.equal("mypy --strict", run("mypy", "--cache-dir", os.devnull).returncode, 0)
    judge.equal("ruff check", run("ruff", "check", "--no-cache", ".").returncode, 0)
    judge.equal("ruff format", run("ruff", "format", "--no-cache", "--check", ".").returncode, 0)
    judge.finish()


if __name__ == "__main__":
    main()
