"""Load that issues tokens and revokes them, and keeps the truth: what was answered has to be told.

Each worker has an agent of its own and does one thing after the other, so it knows what each answer stands for.
A revocation that was sent and not answered may have happened or not.
"""

import asyncio
import json
import time
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
    """What a SET about it says it is about, who has to hear it, and when it was asked for and answered."""

    about: tuple
    resource: str
    kind: str
    sent: float
    answered: float | None = None


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
        self.operations = {kind: self.revocation(kind) for kind in MIX}

    def revocation(self, kind):
        async def revoke(number, _rng, connection):
            name = f"worker-{self.first + number}"
            headers = basic(name, self.private["secrets"][name])
            resource = CALENDAR if kind == "token elsewhere" else WEATHER
            form = {"grant_type": "client_credentials", "resource": resource}
            answer = await self.ask("token", connection, "POST", "/token", headers=headers, form=form)
            if answer:
                await self.revoke_one(kind, connection, name, headers, resource, json.loads(answer.body)["access_token"])
            await asyncio.sleep(self.pause)
        return revoke

    async def revoke_one(self, kind, connection, name, headers, resource, token):
        said = claims(token)
        if kind in ("grant", "client"):
            # All that a client has is this one grant at this resource; each has a SET of its own.
            about, body = ("grant", said["grant_id"]), {kind: said["grant_id"] if kind == "grant" else name}
        else:
            about, body = ("jti", said["jti"]), {"token": token}
        by_client = kind in ("token", "token elsewhere")
        path, asked = ("/revoke", {"form": {"token": token}}) if by_client else ("/admin/revocations", {"body": body})
        revocation = Revocation(about, resource, kind, time.monotonic())
        self.truth.append(revocation)
        if await self.ask(f"revoke {kind}", connection, "POST", path, headers=headers if by_client else self.admin,
                          **asked):
            revocation.answered = time.monotonic()


def answered(truth):
    return sum(one.answered is not None for one in truth)

