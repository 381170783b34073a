"""What the `streams` judge plays on: nodes, receivers, an administrator, and a reader of every SET that is seen."""

import json
from concurrent.futures import ThreadPoolExecutor

from judging import claims, http
from node import Node
from scene import secret
from sets import CAEP, RISC, Reader, Wrong, about, event, looks_like_jws
from ssf import Receiver
from target import Target
from wire import basic

WEATHER, CALENDAR = "http://127.0.0.1:9/weather", "http://127.0.0.1:9/calendar"
ALL = [CAEP + name for name in (
    "session-revoked", "token-claims-change", "credential-change", "assurance-level-change",
    "device-compliance-change", "risk-level-change")] + [RISC + name for name in (
        "account-disabled", "account-enabled", "account-purged", "credential-compromise",
        "account-credential-change-required")]
ENDED = CAEP + "session-revoked"
OPEN = {"WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS": "true"}  # receivers are on loopback


def declarations():
    """Two MCP servers and a receiver that is none; agents of both servers."""
    names = ("weather-server", "calendar-server", "plain", "agent", "other-agent")
    secrets = {name: secret() for name in names}
    common = {"profile": "strict", "token_endpoint_auth_method": "client_secret_basic",
              "grant_types": ["client_credentials"]}
    resources = [
        {"id": name, "resource": uri, "name": name, "tools": [{"name": "look", "description": "Look"}],
         "default_scopes": ["tool:look"]} for name, uri in (("weather", WEATHER), ("calendar", CALENDAR))]
    more = {
        "weather-server": {"serves": "weather"}, "calendar-server": {"serves": "calendar"},
        "plain": {"access": [{"resource": "writ-events", "scopes": ["ssf.manage"]}]},
        "agent": {"access": [{"resource": name, "scopes": ["*"]} for name in ("weather", "calendar")]},
        "other-agent": {"access": [{"resource": "weather", "scopes": ["*"]}]},
    }
    clients = [{"client_id": name, "name": name, "client_secret": secrets[name]} | common | more[name]
               for name in names]
    tenant = {"name": "acme", "resources": [resources[0] | {"resource": "http://127.0.0.1:9/acme"}], "clients": []}
    return {"resources": resources, "clients": clients, "tenants": [tenant]}, secrets


class Stage:
    """One node and those who talk to it."""

    def __init__(self, judge, directory, settings=None, issuer=None):
        self.judge, self.targets, self.threads = judge, [], ThreadPoolExecutor(4)
        self.declared, self.secrets = declarations()
        self.node = Node(directory, self.declared, settings or {}, issuer)
        self.seen, self.spoilt = [], []  # every SET with its audience, and what is wrong with some

    def start(self):
        self.node.start()
        self.reader = Reader(self.node.issuer, f"{self.address('/jwks.json')}")
        self.weather, self.calendar, self.plain = map(self.receiver, ("weather-server", "calendar-server", "plain"))
        return self

    def address(self, path):
        """Where a path below the issuer is asked for."""
        base = self.node.issuer.split("/", 3)
        return f"{self.node.address}{'/' + base[3] if len(base) > 3 else ''}{path}"

    def receiver(self, name):
        return Receiver(self.node.issuer, name, self.secrets[name], self.node.address)

    def aside(self, work):
        """Does something meanwhile: a future."""
        return self.threads.submit(work)

    def target(self, *replies):
        self.targets.append(Target(*replies))
        return self.targets[-1]

    def stop(self):
        for target in self.targets:
            target.close()
        self.judge.equal(f"node {self.node.name} stops on SIGTERM", self.node.stop(), 0)
        self.judge.check(f"node {self.node.name} never panicked", "panicked at" not in self.node.log())

    # --- who makes things happen

    def admin(self, method, path, body=None, scope=None):
        """A request to the admin API with all of its scopes."""
        known = http("GET", self.address("/.well-known/oauth-protected-resource/admin")).json()
        who = self.node.credentials()
        form = {"grant_type": "client_credentials", "resource": who["resource"],
                "scope": scope or " ".join(known["scopes_supported"])}
        answer = http("POST", self.address("/token"), basic(who["client_id"], who["client_secret"]), form)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "Content-Type": "application/json"}
        return http(method, self.address(f"/admin{path}"), headers,
                    body=None if body is None else json.dumps(body).encode())

    def token(self, agent="agent", resource=WEATHER):
        form = {"grant_type": "client_credentials", "resource": resource}
        answer = http("POST", self.address("/token"), basic(agent, self.secrets[agent]), form)
        if answer.status != 200:
            raise RuntimeError(f"no token: {answer.status} {answer.body[:300]!r}")
        return answer.json()["access_token"]

    def revoke(self, token, client="agent"):
        """RFC 7009"""
        answer = http("POST", self.address("/revoke"), basic(client, self.secrets[client]), {"token": token})
        if answer.status != 200:
            raise RuntimeError(f"no revocation: {answer.status} {answer.body[:300]!r}")

    def happen(self, resource=WEATHER, agent="agent"):
        """A token of a resource is revoked; its jti."""
        token = self.token(agent, resource)
        self.revoke(token, agent)
        return claims(token)["jti"]

    # --- what comes of it

    def read(self, compact, audience=WEATHER):
        """The claims of a SET, which every check has to verify."""
        try:
            if not looks_like_jws(compact):
                raise Wrong(f"not a compact JWS: {compact[:60]!r}")
            header, said = self.reader.read(compact, audience)
        except Wrong as wrong:
            self.spoilt.append(str(wrong))
            return claims(compact)
        self.seen.append({"set": compact, "aud": audience, "jti": said["jti"], "alg": header["alg"]})
        return said

    def read_all(self, sets, audience=WEATHER):
        """The claims of a poll's SETs, whose names have to be theirs; in the order of the answer."""
        found = []
        for name, compact in sets.items():
            said = self.read(compact, audience)
            if said["jti"] != name:
                self.spoilt.append(f"{name} holds {said['jti']}")
            found.append(said)
        return found

    def ended(self, all_claims):
        """What the revocations among them are about, in order."""
        return [about(said)[1] for said in all_claims if event(said)[0] == ENDED]
