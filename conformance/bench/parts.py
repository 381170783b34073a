"""The parts of a run. Each takes the bench and puts what it measured into the result.

To add one: a function here and an entry in PARTS; its rows go through `measure`.
"""

import base64
import hashlib
import json
import random
import sqlite3
import statistics
import time
import urllib.parse
import urllib.request
from dataclasses import replace

from generator import Requests, phase, summary, wrk
from kernel import CannotRun, output
from people import code, refresh
from revocation import revocation
from rows import add, measure
from scene import (basic, exchange_body, fetch_tokens, prove_token, resource_for, token_body, token_file,
                   token_requests)
from servers import HERE, PEER, Database, Writ

VERIFIED_TOKENS = 256
TOKENS = 20_000  # exchanged in turn
ONCE = 2  # seconds in which every token is a new one: they are made before, and that takes longer
SAMPLE = 5_000  # clients that ask for tokens, of all there are


def start(bench):
    """Spawn to first 200, with nothing on disk and with what the start before left there; memory at rest."""
    servers = [bench.writ(), bench.writ_on_postgres(), bench.peer()]
    found = bench.result.setdefault("servers", {})
    for server in servers:
        server.stop()
        found[server.name] = {"fresh_ms": [], "existing_ms": []} | server.facts()
    for _ in range(bench.options.starts):
        for server in servers:
            bench.say(f"start: {server.name}")
            server.forget()
            for state in ("fresh_ms", "existing_ms"):
                found[server.name][state].append(server.start(loaded=False))
                server.stop()
    for server in servers:
        server.forget()
        server.start()
        time.sleep(1)
        found[server.name]["idle_mib"], _ = server.memory()


def tokens(bench):
    """Client credentials, at Writ on both databases and at the peer."""
    servers = [bench.writ(), bench.writ_on_postgres(), bench.peer()]
    for alg in bench.options.alg:
        for server in servers:
            bench.result.setdefault("proved", {})[f"{server.name} {alg}"] = prove_token(server, bench.scene, alg)
        # Signing decides what an RSA token costs, not how many connections ask.
        for connections in bench.options.connections if alg == "EdDSA" else bench.options.connections[-2:][:1]:
            candidates = [(server, token_requests(server, bench.scene, alg)) for server in servers]
            measure(bench, bench.result["load"], "token", candidates, alg, connections)
    for server in servers:
        facts = bench.result.get("servers", {}).get(server.name)
        if facts:
            facts["loaded_mib"], facts["peak_mib"] = server.memory()


def minted(bench, server, count):
    """So many tokens of the server's, EdDSA, and the file with one on each line."""
    path = bench.work / f"{server.name}-minted"
    path.unlink(missing_ok=True)
    requests = token_requests(server, bench.scene, "EdDSA", keep=path)
    for _ in range(60):
        wrk(requests, 64, 1, bench.options.load_core)
        lines = path.read_text().splitlines()
        if len(lines) >= count:
            return lines[:count]
    raise CannotRun(f"{server.name} did not issue {count} tokens in a minute")


def exchange(bench):
    """RFC 8693: an agent's token for one that names the sub-agent as actor; subject tokens in turn."""
    candidates = []
    for server in (bench.writ(), bench.writ_on_postgres()):
        file = bench.work / f"{server.name}-exchange"
        file.write_text("".join(exchange_body(token) + "\n" for token in minted(bench, server, TOKENS)))
        headers = {"Authorization": basic("bench-sub-agent", bench.scene["client_secret"])}
        candidates.append((server, Requests(server.metadata()["token_endpoint"], headers=headers, file=file)))
    measure(bench, bench.result["load"], "exchange", candidates, "EdDSA", 64)


def introspection(bench):
    """RFC 7662 by the MCP server the token is for: one token again and again, then new ones; then signed (RFC 9701)."""
    server, rows = bench.writ(), bench.result["load"]
    [known] = minted(bench, server, 1)
    headers = {"Authorization": basic("bench-server", bench.scene["client_secret"])}
    same = Requests(server.metadata()["introspection_endpoint"], '"active":true', headers, f"token={known}")
    measure(bench, rows, "introspection, one token", [(server, same)], "EdDSA", 64)
    new_tokens(bench, server, same, rows)
    signed = replace(same, headers=headers | {"Accept": "application/token-introspection+jwt"})
    signed.mark = signed_mark(signed)
    measure(bench, rows, "introspection, signed answer", [(server, signed)], "EdDSA", 64)


def new_tokens(bench, server, same, rows):
    """Each token once, for the server keeps those whose signature it has checked."""
    options, file = bench.options, bench.work / "introspection"
    seconds = min(ONCE, options.seconds)
    # A token that is known is answered faster than a new one: so many are enough.
    rate = wrk(same, 64, options.warm_up, options.load_core)["answered"] / options.warm_up
    requests, phases = replace(same, body="", file=file, once=True), []
    for number in range(options.repetitions):
        bench.say(f"introspection, new tokens, {number + 1} of {options.repetitions}")
        tokens = minted(bench, server, int(rate * seconds * 1.1))
        file.write_text("".join(f"token={token}\n" for token in tokens))
        phases.append(phase(server, requests, 64, options, warmed=True, seconds=seconds))
    add(rows, "introspection, new tokens", "EdDSA", 64, {server.name: phases})


def signed_mark(requests):
    """What only a signed answer about a token that is active has in it: one answer is read, and these are the letters
    of its payload. They are the same in each answer, because what comes before them is always as long."""
    asked = urllib.request.Request(requests.url, requests.body.encode(), requests.headers)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        head, payload, _ = answer.read().decode().split(".")
    head, claims = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (head, payload))
    mark = b'"token_introspection":{"active":true'
    if json.loads(head)["typ"] != "token-introspection+jwt" or mark not in claims:
        raise CannotRun(f"introspection is not answered as RFC 9701 says: {head} {claims}")
    # Three octets are four letters: those that belong to this text alone.
    begin = claims.index(mark)
    first, last = -(-begin // 3), (begin + len(mark)) // 3
    return payload[4 * first:4 * last]


def dpop(bench):
    """RFC 9449: each request with a proof of its own, made in advance on the other core."""
    server, options = bench.writ(), bench.options
    url = server.metadata()["token_endpoint"]
    authorization = basic(bench.scene["client_id"], bench.scene["client_secret"])
    file = bench.work / "proofs"

    def proofs(alg, count):
        bench.say(f"dpop, {alg}: making {count} proofs")
        return json.loads(output("node", HERE / "proofs.mjs", alg, url, str(count), file, authorization,
                                 token_body(resource_for("EdDSA")), limit=120))

    for alg in ("EdDSA", "ES256"):
        requests = Requests(url, '"token_type":"DPoP"', file=file, once=True)
        proofs(alg, 30_000 * options.warm_up)
        rate = wrk(requests, 64, options.warm_up, options.load_core)["answered"] / options.warm_up
        phases, cost = [], []
        for number in range(options.repetitions):
            made = proofs(alg, int(rate * options.seconds * 1.5) + 2000)
            cost.append(made["cpu_us"])
            bench.say(f"dpop, {alg}, {number + 1} of {options.repetitions}")
            phases.append(phase(server, requests, 64, options, warmed=True))
        add(bench.result["load"], f"token, DPoP by {alg}", "EdDSA", 64, {server.name: phases},
            client_us=statistics.median(cost))


def clients(bench):
    """The same load from random clients, while ever more of them are registered."""
    options, rows = bench.options, bench.result.setdefault("clients", [])
    server = Writ(options.writ, bench.work, options.server_core, bench.declaration, name="writ-clients")
    bench.closing.callback(server.stop)
    for count in options.clients:
        bench.say(f"clients: writing {count:,} rows")
        server.forget()
        server.start()
        fetch_tokens(server, bench.scene, "EdDSA", 1)
        server.stop()
        secrets = add_clients(server.data / "writ.db", count)
        starts = []
        for _ in range(3):
            server.stop()
            starts.append(server.start(loaded=False))
        time.sleep(1)
        at_rest, _ = server.memory()
        sample = random.Random(count).sample(range(count), min(count, SAMPLE))
        body = token_body(resource_for("EdDSA"))
        lines = [f"Authorization: {basic(f'agent-{i}', secrets(i))}\t{body}\n" for i in sample]
        file = bench.work / "clients"
        file.write_text("".join(random.Random(1).choices(lines, k=4 * SAMPLE)))
        requests = Requests(server.metadata()["token_endpoint"], file=file)
        bench.say(f"clients: load from {count:,}")
        wrk(requests, 64, 3 * options.warm_up, options.load_core)
        phases = [phase(server, requests, 64, options) for _ in range(options.repetitions)]
        loaded, _ = server.memory()
        rows.append({"clients": count, "start_ms": statistics.median(starts), "idle_mib": at_rest,
                     "loaded_mib": loaded} | summary(phases))
        server.stop()


def add_clients(database, count):
    """Copies the declared client and its grant `count` times, as the server itself wrote them, each with a name and
    a secret of its own, so that no two documents are the same; says which secret."""
    def secret(number):
        return f"writ_cs_{number:043d}"

    def client(row, number):
        named = json.loads(row["document"]) | {"name": f"Agent {number}"}
        return {"client_id": f"agent-{number}", "secret_digest": hashlib.sha256(secret(number).encode()).digest(),
                "document": json.dumps(named, separators=(",", ":"))}

    def grant(row, number):
        return {"id": f"{number:022d}", "client_id": f"agent-{number}", "subject": f"agent-{number}",
                "identity": row["identity"].replace("bench-agent", f"agent-{number}")}

    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        for table, own in (("client", client), ("grant", grant)):
            row = dict(connection.execute(f"SELECT * FROM \"{table}\" WHERE client_id = 'bench-agent'").fetchone())
            copies = (list((row | own(row, number)).values()) for number in range(count))
            connection.executemany(f"INSERT INTO \"{table}\" VALUES ({', '.join('?' * len(row))})", copies)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return secret


class Pair:
    """Two nodes as one server."""

    def __init__(self, nodes):
        self.nodes, self.core, self.name = nodes, nodes[0].core, "writ, two nodes"

    def pids(self):
        return [pid for node in self.nodes for pid in node.pids()]

    def database_seconds(self):
        return self.nodes[0].database_seconds()


def nodes(bench):
    """One node and two on one PostgreSQL, all of it on one core: what a second node costs, not what it adds."""
    options = bench.options
    database = bench.closing.enter_context(Database(options.server_core))
    first = Writ(options.writ, bench.work, options.server_core, bench.declaration, "writ, one node", database, "a")
    bench.closing.callback(first.stop)
    first.forget()
    first.start()
    shared = {"WRIT_KEYS__SEALING_KEY": str(first.data / "sealing.key")}
    second = Writ(options.writ, bench.work, options.server_core, bench.declaration, "writ, other node", database, "b",
                  shared)
    bench.closing.callback(second.stop)
    second.issuer = first.issuer
    second.data.mkdir(mode=0o700)
    second.start(loaded=False)
    at_first = token_requests(first, bench.scene, "EdDSA")
    at_second = replace(at_first, url=f"http://127.0.0.1:{second.port}{urllib.parse.urlsplit(at_first.url).path}")
    candidates = [(first, at_first), (Pair([first, second]), [at_first, at_second])]
    measure(bench, bench.result["load"], "token", candidates, "EdDSA", 64)


def verification(bench):
    """Two verifiers on the same tokens, in turns, each on the servers' core."""
    options, rows = bench.options, bench.result.setdefault("verification", [])
    issuing = bench.writ()
    for alg in options.alg:
        path = token_file(issuing, bench.scene, alg, VERIFIED_TOKENS)
        verifiers = {"writ-resource": [options.verifier], "jose": ["node", PEER / "verify.mjs", "bench"]}
        runs = {name: [] for name in verifiers}
        for _ in range(options.repetitions):
            for name, command in verifiers.items():
                bench.say(f"{alg}, verifying with {name}")
                runs[name].append(json.loads(output("taskset", "-c", str(options.server_core), *command, path, "2")))
        for name, results in runs.items():
            rows.append({
                "verifier": name, "alg": alg, "tokens_of": issuing.name, "repetitions": results,
                "cpu_us": statistics.median(r["cpu_us"] / r["verified"] for r in results),
            })


PARTS = {part.__name__: part for part in (start, tokens, exchange, code, refresh, introspection, dpop, clients, nodes,
                                          revocation, verification)}
