"""Unmodified MCP clients sign a person in at real MCP servers: the SDKs of Python and TypeScript, and FastMCP.

    python judge.py DIRECTORY     (where FastMCP's environment is; `sdk_python.py` makes it)
"""

import asyncio
import json
import os
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from documents import host
from judging import Judge, background, claims, http, scene
from sdk_python import environment

LIMIT = 200  # seconds for one client


async def run(program, *arguments, **environment):
    """Runs a program to its end; its exit code, and what it said on both streams."""
    process = await asyncio.create_subprocess_exec(
        str(program), *map(str, arguments), env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        err += b"\nit did not end in time"
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


async def client(judge, name, program, *arguments):
    """A client that judges by itself; its lines are taken over."""
    code, out, err = await run(program, *arguments)
    print(f"==== {name}")
    judge.add(out)
    judge.check(f"{name} ran to its end", code in (0, 1) and f"judge {name}: " in out, err[-1500:])


async def fastmcp(judge, stage, python, origin):
    """Signs in by registration and by document; then three processes with one store, when the token has run out."""
    wiki = stage["resources"]["wiki"]["resource"]
    program = HERE / "fastmcp_client.py"
    person = " ".join([shlex.quote(sys.executable), shlex.quote(str(HERE.parent / "people/user_agent.py")), "%s", "--go", "&"])
    nobody = f"{shlex.quote(sys.executable)} -c 'raise SystemExit(1)' %s"
    lines = []

    def said(code, out, err, what):
        try:
            told = json.loads(out.strip().splitlines()[-1])
        except (IndexError, ValueError):
            told = {}
        lines.append((f"FastMCP {what}: a tool is called", code == 0 and told.get("said", {}).get("words") == "dikes",
                      told.get("said") or err[-800:]))
        return told

    async def sign_in(store, *more):
        return await run(python, program, "sign-in", wiki, Path(stage["directory"]) / store, *more, BROWSER=person)

    registered, documented = await asyncio.gather(sign_in("dcr"), sign_in("cimd", f"{origin}/fastmcp.json"))
    first = said(*registered, "registered")
    second = said(*documented, "by its document")
    lines.append(("FastMCP is known by its document", second.get("said", {}).get("asked_by") == f"{origin}/fastmcp.json", ""))
    if first:
        out_at = claims(first["access_token"])["exp"]
        begin = max(out_at, time.time()) + 6
        together = [run(python, program, "later", wiki, Path(stage["directory"]) / "dcr", begin, BROWSER=nobody)
                    for _ in range(3)]
        answers = [said(*answer, f"process {number}") for number, answer in enumerate(await asyncio.gather(*together), 1)]
        for number, told in enumerate(answers, 1):
            asked = told.get("token_requests", [])
            lines.append((f"FastMCP process {number} refreshed, and asked nobody", len(asked) == 1 and "200" in asked[0], asked))
        tokens = {told.get("refresh_token") for told in answers}
        still = [refresh(stage, client_of(first), token) for token in tokens if token]
        lines.append(("all three of them are still signed in", len(still) == len(tokens) and set(still) == {200}, still))
    print("==== FastMCP")
    for line in lines:
        judge.check(*line)


def client_of(told):
    return claims(told["access_token"])["client_id"]


def refresh(stage, client_id, token):
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
    return http("POST", f"{stage['issuer']}/token", form=form).status


async def main(directory):
    judge, stage = Judge("mcp-clients"), scene()
    fast = environment(Path(directory).absolute())
    node = os.environ.get("NODE", "node")
    servers = {
        "notes": [node, HERE.parent / "mcp_typescript/server.mjs"],
        "weather": [sys.executable, HERE.parent / "mcp_python/server.py"],
        "wiki": [fast, HERE / "fastmcp_server.py"],
    }
    with ExitStack() as stack:
        origin, asked = stack.enter_context(host(stage))
        for name, command in servers.items():
            place = stage["resources"][name]
            command = [str(part) for part in (*command, stage["issuer"], place["resource"], place["port"])]
            stack.enter_context(background(command, place["resource"], Path(stage["directory"]) / f"{name}.log"))
        await asyncio.gather(
            client(judge, "python", sys.executable, HERE / "python_client.py", origin),
            client(judge, "typescript", node, HERE / "typescript_client.mjs", origin),
            fastmcp(judge, stage, fast, origin),
        )
    judge.check("each document was fetched once and kept", all(
        asked.get(path) == 1 for path in ("/python.json", "/typescript.json", "/fastmcp.json", "/keyed.json")), asked)
    judge.finish()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
