"""Rows of the result: candidates measured in turns."""

from generator import phase, summary, wrk


def measure(bench, rows, what, candidates, alg, connections):
    """One row for each of `candidates`, a list of (server, requests), in turns, so that a noisy minute hits all."""
    options, phases = bench.options, {}
    for server, requests in candidates:
        # A just-in-time compiler needs thousands of requests before it shows what it can do.
        bench.say(f"{what}, {alg}, {connections} connections, first warm-up: {server.name}")
        wrk(requests, connections, 2 * options.warm_up, options.load_core)
    for number in range(options.repetitions):
        for server, requests in candidates:
            bench.say(f"{what}, {alg}, {connections} connections, {number + 1} of {options.repetitions}: {server.name}")
            phases.setdefault(server.name, []).append(phase(server, requests, connections, options))
    add(rows, what, alg, connections, phases)


def add(rows, what, alg, connections, phases, **more):
    for name, measured in phases.items():
        rows.append({"what": what, "server": name, "alg": alg, "connections": connections} | more | summary(measured))
