"""Unmodified MCP clients sign a person in at real MCP servers: the SDKs of Python and TypeScript, and FastMCP.

    python judge.py DIRECTORY     (where FastMCP's environment is; `sdk_python.py` makes it)
"""

import asyncio
import json
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from documents import host
from judging import Judge, background, scene
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


async def fastmcp(judge, stage, python, document):
    """FastMCP at FastMCP: registered, and by its document. It opens a browser: that is the person."""
    wiki = stage["resources"]["wiki"]["resource"]
    person = f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE.parent / 'people/user_agent.py'))} %s --go &"
    ways = {"registered": [], "by its document": [document]}
    answers = await asyncio.gather(*(
        run(python, HERE / "fastmcp_client.py", wiki, *arguments, BROWSER=person) for arguments in ways.values()
    ))
    print("==== FastMCP")
    for way, (code, out, err) in zip(ways, answers, strict=True):
        if not judge.check(f"{way}: it came to its end", code == 0, err[-1500:] if code else ""):
            continue
        told = json.loads(out.strip().splitlines()[-1])
        first, second = told["first"], told["second"]
        judge.equal(f"{way}: a tool is called", (first["words"], second["words"]), ("dikes", "dams"))
        if ways[way]:
            judge.equal(f"{way}: as this client", first["asked_by"], document)
        judge.equal(f"{way}: with the same scopes later", second["scopes"], first["scopes"])
        judge.check(f"{way}: the token was got, and refreshed", len(told["tokens"]) == 2
                    and all("200 OK" in line for line in told["tokens"]), told["tokens"])
        judge.equal(f"{way}: the person was asked once", len(told["asked"]), 1)


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
            fastmcp(judge, stage, fast, f"{origin}/fastmcp.json"),
        )
    judge.check("each document was fetched once and kept", all(
        asked.get(path) == 1 for path in ("/python.json", "/typescript.json", "/fastmcp.json", "/keyed.json")), asked)
    judge.finish()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
