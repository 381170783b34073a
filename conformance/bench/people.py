"""What people's clients cost: authorization requests, codes (RFC 6749 §4.1.3) and refresh tokens (§6).

The people have signed in and allowed the client before, so that each authorization request is answered with a code.
"""

import base64
import hashlib
import secrets
import sys
import urllib.parse

from generator import Requests, phase, wrk
from kernel import CannotRun
from rows import add, measure
from scene import PEOPLE, REDIRECT_URI, SCOPE, answers, basic, declaration_with_people, resource_for
from servers import HERE, Database, Peer, Writ

sys.path.insert(0, str(HERE.parent / "judges/people"))

from user_agent import UserAgent  # noqa: E402

VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ONCE = 2  # seconds in which every code is a new one: they hold for a minute, and are made before
AT_MOST = 5_000  # a second, until it is known better
KEPT = 512  # refresh tokens that are used in turn
CHAINED = 256  # refresh tokens that are each used once, and give the next
CODE = "[?&]code=([^&]+)"


class People:
    """One server with the people signed in, and one of their clients."""

    def __init__(self, bench, server, client):
        self.server, self.client, self.core = server, client, bench.options.load_core
        self.metadata, self.file = server.metadata(), bench.work / f"{server.name}-{client}"
        self.file.with_suffix(".authorize").write_text("".join(self._signed_in(bench, name) for name in PEOPLE))
        self.headers = {}
        if client == bench.scene["confidential_client"]:
            self.headers = {"Authorization": basic(client, bench.scene["client_secret"])}
        self.asked = {} if self.headers else {"client_id": client}

    def _url(self, **more):
        return self.metadata["authorization_endpoint"] + "?" + urllib.parse.urlencode({
            "response_type": "code", "client_id": self.client, "redirect_uri": REDIRECT_URI, "scope": SCOPE,
            "resource": resource_for("EdDSA"), "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        } | more)

    def _signed_in(self, bench, name):
        """The cookies of a person who has been let in once, as wrk reads them."""
        agent = UserAgent(self.server.issuer, {"username": name, "password": bench.scene["password"]})
        where = agent.visit(self._url(login_hint=name))
        if "code" not in urllib.parse.parse_qs(urllib.parse.urlsplit(where).query):
            raise CannotRun(f"{self.server.name} did not send {name} back with a code: {where}")
        cookies = "; ".join(f"{c.name}={c.value}" for c in agent.cookies if c.path == "/")
        return f"Cookie: {cookies}\t\n"

    def authorize(self, **more):
        return Requests(self._url(), "code=", method="GET", file=self.file.with_suffix(".authorize"), **more)

    def _token(self, **more):
        return Requests(self.metadata["token_endpoint"], headers=self.headers, **more)

    def _body(self, **parameters):
        return urllib.parse.urlencode(self.asked | {"resource": resource_for("EdDSA")} | parameters)

    def _many(self, count, requests):
        """So many lines of what `requests` keeps."""
        requests.keep.unlink(missing_ok=True)
        for _ in range(30):
            wrk(requests, 64, 1, self.core)
            lines = requests.keep.read_text().splitlines()
            if len(lines) >= count:
                return lines[:count]
        raise CannotRun(f"{self.server.name} gave {len(lines)} of {count} in 30 seconds: {requests.url}")

    def redeem(self, count, **more):
        """Requests with so many new codes."""
        codes = self._many(count, self.authorize(find=CODE, keep=self.file.with_suffix(".codes")))
        file = self.file.with_suffix(".redeem")
        file.write_text("".join(self._body(grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI,
                                           code_verifier=VERIFIER) + "\n" for code in codes))
        return self._token(file=file, once=True, **more)

    def _refresh_tokens(self, count):
        requests = self.redeem(count)
        bodies = requests.file.read_text().splitlines()
        return [answer["refresh_token"] for answer in answers(self.server, requests, bodies)]

    def refresh(self):
        """Requests with refresh tokens that stay the same."""
        file = self.file.with_suffix(".kept")
        file.write_text("".join(self._body(grant_type="refresh_token", refresh_token=token) + "\n"
                                for token in self._refresh_tokens(KEPT)))
        return self._token(file=file)

    def rotate(self):
        """Requests with refresh tokens that are each used once."""
        chain = self.file.with_suffix(".chain")
        chain.write_text("".join(token + "\n" for token in self._refresh_tokens(CHAINED)))
        return self._token(body=self._body(grant_type="refresh_token") + "&refresh_token={}", chain=chain,
                           find='"refresh_token":"([^"]+)"')


def servers(bench):
    """Servers of their own, so that nobody's password is hashed where tokens and memory are measured."""
    options, work = bench.options, bench.work / "people"
    work.mkdir(exist_ok=True)
    declared = declaration_with_people(bench.scene)

    def writ(name, database=None):
        return Writ(options.writ, work, options.server_core, declared, name, database)

    return [
        bench.server("people, writ", lambda: writ("writ")),
        bench.server("people, writ-postgres", lambda: writ(
            "writ-postgres", bench.closing.enter_context(Database(options.server_core)))),
        bench.server("people, peer", lambda: Peer(work, options.server_core, bench.scene)),
    ]


def once(bench, what, candidates):
    """One row for each of `candidates`, a list of (server, what makes requests that can be sent once)."""
    options, phases = bench.options, {}
    seconds = min(ONCE, options.seconds)
    rates = {}
    for server, make in candidates:
        bench.say(f"{what}, first warm-up: {server.name}")
        rates[server.name] = wrk(make(AT_MOST * seconds), 64, seconds, options.load_core)["answered"] / seconds
    for number in range(options.repetitions):
        for server, make in candidates:
            bench.say(f"{what}, {number + 1} of {options.repetitions}: {server.name}")
            # A just-in-time compiler may have become faster meanwhile, and no code is sent twice.
            requests = make(int(rates[server.name] * seconds * 2) + 2000)
            phases.setdefault(server.name, []).append(
                phase(server, requests, 64, options, warmed=True, seconds=seconds))
    add(bench.result["load"], what, "EdDSA", 64, phases)


def code(bench):
    """The code flow of a public client with PKCE: the request that is answered with a code, and redeeming it."""
    people = [People(bench, server, bench.scene["public_client"]) for server in servers(bench)]
    measure(bench, bench.result["load"], "authorization request", [(p.server, p.authorize()) for p in people],
            "EdDSA", 64)
    once(bench, "code", [(p.server, p.redeem) for p in people])


def refresh(bench):
    """Refresh tokens: of a confidential client, which keeps them, and of a public one, whose are rotated."""
    people = [People(bench, server, bench.scene["confidential_client"]) for server in servers(bench)]
    measure(bench, bench.result["load"], "refresh", [(p.server, p.refresh()) for p in people], "EdDSA", 64)
    people = [People(bench, server, bench.scene["public_client"]) for server in servers(bench)]
    once(bench, "refresh, rotated", [(p.server, lambda _count, p=p: p.rotate()) for p in people])
