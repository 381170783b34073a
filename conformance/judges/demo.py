"""`writ demo`: an rmcp server and an rmcp client with Writ between them, judged by what it reports.

    python demo.py COMMAND...     (the command that runs the demo, without `--json`)
"""

import json
import subprocess
import sys

from judging import Judge


def main():
    judge = Judge("demo")
    run = subprocess.run([*sys.argv[1:], "--json"], capture_output=True, text=True, timeout=1500)
    judge.equal("exit code", run.returncode, 0)
    if run.returncode:
        judge.note(run.stderr[-3000:])
    report = json.loads(run.stdout)
    steps = report["steps"]
    for step in steps:
        judge.check(step.get("title") or step.get("name"), step["ok"], step.get("detail", ""))
    judge.check("it took several steps", len(steps) >= 6, len(steps))
    judge.check("the demo as a whole succeeded", report["ok"] is True)
    judge.finish()


if __name__ == "__main__":
    main()
