"""Load that keeps a ledger: what was asked for, what was answered, and so what has to be there afterwards.

Each worker has a connection, clients and declarations of its own, so that it always knows what must hold.
An operation is answered (its answer was read to the end), refused for now (503), or unanswered: then it may
have happened or not. Any other answer is wrong.
"""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import jwt
from judging import claims, http
from scene import EXCHANGE, key, public, secret
from wire import Connection, Lost, Unsent, basic, bearer

RESOURCE = "http://127.0.0.1:9/mcp"
AGENTS = 4
WORKERS = 32
# All of the load comes from one address, and its clients stay.
SETTINGS = {"WRIT_REGISTRATION__MAX_CLIENTS": "1000000", "WRIT_LIMITS__REGISTRATION_RATE": "0"}
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# What a worker does, and how often for each other.
MIX = {
    "token": 10, "exchange": 4, "assertion": 2, "register": 3, "registered token": 3, "replace": 1, "delete": 1,
    "declare": 1, "revoke": 3, "revoke (admin)": 1, "end grants": 1,
}
# A round has load enough when so many of each kind were answered.
ENOUGH = {
    "token": 150, "exchange": 40, "assertion": 20, "register": 30, "registered token": 20, "replace": 8, "delete": 8,
    "declare": 8, "revoke": 20, "revoke (admin)": 8, "end grants": 4, "rotate": 1,
}


@dataclass
class Token:
    kind: str
    jti: str
    text: str
    client: str
    revocable: bool
    revoked: str = ""  # "", "tried" or "answered"


@dataclass
class Registered:
    """A client that registered itself (RFC 7591). `names` are those it may have by now."""

    client_id: str
    secret: str
    registration_token: str
    names: list
    state: str = "live"  # "live", "tried" (to delete) or "gone"


@dataclass
class Ledger:
    sent: Counter = field(default_factory=Counter)
    answered: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    unanswered: Counter = field(default_factory=Counter)
    wrong: list = field(default_factory=list)
    malformed: list = field(default_factory=list)  # 503 without what belongs to it
    tokens: list = field(default_factory=list)
    clients: dict = field(default_factory=dict)
    declared: dict = field(default_factory=dict)  # group: versions it may have by now; None: it is not there
    outside: set = field(default_factory=set)  # tokens that were issued before the load began
    ended: set = field(default_factory=set)  # clients whose grants were ended at some time
    spent: list = field(default_factory=list)  # assertions that were accepted
    tried: list = field(default_factory=list)  # assertions without an answer
    kids: set = field(default_factory=set)  # keys that a rotation said there are
    delays: dict = field(default_factory=dict)  # kind: seconds from asking to answer

    def enough(self, before):
        """Whether enough of each kind was answered since `before`."""
        return all(self.answered[kind] - before[kind] >= count for kind, count in ENOUGH.items())

    def lacking(self, before):
        return {k: f"{self.answered[k] - before[k]} of {n}" for k, n in ENOUGH.items()
                if self.answered[k] - before[k] < n}


def document():
    """What the load needs declared, and the secrets and keys of it."""
    agents = {f"agent-{number}": secret() for number in range(AGENTS)}
    others = {name: secret() for name in ("sub-agent", "weather-server")}
    private = key("EdDSA")
    access = [{"resource": "weather", "scopes": ["tool:forecast"]}]
    common = {"profile": "strict", "token_endpoint_auth_method": "client_secret_basic"}
    clients = [
        {"client_id": name, "name": name, "client_secret": value, "grant_types": ["client_credentials"],
         "access": access, "delegates": ["sub-agent"]} | common for name, value in agents.items()
    ]
    clients += [
        {"client_id": "sub-agent", "name": "Sub-agent", "client_secret": others["sub-agent"],
         "grant_types": ["client_credentials", EXCHANGE], "access": access} | common,
        {"client_id": "weather-server", "name": "Weather server", "client_secret": others["weather-server"],
         "grant_types": [EXCHANGE], "serves": "weather"} | common,
        {"client_id": "agent-key", "name": "Agent with a key", "profile": "strict", "access": access,
         "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public(private)]},
         "grant_types": ["client_credentials"]},
    ]
    weather = {
        "id": "weather", "resource": RESOURCE, "name": "Weather", "signing_algorithm": "EdDSA",
        "tools": [{"name": "forecast", "description": "Forecast"}], "default_scopes": ["tool:forecast"],
        "open_scopes": ["tool:forecast"], "access_token_lifetime": 3600,
    }
    return {"resources": [weather], "clients": clients}, {"secrets": agents | others, "key": private}


class Load:
    """The workers against one node, and the ledger, which may be shared with the load of another node."""

    def __init__(self, node, private, ledger=None, workers=WORKERS, seed=1, prefix=""):
        self.node, self.private, self.ledger = node, private, ledger or Ledger()
        self.workers, self.seed, self.prefix = workers, seed, prefix
        self.in_flight, self.stopping, self.tasks, self.admin = 0, False, [], None
        self.own = {number: [] for number in range(workers)}  # registered clients of each worker
        self.versions, self.mix = Counter(), MIX
        self.operations = {
            "token": self.token, "exchange": self.exchange, "assertion": self.assertion, "register": self.register,
            "registered token": self.registered_token, "replace": self.replace, "delete": self.delete,
            "declare": self.declare, "revoke": self.revoke, "revoke (admin)": self.revoke_as_admin,
            "end grants": self.end_grants,
        }

    # --- one request

    async def ask(self, kind, connection, method, path, accept=200, **request):
        """The answer when it is the one that was asked for; None when it was refused for now."""
        ledger = self.ledger
        ledger.sent[kind] += 1
        self.in_flight += 1
        begun = time.monotonic()
        try:
            answer = await connection.request(method, path, **request)
        except Lost:
            ledger.unanswered[kind] += 1
            raise
        except Unsent:
            ledger.sent[kind] -= 1
            raise
        finally:
            self.in_flight -= 1
        if answer.status == accept:
            ledger.answered[kind] += 1
            ledger.delays.setdefault(kind, []).append(time.monotonic() - begun)
            return answer
        if answer.status == 503:
            ledger.refused[kind] += 1
            self.check_refusal(kind, answer)
            await asyncio.sleep(0.02)
            return None
        if answer.status == 408 or answer.status >= 500:
            ledger.unanswered[kind] += 1  # it may have happened all the same
        ledger.wrong.append(f"{kind}: {answer.status} {answer.body[:300]!r}")
        return None

    def check_refusal(self, kind, answer):
        """503 says when to come back, and why, in JSON."""
        try:
            said = answer.json()
        except json.JSONDecodeError:
            said = {}
        if not answer.headers.get("retry-after", "").isdigit() or "error" not in said \
                or not said.get("error_description"):
            self.ledger.malformed.append(f"{kind}: {answer.headers} {answer.body[:200]!r}")

    def issued(self, kind, answer, client, revocable):
        text = json.loads(answer.body)["access_token"]
        self.ledger.tokens.append(Token(kind, claims(text)["jti"], text, client, revocable))

    def agent(self, rng):
        name = f"agent-{rng.randrange(AGENTS)}"
        return name, basic(name, self.private["secrets"][name])

    # --- operations; each is called with the worker's number, randomness and connection

    async def token(self, _number, rng, connection):
        name, headers = self.agent(rng)
        form = {"grant_type": "client_credentials", "resource": RESOURCE}
        answer = await self.ask("token", connection, "POST", "/token", headers=headers, form=form)
        if answer:
            # What is exchanged is never revoked, so that an exchange has no reason to fail.
            self.issued("token", answer, name, revocable=rng.random() < 0.5)

    async def exchange(self, _number, rng, connection):
        recent = [t for t in self.ledger.tokens[-200:] if t.kind == "token" and not t.revocable]
        if not recent:
            return
        form = {"grant_type": EXCHANGE, "resource": RESOURCE, "subject_token": rng.choice(recent).text,
                "subject_token_type": ACCESS_TOKEN}
        headers = basic("sub-agent", self.private["secrets"]["sub-agent"])
        answer = await self.ask("exchange", connection, "POST", "/token", headers=headers, form=form)
        if answer:
            self.issued("exchange", answer, "sub-agent", revocable=True)

    def sign_assertion(self, rng):
        now = int(time.time())
        body = {"iss": "agent-key", "sub": "agent-key", "aud": self.node.issuer, "iat": now, "exp": now + 900,
                "jti": f"{rng.getrandbits(128):032x}"}
        private = jwt.PyJWK(self.private["key"], "EdDSA").key
        return jwt.encode(body, private, "EdDSA", headers={"kid": self.private["key"]["kid"]})

    def assertion_form(self, assertion):
        return {"grant_type": "client_credentials", "resource": RESOURCE, "client_id": "agent-key",
                "client_assertion_type": ASSERTION, "client_assertion": assertion}

    async def assertion(self, _number, rng, connection):
        assertion = self.sign_assertion(rng)
        try:
            answer = await self.ask("assertion", connection, "POST", "/token", form=self.assertion_form(assertion))
        except Lost:
            self.ledger.tried.append(assertion)
            raise
        if answer:
            self.ledger.spent.append(assertion)
            self.issued("assertion", answer, "agent-key", revocable=False)

    async def register(self, number, rng, connection):
        name = f"{self.prefix}{number}-{rng.getrandbits(64):016x} v0"
        body = {"client_name": name, "grant_types": ["client_credentials"],
                "token_endpoint_auth_method": "client_secret_basic"}
        answer = await self.ask("register", connection, "POST", "/register", 201, body=body)
        if answer:
            said = answer.json()
            client = Registered(said["client_id"], said["client_secret"], said["registration_access_token"], [name])
            self.ledger.clients[client.client_id] = client
            self.own[number].append(client)

    def one_of(self, number, rng):
        own = [client for client in self.own[number] if client.state == "live"]
        return rng.choice(own) if own else None

    async def registered_token(self, number, rng, connection):
        if client := self.one_of(number, rng):
            form = {"grant_type": "client_credentials", "resource": RESOURCE}
            headers = basic(client.client_id, client.secret)
            answer = await self.ask("registered token", connection, "POST", "/token", headers=headers, form=form)
            if answer:
                self.issued("registered token", answer, client.client_id, revocable=True)

    async def replace(self, number, rng, connection):
        if client := self.one_of(number, rng):
            stem, version = client.names[-1].rsplit(" v", 1)
            name = f"{stem} v{int(version) + 1}"
            body = {"client_id": client.client_id, "client_name": name, "grant_types": ["client_credentials"],
                    "token_endpoint_auth_method": "client_secret_basic"}
            client.names.append(name)
            answer = await self.ask("replace", connection, "PUT", f"/register/{client.client_id}",
                                    headers=bearer(client.registration_token), body=body)
            if answer:
                client.names = [name]

    async def delete(self, number, rng, connection):
        if client := self.one_of(number, rng):
            client.state = "tried"
            if await self.ask("delete", connection, "DELETE", f"/register/{client.client_id}", 204,
                              headers=bearer(client.registration_token)):
                client.state = "gone"

    async def declare(self, number, _rng, connection):
        """Two resources and a client in one document: all of it holds or nothing."""
        group = f"{self.prefix}group-{number}"
        self.versions[group] += 1
        version = f"version {self.versions[group]}"
        resources = [
            {"id": f"{group}-{part}", "resource": f"http://127.0.0.1:9/{group}/{part}", "name": version,
             "tools": [{"name": "forecast", "description": "Forecast"}]} for part in ("a", "b")
        ]
        client = {"client_id": group, "name": version, "token_endpoint_auth_method": "client_secret_basic",
                  "client_secret": f"{group}-0123456789abcdefghijklmnopqrstuvwxyz012345",
                  "grant_types": ["client_credentials"], "access": [{"resource": f"{group}-a", "scopes": ["*"]}]}
        possible = self.ledger.declared.setdefault(group, [None])
        possible.append(version)
        answer = await self.ask("declare", connection, "POST", "/admin/apply", headers=self.admin,
                                body={"resources": resources, "clients": [client]})
        if answer:
            self.ledger.declared[group] = [version]

    def revocable(self, rng):
        """A token of a client that nobody removes meanwhile."""
        found = [t for t in self.ledger.tokens[-300:]
                 if t.revocable and not t.revoked and t.client not in self.ledger.clients]
        return rng.choice(found) if found else None

    async def revoke(self, _number, rng, connection):
        """By the client itself (RFC 7009)."""
        if token := self.revocable(rng):
            token.revoked = "tried"
            headers = basic(token.client, self.private["secrets"][token.client])
            if await self.ask("revoke", connection, "POST", "/revoke", headers=headers, form={"token": token.text}):
                token.revoked = "answered"

    async def revoke_as_admin(self, _number, rng, connection):
        if token := self.revocable(rng):
            token.revoked = "tried"
            if await self.ask("revoke (admin)", connection, "POST", "/admin/revocations", headers=self.admin,
                              body={"token": rng.choice((token.jti, token.text))}):
                token.revoked = "answered"

    async def end_grants(self, number, rng, connection):
        """Everything a client has is ended; what it asks for afterwards holds again."""
        if client := self.one_of(number, rng):
            self.ledger.ended.add(client.client_id)
            held = [t for t in self.ledger.tokens if t.client == client.client_id and not t.revoked]
            for token in held:
                token.revoked = "tried"
            if await self.ask("end grants", connection, "POST", "/admin/revocations", headers=self.admin,
                              body={"client": client.client_id, "reason": "a judge"}):
                for token in held:
                    token.revoked = "answered"

    async def rotate(self, connection):
        answer = await self.ask("rotate", connection, "POST", "/admin/keys/rotate", headers=self.admin,
                                body={"algorithm": "EdDSA", "now": True})
        if answer:
            self.ledger.kids |= {row["kid"] for row in answer.json()}

    # --- workers

    def authenticate(self):
        """A new token for the admin API, with every scope it names."""
        known = http("GET", f"{self.node.address}/.well-known/oauth-protected-resource/admin").json()
        who = self.node.credentials()
        form = {"grant_type": "client_credentials", "resource": who["resource"],
                "scope": " ".join(known["scopes_supported"])}
        answer = http("POST", f"{self.node.address}/token", basic(who["client_id"], who["client_secret"]), form)
        if answer.status != 200:
            raise RuntimeError(f"no administrator's token: {answer.status} {answer.body!r}")
        self.admin = bearer(answer.json()["access_token"])
        self.issued("administrator's token", answer, who["client_id"], revocable=False)
        for counts in (self.ledger.sent, self.ledger.answered):
            counts["administrator's token"] += 1

    async def work(self, number):
        rng = random.Random(f"{self.seed} {number}")
        kinds, weights = list(self.mix), list(self.mix.values())
        connection = Connection(self.node.port)
        try:
            while not self.stopping:
                try:
                    await self.operations[rng.choices(kinds, weights)[0]](number, rng, connection)
                    await asyncio.sleep(0)
                except Lost:
                    continue
                except Unsent:
                    await asyncio.sleep(0.05)
        finally:
            connection.close()

    async def rotating(self):
        connection = Connection(self.node.port)
        try:
            while not self.stopping:
                try:
                    before = self.ledger.answered["rotate"]
                    await self.rotate(connection)
                    if self.ledger.answered["rotate"] > before:
                        return
                except (Lost, Unsent):
                    await asyncio.sleep(0.1)
        finally:
            connection.close()

    def begin(self, seed, rotate=True):
        self.seed, self.stopping = seed, False
        self.authenticate()
        self.tasks = [asyncio.create_task(self.work(number)) for number in range(self.workers)]
        if rotate:
            self.tasks.append(asyncio.create_task(self.rotating()))

    async def end(self, limit=60):
        """Let every worker finish what it is at."""
        self.stopping = True
        done, late = await asyncio.wait(self.tasks, timeout=limit)
        for task in late:
            task.cancel()
        if late:
            self.ledger.wrong.append(f"{len(late)} workers were still waiting for an answer after {limit} s")
        for task in done:
            if task.exception():
                raise task.exception()
