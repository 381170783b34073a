"""wrk, and what a server did and cost while it ran."""

import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from kernel import CannotRun, bytes_to_disk, core_busy_seconds, cpu_seconds

HERE = Path(__file__).resolve().parent


@dataclass
class Requests:
    """What wrk sends; load.lua says how."""

    url: str
    mark: str = '"access_token"'
    headers: dict = field(default_factory=dict)
    body: str = ""
    method: str = "POST"
    file: Path | None = None
    chain: Path | None = None
    find: str | None = None
    once: bool = False
    keep: Path | None = None
    pause_ms: float | None = None

    def environment(self):
        named = {
            "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in self.headers.items()),
            "BENCH_METHOD": self.method, "BENCH_BODY": self.body, "BENCH_MARK": self.mark, "BENCH_FIND": self.find,
            "BENCH_REQUESTS": self.file and str(self.file), "BENCH_CHAIN": self.chain and str(self.chain),
            "BENCH_ONCE": "1" if self.once else None, "BENCH_KEEP": self.keep and str(self.keep),
            "BENCH_PAUSE": self.pause_ms and str(self.pause_ms),
        }
        return {name: value for name, value in named.items() if value}


def begin(requests, connections, seconds, core):
    """Starts wrk; the process, and when that was."""
    return subprocess.Popen(
        ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
         "-s", HERE / "load.lua", requests.url],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | requests.environment(),
    ), time.perf_counter()


def finish(process, begun):
    """Waits for its end; what it saw."""
    try:
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        process.kill()
        raise
    found = [line for line in said.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise CannotRun(f"wrk failed:\n{said}")
    busy = (usage.ru_utime + usage.ru_stime) / (time.perf_counter() - begun)
    return json.loads(found[0].removeprefix("RESULT ")) | {"generator_busy": busy}


def wrk(requests, connections, seconds, core):
    """One stretch of load; several at a time when there are several lists of requests."""
    several = requests if isinstance(requests, list) else [requests]
    running = [begin(one, max(1, connections // len(several)), seconds, core) for one in several]
    results = [finish(*begun) for begun in running]
    counted = ("answered", "refused", "ran_out", "socket_errors", "generator_busy")
    slowest = ("seconds", "p50_ms", "p99_ms", "max_ms")
    refusals = [r["first_refusal"] for r in results if r["first_refusal"]]
    return {key: sum(r[key] for r in results) for key in counted} | \
        {key: max(r[key] for r in results) for key in slowest} | {"first_refusal": refusals[0] if refusals else ""}


def phase(server, requests, connections, options, warmed=False, seconds=None):
    """One measured stretch of load, after a short one that only warms up."""
    if not warmed:
        wrk(requests, connections, options.warm_up, options.load_core)
    before = costs(server)
    result = wrk(requests, connections, seconds or options.seconds, options.load_core)
    after = costs(server)
    cpu, database, core, written = (b - a for a, b in zip(before, after))
    count = max(result["answered"], 1)
    return result | {
        "failed": bool(result["refused"] or result["socket_errors"] or result["ran_out"] or not result["answered"]),
        "per_second": result["answered"] / result["seconds"],
        "cpu_us": cpu / count * 1e6,
        "database_us": database / count * 1e6,
        "server_busy": (cpu + database) / result["seconds"],
        "others_on_core": max(0.0, core - cpu - database) / result["seconds"],
        "written_bytes": written / count,
    }


def costs(server):
    """CPU of the server's processes and of its database's, use of their core, bytes written by the server."""
    return (sum(cpu_seconds(pid) for pid in server.pids()), server.database_seconds(),
            core_busy_seconds(server.core), sum(bytes_to_disk(pid) for pid in server.pids()))


def summary(phases):
    """The medians of the repetitions, with the spread of the one number that is compared."""
    keys = ("per_second", "p50_ms", "p99_ms", "cpu_us", "database_us", "server_busy", "others_on_core",
            "generator_busy", "written_bytes")
    spent = [p["cpu_us"] for p in phases]
    refusals = [p["first_refusal"] for p in phases if p["first_refusal"]]
    return {key: statistics.median(p[key] for p in phases) for key in keys} | {
        "cpu_us_min": min(spent), "cpu_us_max": max(spent),
        "errors": sum(p["refused"] + p["socket_errors"] + p["ran_out"] for p in phases),
        "failed": any(p["failed"] for p in phases),
        "first_refusal": refusals[0] if refusals else "",
        "repetitions": phases,
    }
