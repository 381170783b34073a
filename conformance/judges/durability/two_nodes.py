"""Two nodes on one PostgreSQL: what one of them answered holds on the other, at once.

Each node has its own data directory and name; they share the sealing key, the issuer and the database.
"""

import asyncio
import json
import random
import shutil
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jwt
from compare import Comparison, counters
from judging import ROOT, Judge, claims, http
from load import RESOURCE, SETTINGS, Ledger, Load, document
from node import DidNotStart, Node, Psql
from play import LOAD_LIMIT, Play, play
from postgres import CannotRun, Postgres
from scene import key, public, secret
from wire import Connection, basic, bearer

ROUNDS = 100  # how often each way from one node to the other is measured
SOON = 100  # milliseconds within which a revocation must hold elsewhere
SERIES = 3
IDLE = 0.15  # what two nodes, PostgreSQL and this judge leave idle of two cores when nobody else is there
REVOCATIONS = {"revocation by the client", "revocation by an administrator", "end of all grants of a client", "deletion"}
STARTS = 3


class TwoNodes(Play):
    def __init__(self, judge, directory, postgres):
        super().__init__(judge)
        self.directory, self.postgres = directory, postgres
        self.database = Psql(postgres, "writ_nodes")
        self.declared, self.private = document()

    def make(self, directory, name, issuer, url, declared=None):
        settings = SETTINGS | {"WRIT_STORAGE__URL": url, "WRIT_KEYS__SEALING_KEY": str(directory / "sealing.key")}
        node = Node(directory / name, declared, settings, issuer, name)
        self.nodes.append(node)
        return node

    # --- starting

    async def start_together(self, number):
        """Both at the same moment on an empty database: one schema, one set of keys, one administrator."""
        directory, url = self.directory / f"start-{number}", self.postgres.create("writ_nodes")
        first = self.make(directory, "a", None, url)
        pair = [first, self.make(directory, "b", first.issuer, url)]
        for node in pair:
            node.spawn()
        times = [node.wait() for node in pair]
        judge, what = self.judge, f"start {number} of two nodes at the same moment"
        # Each algorithm has one key that signs and, published a moment after the start, one that comes next.
        deadline = time.monotonic() + 10
        while True:
            shown = [{k["kid"] for k in http("GET", f"{n.address}/jwks.json").json()["keys"]} for n in pair]
            stored = self.database.rows("SELECT algorithm, state, kid FROM signing_key")
            settled = shown[0] == shown[1] == {kid for _, _, kid in stored} and len(stored) == 6
            if settled or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        judge.check(f"{what}: both have the same keys, one active and one next for each algorithm",
                    settled and len({row[:2] for row in stored}) == 6,
                    f"{len(shown[0])} and {len(shown[1])} keys, {len(stored)} stored; "
                    f"ready after {times[0]:.2f} and {times[1]:.2f} s")
        administrators = self.database.rows("SELECT client_id FROM client")
        files = [node.name for node in pair if (node.data / "admin.json").exists()]
        judge.check(f"{what}: one administrator, whose credentials one of them wrote",
                    len(administrators) == 1 and len(files) == 1, f"{administrators}, written by {files}")
        migrations = self.database.rows("SELECT version, count(*) FROM seaql_migrations GROUP BY version")
        judge.check(f"{what}: each step of the schema once",
                    migrations and all(count == "1" for _, count in migrations), f"{len(migrations)} steps")
        return pair

    async def begin(self):
        for number in range(1, STARTS + 1):
            pair = await self.start_together(number)
            if number < STARTS:
                for node in pair:
                    self.judge.equal(f"node {node.name} stops on SIGTERM", node.stop(), 0)
                self.nodes.clear()
        self.a, self.b = pair
        holder = next(node for node in pair if (node.data / "admin.json").exists())
        for node in pair:
            node.credentials_file = holder.data / "admin.json"
        self.ledger = Ledger()
        self.loads = [Load(node, self.private, self.ledger, 16, prefix=f"{node.name}-") for node in pair]
        self.load = self.loads[0]
        for load in self.loads:
            load.authenticate()
        answer = http("POST", f"{self.a.address}/admin/apply",
                      self.load.admin | {"Content-Type": "application/json"}, body=json.dumps(self.declared).encode())
        self.judge.equal("what is declared at one is accepted", answer.status, 200)
        await self.effect("what is declared at one is at the other", self.declared_at_b)

    async def declared_at_b(self, at_b):
        answer = await at_b.request("GET", "/admin/clients/weather-server", headers=self.load.admin)
        return answer.status == 200

    async def same_name(self):
        """A second process of a node's name must not write half of its audit chain."""
        directory = self.a.directory.parent
        twin = Node(directory / "twin", None, dict(self.a.settings), self.a.issuer, "a")
        self.nodes.append(twin)
        try:
            twin.spawn()
            await asyncio.to_thread(twin.wait, 40)
            self.judge.check("a second node of the same name does not start", False, "it is ready")
            twin.kill()
        except DidNotStart as said:
            self.judge.check("a second node of the same name does not start, and says why",
                             twin.process.poll() not in (None, 0) and "storage.node" in str(said),
                             str(said).replace("\n", " ")[:300])
        self.nodes.remove(twin)

    # --- from one to the other

    async def effect(self, what, holds, limit=10):
        """Waits until something holds at the other node; the seconds until an answer said so."""
        begun, connection = time.monotonic(), Connection(self.b.port)
        try:
            while True:
                if await holds(connection):
                    return time.monotonic() - begun
                if time.monotonic() - begun > limit:
                    raise CannotRun(f"{what}: not within {limit} s")
        finally:
            connection.close()

    def introspects(self, token, wanted):
        headers = basic("weather-server", self.private["secrets"]["weather-server"])

        async def holds(at_b):
            answer = await at_b.request("POST", "/introspect", headers=headers, form={"token": token})
            return answer.status == 200 and answer.json()["active"] is wanted
        return holds

    def authenticates(self, client, wanted):
        form = {"grant_type": "client_credentials", "resource": RESOURCE}

        async def holds(at_b):
            answer = await at_b.request("POST", "/token", headers=basic(client["client_id"], client["client_secret"]),
                                        form=form)
            return answer.status == wanted
        return holds

    async def one_way(self):
        """The ways of one registered client's life: seconds until each step at one held at the other."""
        at_a = Connection(self.a.port)
        body = {"client_name": "Passing by", "grant_types": ["client_credentials"],
                "token_endpoint_auth_method": "client_secret_basic"}
        form = {"grant_type": "client_credentials", "resource": RESOURCE}
        times = {}

        async def step(what, asked, accept, holds):
            answer = await asked
            if answer.status != accept:
                raise CannotRun(f"{what}: {answer.status} {answer.body[:200]!r}")
            times[what] = await self.effect(what, holds(answer))

        def revoke(token):
            return at_a.request("POST", "/admin/revocations", headers=self.load.admin, body={"token": token})
        client, tokens = {}, []

        def registered(answer):
            client.update(answer.json())
            return self.authenticates(client, 200)

        def issued(answer):
            tokens.append(answer.json()["access_token"])
            return self.introspects(tokens[-1], True)
        await step("registration", at_a.request("POST", "/register", body=body), 201, registered)
        headers = basic(client["client_id"], client["client_secret"])
        for _ in range(3):
            await step("token", at_a.request("POST", "/token", headers=headers, form=form), 200, issued)
        await step("revocation by the client", at_a.request("POST", "/revoke", headers=headers,
                                                            form={"token": tokens[0]}), 200,
                   lambda _: self.introspects(tokens[0], False))
        await step("revocation by an administrator", revoke(tokens[1]), 200,
                   lambda _: self.introspects(tokens[1], False))
        ending = at_a.request("POST", "/admin/revocations", headers=self.load.admin,
                              body={"client": client["client_id"]})
        await step("end of all grants of a client", ending, 200, lambda _: self.introspects(tokens[2], False))
        await step("deletion", at_a.request("DELETE", f"/register/{client['client_id']}",
                                            headers=bearer(client["registration_access_token"])), 204,
                   lambda _: self.authenticates(client, 401))
        at_a.close()
        return times

    async def measure(self):
        """How soon it holds. Every series counts. What other work does to a busy machine is not Writ's, so there the
        slowest of a hundred are shown and not judged; how busy it is decides that, not what was measured."""
        judge, everything, idle, total = self.judge, {}, 0, 0
        for series in range(1, SERIES + 1):
            times, before = {}, processor()
            for _ in range(ROUNDS):
                for what, seconds in (await self.one_way()).items():
                    times.setdefault(what, []).append(seconds * 1000)
            rested, passed = (b - a for a, b in zip(before, processor()))
            idle, total = idle + rested, total + passed
            self.show(f"series {series}", times, rested / passed)
            middle = {what: statistics.median(times[what]) for what in REVOCATIONS}
            judge.check(f"what is revoked at one node is inactive at the other within {SOON} ms, in the median of "
                        f"series {series}", max(middle.values()) < SOON, milliseconds(middle))
            for what, found in times.items():
                everything.setdefault(what, []).extend(found)
        self.show("all series", everything, idle / total)
        late = {what: p99(everything[what]) for what in REVOCATIONS}
        if idle < total * IDLE:
            judge.note(f"NOT JUDGED, the machine was idle less than {100 * IDLE:.0f} % of the time: the 99th percentile "
                       f"of all series, {milliseconds(late)}")
        else:
            judge.check("and at the 99th percentile of all series", max(late.values()) < SOON, milliseconds(late))

    def show(self, series, times, idle):
        self.judge.note(f"milliseconds from the answer at one node to the answer of the other that shows it, {series}; "
                        f"the machine was idle {100 * idle:.0f} % of the time")
        self.judge.note(f"  {'what':<36}{'p50':>8}{'p99':>8}{'max':>8}{'within ' + str(SOON) + ' ms':>16}")
        for what, found in times.items():
            soon = sum(one < SOON for one in found)
            self.judge.note(f"  {what:<36}{statistics.median(found):>8.1f}{p99(found):>8.1f}{max(found):>8.1f}"
                            f"{soon:>10} of {len(found)}")

    async def crossing(self):
        """What one issued or used up, at the other one."""
        judge, at_a, at_b = self.judge, Connection(self.a.port), Connection(self.b.port)
        load, rng = self.load, random.Random(7)
        _, headers = load.agent(rng)
        form = form_again = {"grant_type": "client_credentials", "resource": RESOURCE}
        token = (await at_a.request("POST", "/token", headers=headers, form=form)).json()["access_token"]
        exchange = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token,
                    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token", "resource": RESOURCE}
        answer = await at_b.request("POST", "/token", form=exchange,
                                    headers=basic("sub-agent", self.private["secrets"]["sub-agent"]))
        judge.check("a token of one node is exchanged at the other", answer.status == 200
                    and claims(answer.json()["access_token"])["act"]["sub"] == "sub-agent", answer.body[:120])
        refused = accepted = 0
        for _ in range(20):
            form = load.assertion_form(load.sign_assertion(rng))
            first = await at_a.request("POST", "/token", form=form)
            again = await at_b.request("POST", "/token", form=form)
            other = await at_b.request("POST", "/token", form=load.assertion_form(load.sign_assertion(rng)))
            refused += first.status == 200 and again.status == 401 and again.json()["error"] == "invalid_client"
            accepted += other.status == 200
        judge.equal("an assertion used at one node is refused at the other, 20 times", refused, 20)
        judge.equal("and a new one accepted there", accepted, 20)
        refused = accepted = 0
        for _ in range(20):
            used, fresh = await self.proofs(at_a, headers, form_again)
            again = await at_b.request("POST", "/token", headers=headers | {"DPoP": used}, form=form_again)
            other = await at_b.request("POST", "/token", headers=headers | {"DPoP": fresh}, form=form_again)
            refused += again.status == 400 and again.json()["error"] == "invalid_dpop_proof"
            accepted += other.status == 200 and other.json()["token_type"] == "DPoP"
        judge.equal("a DPoP proof used at one node is refused at the other, 20 times", refused, 20)
        judge.equal("and a new one by the same key, with the first node's nonce if there is one, accepted there",
                    accepted, 20)
        before = {k["kid"] for k in (await at_b.request("GET", "/jwks.json")).json()["keys"]}
        answer = await at_a.request("POST", "/admin/keys/rotate", headers=load.admin,
                                    body={"algorithm": "EdDSA", "now": True})
        active = [k["kid"] for k in answer.json() if k["algorithm"] == "EdDSA" and k["state"] == "active"]

        async def signs(connection):
            answer = await connection.request("POST", "/token", headers=headers, form=form_again)
            return [claims(answer.json()["access_token"], 0)["kid"]] == active
        took = await self.effect("a rotated key signs at the other node", signs)
        judge.check("a key rotated at one node signs at the other, and was published there before",
                    active[0] in before, f"after {took * 1000:.1f} ms")
        at_a.close()
        at_b.close()

    def proof(self, own, nonce):
        """A DPoP proof (RFC 9449 §4.2) by this key."""
        body = {"jti": secret(), "htm": "POST", "htu": f"{self.a.issuer}/token", "iat": int(time.time())} | nonce
        jwk = {name: value for name, value in public(own).items() if name in ("kty", "crv", "x")}
        return jwt.encode(body, jwt.PyJWK(own, "EdDSA").key, "EdDSA", headers={"typ": "dpop+jwt", "jwk": jwk})

    async def proofs(self, at_a, headers, form):
        """A proof that the first node has just accepted, and another like it that nobody has seen."""
        own, nonce = key("EdDSA"), {}
        for _ in range(2):
            proof = self.proof(own, nonce)
            answer = await at_a.request("POST", "/token", headers=headers | {"DPoP": proof}, form=form)
            if answer.status == 200 and answer.json()["token_type"] == "DPoP":
                return proof, self.proof(own, nonce)
            if "dpop-nonce" not in answer.headers:
                break
            nonce = {"nonce": answer.headers["dpop-nonce"]}
        raise CannotRun(f"no token for a DPoP proof: {answer.status} {answer.body[:300]!r}")

    async def deaf(self):
        """The doorbell's connections are cut: the nodes catch up by themselves."""
        cut = self.postgres.query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                                  "WHERE datname = 'writ_nodes' AND query ILIKE 'LISTEN%'")
        self.judge.check("there were listening connections to cut", int(cut) >= 1, cut)
        times = await self.one_way()
        slowest = max(times.values())
        self.judge.check("what happens then is heard all the same", slowest < 5, f"at most {slowest * 1000:.0f} ms")
        await asyncio.sleep(2)
        times = await self.one_way()
        slowest = max(times[what] for what in REVOCATIONS)
        self.judge.check("and then without waiting for the next look", slowest < 0.9, f"at most {slowest * 1000:.1f} ms")

    # --- under load

    async def under_load(self, what, action):
        """Load on both; something happens to the second one."""
        self.before = counters(self.ledger)
        for load in self.loads:
            load.begin(f"{what} {load.node.name}", rotate=load is self.load)
        if not await self.until(lambda: self.ledger.enough(self.before["answered"]), LOAD_LIMIT, "enough load"):
            raise CannotRun(f"{what}: there is not the load that this is about: {self.ledger.wrong[:3]}")
        under_way = self.loads[1].in_flight
        await asyncio.to_thread(action)
        self.loads[1].stopping = True
        took = await self.answers(300)
        self.judge.check(f"{what}: the other node goes on", took is not None,
                         took and f"{under_way} requests under way at this one; 300 more answers in {took:.2f} s")
        for load in self.loads:
            await load.end()
        self.judge.note(f"{what}: this one is ready again after {self.b.start(applied=True):.2f} s")
        for load in self.loads:
            comparison = Comparison(self.judge, load, self.database, self.before, ["a", "b"])
            await comparison.run(f"{what}, seen at node {load.node.name}")

    async def run(self):
        await self.begin()
        await self.same_name()
        await self.crossing()
        await self.measure()
        await self.deaf()
        issued = self.database.rows("SELECT event FROM audit_event WHERE kind IN ('token.issued', 'token.exchanged')")
        self.ledger.outside = {json.loads(event)["jti"] for (event,) in issued}
        await self.under_load("kill of one node", self.b.kill)
        await self.under_load("stop of one node", lambda: self.judge.equal("it stops on SIGTERM", self.b.stop(), 0))


def milliseconds(found):
    return ", ".join(f"{what} {one:.1f} ms" for what, one in sorted(found.items()))


def p99(found):
    return statistics.quantiles(found, n=100)[-1]


def processor():
    """Ticks all cores were idle, and all there were."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def main():
    judge = Judge("two-nodes")
    directory = ROOT / "target/conformance/scenes/two-nodes"
    shutil.rmtree(directory, ignore_errors=True)
    with Postgres() as postgres:
        play(judge, lambda: TwoNodes(judge, directory, postgres))
    judge.finish()


if __name__ == "__main__":
    main()
