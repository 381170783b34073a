"""mcp-authlab, a scanner of MCP authorization, against MCP servers that take Writ's tokens.

Every check has to pass on each server, but for those listed here with the reason. What is listed counts as
nothing, and has to end as listed: otherwise it is a failure as well.
"""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from judging import HERE, Judge, background, demo_server, scene, token

# The scanner signs in by the authorization code grant for these; Writ has no such flow yet.
CODE_FLOW = {f"ASF-0{number}" for number in range(1, 7)}
# Plain http is for loopback; the scanner says so.
LOOPBACK = {"TLS-01"}

# What each MCP server is not expected to pass, and why.
TARGETS = {
    # The SDK's challenge names no scopes, and its tools answer for their own scopes without a 403.
    "the MCP server in Python": {"warn": LOOPBACK | {"CHAL-03"}, "skip": CODE_FLOW | {"SCOPE-01"}},
    # The SDK's challenge names no scopes, and this server keeps no sessions.
    "the MCP server in Node": {"warn": LOOPBACK | {"CHAL-03"}, "skip": CODE_FLOW | {"SESS-01", "SESS-02"}},
    # Behind Writ's own layer nothing is missing.
    "the MCP server in Rust": {"warn": LOOPBACK, "skip": CODE_FLOW},
}


@contextmanager
def sdk_server(stage, command, resource, scope):
    """A server of one of the SDKs in front of this judge's Writ: its URL, a token, a token for elsewhere."""
    place = stage["resources"][resource]
    arguments = [*command, stage["issuer"], place["resource"], str(place["port"])]
    with background(arguments, place["resource"], Path(stage["directory"]) / f"{resource}.log"):
        yield (
            place["resource"],
            token(stage, "agent-basic", resource, scope),
            token(stage, "agent-basic", "archive", "tool:search"),
        )


@contextmanager
def rust_server(stage):
    with demo_server(stage) as place:
        # The token of the demo's administrator is as good, and for another resource.
        yield (
            place["resources"]["notes"]["resource"],
            token(place, "agent", "notes", "tool:search_notes"),
            token(place, "administrator", "admin", "writ:read"),
        )


def servers(stage):
    """Every server of TARGETS, and a tool of it that the token does not reach."""
    python = [sys.executable, str(HERE / "mcp_python/server.py")]
    node = [os.environ.get("NODE", "node"), str(HERE / "mcp_typescript/server.mjs")]
    yield "the MCP server in Python", sdk_server(stage, python, "weather", "tool:forecast"), None
    yield "the MCP server in Node", sdk_server(stage, node, "notes", "tool:read_note"), "write_note"
    yield "the MCP server in Rust", rust_server(stage), "add_note"


def scan(url, own, foreign, tool):
    command = [
        str(Path(sys.executable).with_name("mcp-authlab")), "scan", url, "--no-login", "--format", "json",
        "--fail-under", "A", "--token", own, "--foreign-token", foreign,
    ]
    if tool:
        command += ["--tool", tool]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def main():
    judge, stage = Judge("authlab"), scene()
    for name, server, tool in servers(stage):
        target = TARGETS[name]
        with server as (url, own, foreign):
            run = scan(url, own, foreign, tool)
        print(f"-- {name}")
        judge.check("the scanner grades it A", run.returncode == 0, run.stderr.strip()[-500:])
        report = json.loads(run.stdout)
        judge.note(f"mcp-authlab {report['version']}: {report['coverage']['line']}, score {report['score']}")
        for result in report["results"]:
            check = result["id"]
            said = f"{result['status']}: {result['message'][:110]}"
            expected = "warn" if check in target["warn"] else "skip" if check in target["skip"] else "pass"
            if expected != "pass" and result["status"] == expected:
                judge.note(f"{check} {result['title']} [{said}]")
            else:
                judge.check(f"{check} {result['title']}", result["status"] == expected, said)
        judge.equal("every check of the scanner was reported", len(report["results"]), 33)
    judge.finish()


if __name__ == "__main__":
    main()
