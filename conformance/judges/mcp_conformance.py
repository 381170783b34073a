"""The conformance tool of the Model Context Protocol, with Writ as the authorization server under test.

The tool ends well when it has left out the scenario with the code grant, so its results are read, check by check.
"""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "people"))

from judging import HERE, Judge, scene
from scene import free_port
from user_agent import Lost, UserAgent

TOOL = HERE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
SCENARIOS = ("authorization-server-metadata-endpoint", "authorization-code-grant")
# A URL of the authorization endpoint in what the tool prints.
ASKS = re.compile(r"(http://localhost:\d+/\S*authorize\?\S+)")


def run(judge, stage, results, more):
    """Runs the tool and opens the URL it prints; its exit code and what it said."""
    command = [os.environ["NODE22"], str(TOOL), "authorization", "--url", stage["issuer"], "-p", str(free_port()),
               "-o", str(results), *more]
    tool = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watch = threading.Timer(60, tool.kill)
    watch.start()
    said, opened = [], None
    try:
        for line in tool.stdout:
            said.append(line)
            asks = ASKS.search(line)
            if asks and not opened:
                opened = asks[1]
                agent = UserAgent(stage["issuer"], stage["people"]["alice"])
                try:
                    agent.visit(opened, go=True)
                    judge.equal("the person signed in and was asked", agent.pages, ["/login", "/authorize/resume"])
                except Lost as lost:
                    judge.check("the person can answer", False, lost)
                    tool.kill()
    finally:
        watch.cancel()
    return tool.wait(), "".join(said), opened


def read(results):
    """Every check in the tool's results, by scenario."""
    found = {}
    for file in sorted(results.rglob("checks.json")):
        name = next((s for s in SCENARIOS if s in str(file)), str(file))
        found[name] = json.loads(file.read_text())
    return found


def judge_run(judge, stage, what, more):
    print(f"-- with {what}")
    results = Path(stage["directory"]) / f"results with {what}"
    code, said, opened = run(judge, stage, results, more)
    judge.equal("the tool ends well", code, 0)
    judge.check("it asked for an authorization", opened is not None, said[-800:] if not opened else "")
    found = read(results)
    judge.equal("both scenarios were executed", sorted(found), sorted(SCENARIOS))
    for scenario, checks in found.items():
        for check in checks:
            words = check.get("errorMessage") or ""
            judge.check(f"{scenario}: {check['id']}: {check.get('description', '')[:90]}",
                        check["status"] in ("SUCCESS", "INFO"), f"{check['status']} {words}".strip())
        judge.check(f"{scenario}: it judged something", any(c["status"] == "SUCCESS" for c in checks), len(checks))


if __name__ == "__main__":
    judge, stage = Judge("mcp-conformance"), scene()
    declared = ["--client-id", "public-app"]
    judge_run(judge, stage, "a resource", [*declared, "--resource", stage["resources"]["notes"]["resource"]])
    # Of several resources none is named: it is about the person alone.
    judge_run(judge, stage, "no resource", declared)
    judge.finish()
