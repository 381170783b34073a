"""What has to be there against what is there, after a crash or while the node still runs.

Everything is asked through the API, as clients and administrators do it, and the audit trail and the rows once
more from the database itself.
"""

import asyncio
import json
from collections import Counter

from judging import claims
from load import RESOURCE
from wire import Connection, basic

CHECKERS = 16


class Comparison:
    """One comparison: rows of the table that the log shows, and checks."""

    def __init__(self, judge, load, database, before, nodes=None):
        self.judge, self.load, self.ledger, self.database = judge, load, load.ledger, database
        self.nodes = nodes or [load.node.name]
        self.before = before  # the ledger's counters when the round began
        self.found, self.lost, self.extra = Counter(), Counter(), Counter()
        self.lost_ones = []

    async def each(self, items, check):
        """Runs `check(connection, item)` for every item over a few connections."""
        queue = iter(items)

        async def run():
            connection = Connection(self.load.node.port)
            try:
                for item in queue:
                    await check(connection, item)
            finally:
                connection.close()
        await asyncio.gather(*(run() for _ in range(CHECKERS)))

    def count(self, kind, there, what):
        if there:
            self.found[kind] += 1
        else:
            self.lost[kind] += 1
            self.lost_ones.append(f"{kind}: {what}")

    async def admin(self, connection, path):
        answer = await connection.request("GET", f"/admin{path}", headers=self.load.admin)
        if answer.status != 200:
            raise RuntimeError(f"/admin{path}: {answer.status} {answer.body[:300]!r}")
        return answer.json()

    # --- the audit trail

    async def trail(self, connection):
        """All events of all nodes through the API."""
        events = []
        for node in self.nodes:
            after = 0
            which = f"&node={node}" if len(self.nodes) > 1 else ""
            while True:
                page = await self.admin(connection, f"/audit?after={after}&limit=1000{which}")
                if not page:
                    break
                events += [event | {"node": node} for event in page]
                after = page[-1]["seq"]
        return events

    def tokens_in_trail(self, events):
        issued = [e["event"] for e in events if e["kind"] in ("token.issued", "token.exchanged")]
        recorded = Counter(event["jti"] for event in issued)
        for token in self.ledger.tokens:
            self.count(token.kind, recorded[token.jti] == 1, f"{token.jti} is {recorded[token.jti]} times in the trail")
        # What the command line and the judge asked for besides is no part of the load.
        ours = {token.jti for token in self.ledger.tokens} | self.ledger.outside
        others = [e for e in issued if e["jti"] not in ours and e["client_id"] != self.load.node.credentials()["client_id"]]
        self.extra["tokens"] = len(others)
        kinds = {token.kind for token in self.ledger.tokens}
        allowed = sum(self.ledger.unanswered[k] + self.ledger.refused[k] for k in kinds)
        self.judge.check("no token is in the trail that nobody asked for", self.extra["tokens"] <= allowed,
                         f"{self.extra['tokens']} without an answer, of {allowed} requests without one")
        return issued

    # --- what clients see

    async def introspect(self, connection, token):
        headers = basic("weather-server", self.load.private["secrets"]["weather-server"])
        answer = await connection.request("POST", "/introspect", headers=headers, form={"token": token.text})
        return answer.status == 200 and answer.json().get("active"), answer

    async def check_token(self, connection, token):
        if token.kind == "administrator's token":
            return  # it is for the admin API, not for the resource that asks
        active, answer = await self.introspect(connection, token)
        client = self.ledger.clients.get(token.client)
        gone = client is not None and client.state != "live"
        if token.revoked == "answered":
            self.count("revocation", active is False, f"{token.jti} {answer.status} {answer.body[:200]!r}")
        elif token.revoked == "tried":
            self.extra["revocations"] += active is False
        elif gone:
            if client.state == "gone":
                self.count("token of a deleted client", active is False, f"{token.jti} {answer.body[:200]!r}")
        else:
            self.count("active token", active is True, f"{token.jti} {answer.status} {answer.body[:200]!r}")

    async def check_client(self, connection, client):
        headers = {"Authorization": f"Bearer {client.registration_token}"}
        shown = await connection.request("GET", f"/register/{client.client_id}", headers=headers)
        form = {"grant_type": "client_credentials", "resource": RESOURCE}
        asked = await connection.request("POST", "/token", headers=basic(client.client_id, client.secret), form=form)
        there = shown.status == 200 and asked.status == 200
        gone = shown.status == 401 and asked.status == 401
        seen = f"{client.client_id}: {shown.status} and {asked.status}"
        if asked.status == 200:
            self.ledger.sent["registered token"] += 1
            self.ledger.answered["registered token"] += 1
            self.load.issued("registered token", asked, client.client_id, revocable=True)
        if client.state == "live":
            self.count("register", there, seen)
            name = shown.json().get("client_name") if there else None
            self.count("replace", name in client.names, f"{client.client_id} is called {name}, not {client.names}")
            if name in client.names:
                client.names = [name]
        elif client.state == "gone":
            self.count("delete", gone, seen)
        else:
            # Without an answer it is either there or gone, but not in between.
            self.count("delete without answer, one or the other", there or gone, seen)
            self.extra["deletions"] += gone
            client.state = "gone" if gone else "live"

    async def check_group(self, connection, group):
        possible, names = self.ledger.declared[group], []
        for path in (f"/resources/{group}-a", f"/resources/{group}-b", f"/clients/{group}"):
            answer = await connection.request("GET", f"/admin{path}", headers=self.load.admin)
            names.append(answer.json()["name"] if answer.status == 200 else None)
        self.count("declare", len(set(names)) == 1 and names[0] in possible, f"{group}: {names}, not {possible}")
        self.extra["declarations"] += len(possible) > 1 and names[0] == possible[-1]
        if names[0] in possible:
            self.ledger.declared[group] = [names[0]]

    async def check_assertion(self, connection, assertion):
        answer = await connection.request("POST", "/token", form=self.load.assertion_form(assertion))
        self.count("assertion stays used", answer.status == 401, f"{answer.status} {answer.body[:200]!r}")

    async def check_keys(self, connection):
        shown = (await connection.request("GET", "/jwks.json")).json()
        published = {jwk["kid"] for jwk in shown["keys"]}
        for kid in self.ledger.kids:
            self.count("rotate", kid in published, f"{kid} is not published")
        signed = {claims(token.text, 0)["kid"] for token in self.ledger.tokens}
        self.judge.check("every key that signed a token is still published", signed <= published,
                         f"{len(signed)} keys signed")

    # --- the rows themselves

    def check_rows(self, events, issued):
        """State, audit and outbox of a change are one transaction, and the rows fit together."""
        judge, rows = self.judge, self.database.rows
        direct = {
            (node, int(seq)): (kind, hash.lower(), json.loads(event)) for node, seq, kind, hash, event in rows(
                f"SELECT node, seq, kind, {self.database.hex('hash')}, event FROM audit_event WHERE tenant = 'default'")
        }
        shown = {(e["node"], e["seq"]): (e["kind"], e["hash"], e["event"]) for e in events}
        # Time's own work may have written more since.
        last = {node: max((seq for name, seq in shown if name == node), default=0) for node in self.nodes}
        same = shown and shown == {(n, seq): row for (n, seq), row in direct.items() if seq <= last.get(n, 0)}
        judge.check(f"the trail read with {self.database.kind} itself is the one the API shows", same,
                    f"{len(direct)} rows, {len(events)} events")

        registered = {row[0] for row in rows("SELECT client_id FROM client WHERE origin = 'registered'")}
        heard = {row[0] for row in rows("SELECT subject FROM outbox WHERE kind = 'client'")}
        made, removed = set(), set()
        for event in (e["event"] for e in events if e["kind"] == "client.registered"):
            (removed if event["reason"] == "remove" else made).add(event["object"])
        judge.check("every registered client has its audit event, and every event its client",
                    registered == made - removed,
                    f"{len(registered)} clients, {len(made)} registered, {len(removed)} removed")
        judge.check("every registered client has its outbox row", registered <= heard, registered - heard or "")
        ours = {c.client_id for c in self.ledger.clients.values() if c.state == "live"}
        self.extra["clients"] = len(registered - ours)
        allowed = self.ledger.unanswered["register"] + self.ledger.refused["register"]
        judge.check("no client is there that nobody registered", self.extra["clients"] <= allowed,
                    f"{self.extra['clients']} without an answer, of {allowed} requests without one")

        orphans = rows('SELECT g.id, g.client_id FROM "grant" g LEFT JOIN client c '
                       "ON c.tenant = g.tenant AND c.client_id = g.client_id WHERE c.client_id IS NULL")
        judge.check("every grant has its client", not orphans, orphans[:3] or "")
        orphans = rows('SELECT g.id FROM "grant" g LEFT JOIN "grant" p ON p.tenant = g.tenant AND p.id = g.parent '
                       "WHERE g.parent IS NOT NULL AND p.id IS NULL")
        judge.check("every derived grant has the one it came from", not orphans, orphans[:3] or "")
        clients = {row[0] for row in rows("SELECT client_id FROM client")}
        grants = {row[0] for row in rows('SELECT id FROM "grant"')}
        standing = clients - self.ledger.ended
        lacking = [e["jti"] for e in issued if e["client_id"] in standing and e["grant_id"] not in grants]
        judge.check("every token's grant is there unless it was ended, or its client", not lacking, lacking[:3] or "")
        twice = rows("SELECT node, seq FROM audit_event GROUP BY tenant, node, seq HAVING count(*) > 1")
        judge.check("no position of the trail is taken twice", not twice, twice[:3] or "")
        problem = self.database.sound()
        judge.check(f"{self.database.kind} finds its own files sound", not problem, problem[:300])

    async def check_memory(self, connection):
        """The node answers from memory: it must hold what the database holds."""
        for what, column, table in (("clients", "client_id", "client"), ("resources", "id", "resource")):
            shown = {row[column] for row in await self.admin(connection, f"/{what}")}
            stored = {r[0] for r in self.database.rows(f"SELECT {column} FROM {table} WHERE tenant = 'default'")}
            # The resource that the admin API is, is built in.
            differ = (shown ^ stored) - {"writ-admin"}
            self.judge.check(f"the node's {what} are those of the database", not differ,
                             f"{len(stored)} rows" if not differ else f"differ: {sorted(differ)[:5]}")

    def check_chain(self):
        done = self.load.node.cli("audit", "verify", "--json")
        said = done.stdout.strip() or done.stderr.strip()
        self.judge.check("writ audit verify: the chain is intact", done.returncode == 0, " ".join(said.split())[:300])

    # --- all of it

    async def run(self, what):
        ledger, judge = self.ledger, self.judge
        self.load.authenticate()
        connection = Connection(self.load.node.port)
        await self.each(ledger.clients.values(), self.check_client)
        await self.each(ledger.declared, self.check_group)
        await self.each(ledger.spent[-200:], self.check_assertion)
        await self.each(ledger.tokens, self.check_token)
        await self.check_keys(connection)
        events = await self.trail(connection)
        issued = self.tokens_in_trail(events)
        self.check_rows(events, issued)
        await self.check_memory(connection)
        connection.close()
        self.check_chain()
        self.show(what)
        lost = sum(self.lost.values())
        for example in self.lost_ones[:10]:
            judge.note(f"LOST {example}")
        judge.check(f"{what}: lost = 0", lost == 0 and sum(self.found.values()) > 0,
                    f"{sum(self.found.values())} found, {lost} lost")
        judge.check("every answer was the one asked for, or 503", not ledger.wrong, ledger.wrong[:5] or "")
        judge.check("every 503 had Retry-After and an error in JSON", not ledger.malformed,
                    ledger.malformed[:3] or f"{sum(ledger.refused.values())} of them")

    def show(self, what):
        now, before = self.ledger, self.before
        note = self.judge.note
        note(f"{what}: operations of this round")
        note(f"  {'kind':<18}{'sent':>8}{'answered':>10}{'503':>8}{'unanswered':>12}")
        for kind in sorted(now.sent):
            cells = [getattr(now, name)[kind] - before[name][kind]
                     for name in ("sent", "answered", "refused", "unanswered")]
            note(f"  {kind:<18}{cells[0]:>8}{cells[1]:>10}{cells[2]:>8}{cells[3]:>12}")
        note(f"{what}: what was answered in all rounds so far")
        note(f"  {'what':<38}{'found':>8}{'lost':>6}")
        for kind in sorted(self.found | self.lost):
            note(f"  {kind:<38}{self.found[kind]:>8}{self.lost[kind]:>6}")
        there = ", ".join(f"{count} {kind}" for kind, count in sorted(self.extra.items()))
        note(f"  there although unanswered: {there}")


def counters(ledger):
    """The ledger's counts as they are now, to tell a round's from those before."""
    return {name: Counter(getattr(ledger, name)) for name in ("sent", "answered", "refused", "unanswered")}
