"""Load that issues tokens and revokes them, and keeps the truth: what was answered has to be told.

Each worker has an agent of its own and does one thing after the other, so it knows what each answer stands for.
A revocation that was sent and not answered may have happened or not.
"""

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass

import load
from judging import claims
from load import Load
from scene import secret
from wire import basic

WEATHER, CALENDAR = load.RESOURCE, "http://127.0.0.1:9/calendar"
SERVERS = {WEATHER: "weather-server", CALENDAR: "calendar-server"}
WORKERS = 12

# How often a worker revokes in each way.
MIX = {"token": 5, "token (admin)": 3, "grant": 2, "client": 1, "token elsewhere": 2}


@dataclass
class Revocation:
    """What a SET about it says it is about, which resource's servers have to hear it (None: all), and when it was
    asked for and answered. An agent can end many times: then it says the how manieth it was."""

    about: tuple
    resource: str | None
    kind: str
    sent: float
    answered: float | None = None

    def concerns(self, resource):
        return self.resource in (None, resource)


def document():
    """The load's own declarations, with a second resource and an agent for each worker."""
    declared, private = load.document()
    agents = {f"worker-{number}": secret() for number in range(2 * WORKERS)}
    calendar = declared["resources"][0] | {"id": "calendar", "resource": CALENDAR, "name": "Calendar"}
    declared["resources"].append(calendar)
    common = {"profile": "strict", "token_endpoint_auth_method": "client_secret_basic",
              "grant_types": ["client_credentials"]}
    access = [{"resource": name, "scopes": ["tool:forecast"]} for name in ("weather", "calendar")]
    declared["clients"] += [{"client_id": name, "name": name, "client_secret": value, "access": access} | common
                            for name, value in agents.items()]
    servers = {"calendar-server": secret()}
    declared["clients"].append({"client_id": "calendar-server", "name": "Calendar server", "serves": "calendar",
                                "client_secret": servers["calendar-server"]} | common)
    weather = next(client for client in declared["clients"] if client["client_id"] == SERVERS[WEATHER])
    weather["grant_types"] = ["client_credentials"]
    private["secrets"] |= agents | servers
    return declared, private


class Revoking(Load):
    """`truth` may be shared with the load of another node; `first` is the number of the first worker."""

    def __init__(self, node, private, truth, first=0, workers=WORKERS, pause=0.0):
        super().__init__(node, private, workers=workers, prefix=node.name)
        self.truth, self.first, self.pause, self.mix = truth, first, pause, MIX
        self.ends = defaultdict(list)  # of each agent, in order
        self.operations = {kind: self.revocation(kind) for kind in MIX}

    def revocation(self, kind):
        async def revoke(number, _rng, connection):
            name = f"worker-{self.first + number}"
            if kind == "client" and any(one.answered is None for one in self.ends[name]):
                return  # it may have ended or not, so nobody could count any more
            headers = basic(name, self.private["secrets"][name])
            resource = CALENDAR if kind == "token elsewhere" else WEATHER
            form = {"grant_type": "client_credentials", "resource": resource}
            answer = await self.ask("token", connection, "POST", "/token", headers=headers, form=form)
            if answer:
                token = json.loads(answer.body)["access_token"]
                revocation, asked = self.plan(kind, name, resource, token)
                self.truth.append(revocation)
                if await self.ask(f"revoke {kind}", connection, "POST", **asked):
                    revocation.answered = time.monotonic()
            await asyncio.sleep(self.pause)
        return revoke

    def plan(self, kind, name, resource, token):
        """What is to be asked for, and what it will be known by."""
        said = claims(token)
        headers, path, more = self.admin, "/admin/revocations", {"body": {"token": token}}
        about = ("jti", said["jti"])
        if kind in ("token", "token elsewhere"):
            headers, path = basic(name, self.private["secrets"][name]), "/revoke"
            more = {"form": {"token": token}}
        elif kind == "grant":
            about, more = ("grant", said["grant_id"]), {"body": {"grant": said["grant_id"]}}
        elif kind == "client":
            about, more = ("client", name, len(self.ends[name])), {"body": {"client": name}}
        revocation = Revocation(about, None if kind == "client" else resource, kind, time.monotonic())
        if kind == "client":
            self.ends[name].append(revocation)
        return revocation, {"path": path, "headers": headers} | more


def answered(truth):
    return sum(one.answered is not None for one in truth)

