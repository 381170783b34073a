"""mcp-authlab, a scanner of MCP authorization, against MCP servers that take Writ's tokens.

Every check has to pass on each server, but for those listed here with the reason. What is listed counts as
nothing, and has to end as listed: otherwise it is a failure as well.
"""

import json
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from judging import HERE, Judge, background, demo_server, scene, token

# The scanner signs somebody in for these; the demo has no people.
CODE_FLOW = {f"ASF-0{number}" for number in range(1, 7)}
# Plain http is for loopback; the scanner says so.
LOOPBACK = {"TLS-01"}

# What each MCP server is not expected to pass, and why.
TARGETS = {
    # The SDK's challenge names no scopes, and its tools answer for their own scopes without a 403.
    "the MCP server in Python": {"warn": LOOPBACK | {"CHAL-03"}, "skip": {"SCOPE-01"}},
    # The SDK's challenge names no scopes, and this server keeps no sessions.
    "the MCP server in Node": {"warn": LOOPBACK | {"CHAL-03"}, "skip": {"SESS-01", "SESS-02"}},
    # Behind Writ's own layer nothing is missing.
    "the MCP server in Rust": {"warn": LOOPBACK, "skip": CODE_FLOW},
}


def scanner(*arguments, **environment):
    """Runs mcp-authlab."""
    command = [str(Path(sys.executable).with_name("mcp-authlab")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, env=os.environ | environment)


def login(judge, stage, url):
    """The scanner registers itself, has somebody sign in, and keeps two tokens: one for here, one for elsewhere."""
    agent = HERE / "people/user_agent.py"
    browser = f"{shlex.quote(sys.executable)} {shlex.quote(str(agent))} %s --go &"
    elsewhere = stage["resources"]["files"]["resource"]
    arguments = ("login", url, "--foreign-resource", elsewhere, "--thorough", "--timeout", "30")
    run = scanner(*arguments, BROWSER=browser)
    judge.check("the scanner signs somebody in", run.returncode == 0, run.stderr.strip()[-800:] if run.returncode else "")


@contextmanager
def sdk_server(judge, stage, command, resource):
    """A server of one of the SDKs in front of this judge's Writ: its URL, and nothing more, as the scanner signs in."""
    place = stage["resources"][resource]
    arguments = [*command, stage["issuer"], place["resource"], str(place["port"])]
    with background(arguments, place["resource"], Path(stage["directory"]) / f"{resource}.log"):
        login(judge, stage, place["resource"])
        yield place["resource"], []


@contextmanager
def rust_server(stage):
    """The server of the demo: its URL, and tokens of the demo's Writ."""
    with demo_server(stage) as place:
        # The token of the demo's administrator is as good, and for another resource.
        own = token(place, "agent", "notes", "tool:search_notes")
        foreign = token(place, "administrator", "admin", "writ:read")
        yield place["resources"]["notes"]["resource"], ["--no-login", "--token", own, "--foreign-token", foreign]


def servers(judge, stage):
    """Every server of TARGETS, and a tool of it that the token does not reach."""
    python = [sys.executable, str(HERE / "mcp_python/server.py")]
    node = [os.environ.get("NODE", "node"), str(HERE / "mcp_typescript/server.mjs")]
    yield "the MCP server in Python", sdk_server(judge, stage, python, "weather"), None
    yield "the MCP server in Node", sdk_server(judge, stage, node, "notes"), "write_note"
    yield "the MCP server in Rust", rust_server(stage), "add_note"


def scan(url, tokens, tool):
    asked = ["--tool", tool] if tool else []
    return scanner("scan", url, "--format", "json", "--fail-under", "A", *tokens, *asked)


def main():
    judge, stage = Judge("authlab"), scene()
    os.environ["MCP_AUTHLAB_TOKENS"] = str(Path(stage["directory"]) / "authlab.json")
    for name, server, tool in servers(judge, stage):
        print(f"-- {name}", flush=True)
        target = TARGETS[name]
        with server as (url, tokens):
            run = scan(url, tokens, tool)
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
