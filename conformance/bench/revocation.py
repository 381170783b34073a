"""How long a revocation takes until it has arrived: the part `revocation`.

`revocation_bench`, an example of `writ-resource`, makes the scene, is all receivers and the administrator, and measures;
here each case gets a server of its own, and load beside it where the case says so. To add a case: a line in CASES.
"""

import contextlib
import json
import os
import resource
import select
import signal
import statistics
import subprocess
from dataclasses import dataclass

import generator
from kernel import CannotRun
from scene import token_requests
from servers import Writ, clean, postgresql

FILES = 16_384  # open in one process: ten thousand feeds, and what else there is
LIMIT = 90  # seconds for one case
TOKENS_PER_SECOND = 5_000
LATENCY = 0.004  # seconds that a token takes meanwhile, about: with it the pause between two is chosen


@dataclass
class Case:
    way: str
    receivers: int
    revocations: int = 0
    kill_switches: int = 0
    algorithm: str = "EdDSA"
    streams_each: int = 1
    dead: int = 0
    slow: int = 0
    tokens: bool = False

    def name(self):
        bad = f", {self.dead} dead" * bool(self.dead) + f", {self.slow} slow" * bool(self.slow)
        return f"{self.way}{bad}{', tokens' * self.tokens}"


def cases(quick):
    times = 10 if quick else 60
    if quick:
        return [Case(way, 10, times) for way in ("push", "feed", "poll")] + [
            Case("push", 50, times, 1, dead=5, tokens=True), Case("feed", 200, 0, 1, streams_each=10)]
    return [
        *(Case(way, receivers, times) for way in ("push", "feed", "poll") for receivers in (1, 100, 1_000)),
        # Everybody is told of some agents first: so the bad ones have something that they do not take.
        *(Case("push", receivers, times, 3, **bad) for receivers in (100, 1_000)
          for bad in ({"dead": receivers // 10}, {"slow": receivers // 10})),
        *(Case(way, 1_000, times, tokens=True) for way in ("push", "feed")),
        *(Case("push", 1_000, times, 3, tokens=True, **bad) for bad in ({"dead": 100}, {"slow": 100})),
        *(Case("push", 1_000, 0, 5, algorithm) for algorithm in ("EdDSA", "RS256")),
        *(Case("feed", 10_000, 0, 5, algorithm, streams_each=10) for algorithm in ("EdDSA", "RS256")),
    ]


def revocation(bench):
    """A revocation, until a call is refused and until everybody was told."""
    rows = bench.result.setdefault("revocation", [])
    with open_files(FILES):
        for case in cases(bench.options.quick):
            bench.say(f"revocation: {case.name()}, {case.receivers} receivers")
            rows.append(run(bench, case))


@contextlib.contextmanager
def open_files(number):
    """What this process starts may have so many files open."""
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise CannotRun(f"the part revocation needs {number} open files in a process, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def run(bench, case):
    """One case, with a server that knows nothing of the others. Both cores are everybody's."""
    cores = ",".join(map(str, (bench.options.server_core, bench.options.load_core)))
    settings = {
        "WRIT_LIMITS__CONNECTIONS": str(FILES - 1_000),
        "WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS": "true",
        "WRIT_EVENTS__STREAMS_PER_CLIENT": str(max(16, case.streams_each)),
    }
    server = Writ(bench.options.writ, bench.work, cores, bench.declaration, "writ-revocation", settings=settings)
    server.forget()
    server.start()
    try:
        return measure(bench, case, server, cores)
    finally:
        server.stop()


def measure(bench, case, server, cores):
    about = {name: value for name, value in vars(case).items() if name != "tokens"}
    file = bench.work / "revocation.json"
    file.write_text(json.dumps(about | {
        "issuer": server.issuer, "credentials": str(server.data / "admin.json"), "pid": server.process.pid}))
    with subprocess.Popen(
        [*postgresql.bounded(), "taskset", "-c", cores, bench.options.revoker, file],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean(),
    ) as process:
        try:
            if line(process) != "ready\n":
                raise CannotRun(f"no scene: {process.stderr.read()[-2000:]}")
            with tokens(bench, server, cores) if case.tokens else contextlib.nullcontext() as issued:
                process.stdin.write("\n")
                process.stdin.flush()
                found = line(process)
            if process.wait(10) != 0:
                raise CannotRun(f"no result: {process.stderr.read()[-2000:]}")
        finally:
            process.kill()
    return row(case, json.loads(found), issued, os.getloadavg()[0])


def line(process):
    ready, _, _ = select.select([process.stdout], [], [], LIMIT)
    if not ready:
        raise CannotRun(f"nothing was heard of revocation_bench for {LIMIT} seconds")
    return process.stdout.readline()


@contextlib.contextmanager
def tokens(bench, server, cores):
    """Tokens are issued meanwhile; afterwards the list holds what wrk saw. Each connection pauses between two
    requests, so that they are so many a second and not as many as can be."""
    connections, seen = 64, []
    requests = token_requests(server, bench.scene, "EdDSA", pause_ms=connections / TOKENS_PER_SECOND * 1e3 - LATENCY * 1e3)
    process, begun = generator.begin(requests, connections, LIMIT, cores)
    try:
        yield seen
        process.send_signal(signal.SIGINT)
    except BaseException:
        process.kill()
        raise
    seen.append(generator.finish(process, begun))


def row(case, found, issued, load):
    refused, switches, books = found["revocations"], found["kill_switches"], found["books"]
    per_second = [seen["answered"] / seen["seconds"] for seen in issued or []]
    errors = sum(books[key] for key in ("lost", "duplicate", "out_of_order", "misrouted"))
    errors += sum(seen["refused"] + seen["socket_errors"] for seen in issued or [])
    known = {
        "case": case.name(), **vars(case), "load_average": load, "tokens_per_second": per_second[0] if per_second else None,
        "errors": errors, "failed": bool(errors) or len(refused) < case.revocations, "found": found,
    }
    if refused:
        known["call_ms"] = statistics.median(one["call_ms"] for one in refused)
        for since in ("from_answer_ms", "from_request_ms"):
            known[since] = quantiles([one[since] for one in refused])
    if switches:
        told = sum(one["told"] for one in switches)
        known |= {key: statistics.median(one[key] for one in switches)
                  for key in ("answer_ms", "half_ms", "most_ms", "all_ms", "all_from_request_ms")}
        known["all_ms_max"] = max(one["all_ms"] for one in switches)
        known["cpu_us"] = sum(one["cpu_s"] for one in switches) / max(told, 1) * 1e6
    if case.streams_each > 1:
        kib = found["resident_kib"]
        known["feed_kib"] = (kib["listening"] - kib["subscribed"]) / case.receivers
        known["stream_kib"] = (kib["listening"] - kib["declared"]) / case.receivers
    return known


def quantiles(values):
    values = sorted(values)
    return {"p50": statistics.median(values), "p99": values[max(0, -(-len(values) * 99 // 100) - 1)], "max": values[-1]}


def tables(rows):
    """For the report: what is measured, as heads and rows."""
    def shown(milliseconds):
        return [max(0.0, milliseconds[key]) for key in ("p50", "p99", "max")]

    def failed(r):
        return f"FAILED: {r['found']['books']}" if r["failed"] else ""

    one = ["one of them is concerned", "receivers", "revocations", "p50 ms", "p99 ms", "max ms",
           "from request p50", "p99", "max", "a call ms", "tokens/s", "load", ""]
    yield one, [[r["case"], f"{r['receivers']:,}", r["revocations"], *shown(r["from_answer_ms"]), *shown(r["from_request_ms"]),
                 r["call_ms"], per_second(r), r["load_average"], failed(r)] for r in rows if "call_ms" in r]
    everybody = ["all are told", "receivers", "alg", "50 % ms", "99 % ms", "100 % ms", "(max)", "from request", "the 200 ms",
                 "CPU us/SET", "tokens/s", "load", ""]
    yield everybody, [[r["case"], f"{r['receivers']:,}", r["algorithm"], r["half_ms"], r["most_ms"], r["all_ms"],
                       f"({r['all_ms_max']:,.1f})", r["all_from_request_ms"], r["answer_ms"],
                       "-" if r["tokens"] else r["cpu_us"], per_second(r), r["load_average"], failed(r)]
                      for r in rows if "all_ms" in r]
    yield ["idle", "receivers", "KiB/feed", "KiB/feed and stream"], [
        [r["case"], f"{r['receivers']:,}", r["feed_kib"], r["stream_kib"]] for r in rows if "feed_kib" in r]


def per_second(r):
    return f"{r['tokens_per_second']:,.0f}" if r["tokens_per_second"] else "-"
