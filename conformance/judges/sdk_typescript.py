"""The TypeScript SDK: the compiler, strict, and its own tests, with real MCP servers of both versions of the SDK.

    python sdk_typescript.py
"""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from judging import ROOT, Judge

SDK = ROOT / "sdk" / "typescript"


def install():
    """Exactly what the lock file says; again only when that has changed."""
    stamp = SDK / "node_modules" / ".stamp"
    digest = hashlib.sha256((SDK / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(npm, cwd=SDK, check=True, timeout=900)
        stamp.write_text(digest)


def main():
    judge = Judge("sdk-typescript")
    install()

    def run(*command, timeout=600):
        done = subprocess.run(command, cwd=SDK, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            print(done.stdout[-6000:], done.stderr[-3000:], flush=True)
        return done.returncode

    judge.equal("tsc, strict", run("npx", "--no-install", "tsc"), 0)
    tests = sorted(str(test) for test in (SDK / "dist" / "tests").glob("*.test.js"))
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        to_file = ("--test-reporter=junit", f"--test-reporter-destination={report}")
        code = run("node", "--test", *to_file, *tests)
        count = judge.add_junit(report)
    judge.equal("node --test", code, 0)
    judge.check("there are as many tests as there should be at least", count >= 300, count)
    judge.finish()


if __name__ == "__main__":
    main()
