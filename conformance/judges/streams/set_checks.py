"""Checks 29 to 32 of contracts/ssf.md, section 9: what is in a SET, and who gets to see it."""

import json
import subprocess
from collections import Counter
from pathlib import Path

from judging import claims
from sets import CAEP, RISC, SSF, event
from stage import ALL, CALENDAR, ENDED, WEATHER

SAMPLE = 60  # SETs that jose verifies too


def what_ended(judge, stage):
    """R3 of section 7.2: the subject says what ended, and the members who and why."""
    receiver, stream = stage.weather, stage.weather.stream(events=ALL)
    issuer = stage.node.issuer

    def iss_sub(sub):
        return {"format": "iss_sub", "iss": issuer, "sub": sub}

    def told():
        sets = receiver.waiting(stream)
        receiver.poll(stream, ack=list(sets), maxEvents=0)
        return stage.read_all(sets)

    def admin(**what):
        answer = stage.admin("POST", "/revocations", what)
        if answer.status != 200:
            raise RuntimeError(f"no revocation: {answer.status} {answer.body[:300]!r}")

    jti = stage.happen()
    one, = told()
    session = {"format": "jwt_id", "iss": issuer, "jti": jti}
    judge.equal("30: a token (RFC 7009): session by jwt_id, and the agent", one["sub_id"],
                {"format": "complex", "session": session, "application": iss_sub("agent")})
    judge.equal("30: it says who", event(one)[1]["initiating_entity"], "user")
    token = claims(stage.token())
    admin(grant=token["grant_id"])
    one, = told()
    grant = {"format": "opaque", "id": token["grant_id"]}
    judge.equal("30: a grant: session by its id, and the agent", one["sub_id"],
                {"format": "complex", "session": grant, "application": iss_sub("agent")})
    judge.equal("30: an administrator did it", event(one)[1]["initiating_entity"], "admin")
    stamp = event(one)[1]["event_timestamp"]
    judge.check("30: and when: no token of it is younger", stamp >= token["iat"], f"{stamp} {token['iat']}")
    stage.token()
    admin(client="agent")
    judge.equal("30: an agent: it alone", [said["sub_id"] for said in told()],
                [{"format": "complex", "application": iss_sub("agent")}])
    stage.token()
    admin(subject="agent")
    judge.equal("30: a subject: simple, by iss_sub", [said["sub_id"] for said in told()], [iss_sub("agent")])
    stage.token()
    admin(resource="weather")
    tenant = {"format": "complex", "tenant": {"format": "opaque", "id": "default"}}
    judge.equal("30: a resource: everything of the tenant, for it", [said["sub_id"] for said in told()], [tenant])
    receiver.delete(stream["stream_id"])


def who_sees(judge, stage):
    """R4, R5, R6 of section 7.2: by audience and by what the receiver understands."""
    weather, calendar, plain = stage.weather, stage.calendar, stage.plain
    streams = {receiver: receiver.stream(events=ALL) for receiver in (weather, calendar, plain)}
    audiences = {weather: WEATHER, calendar: CALENDAR, plain: "plain"}
    few = weather.stream(events=[RISC + "account-purged"])
    default = weather.stream()

    def told(receiver):
        return stage.read_all(receiver.waiting(streams[receiver]), audiences[receiver])
    here, there = stage.happen(WEATHER), stage.happen(CALENDAR)
    judge.equal("31: a token is told to the server that it was for", stage.ended(told(weather)), [here])
    judge.equal("31: and of another one to that", stage.ended(told(calendar)), [there])
    judge.equal("31: a plain receiver hears of no token", told(plain), [])
    stage.token()
    stage.admin("POST", "/revocations", {"client": "agent"})
    judge.check("31: the end of an agent reaches all servers", all(
        "agent" in stage.ended(told(receiver)) for receiver in (weather, calendar)))
    judge.equal("31: and no plain receiver", told(plain), [])
    stage.token()
    stage.admin("POST", "/revocations", {"subject": "agent"})
    told_plain = told(plain)
    judge.check("31: the end of a subject reaches plain ones, as a simple subject, which is all they see",
                [said["sub_id"]["format"] for said in told_plain] == ["iss_sub"], told_plain)
    judge.equal("32: who asks for other types hears of none of that", weather.waiting(few), {})
    judge.equal("32: nor does who asks for nothing", weather.waiting(default), {})
    allowed = set(ALL) | {SSF + "verification", SSF + "stream-updated"}
    judge.check("32: no type of anybody else is supported", all(
        set(stream["events_supported"]) <= allowed for stream in streams.values()))
    for receiver, stream in streams.items():
        receiver.delete(stream["stream_id"])
    for one in (few, default):
        weather.delete(one["stream_id"])


EMITTED = {
    CAEP + "session-revoked": {},
    CAEP + "token-claims-change": {"claims": {"scope": "tool:look"}},
    CAEP + "credential-change": {"credential_type": "fido2-roaming", "change_type": "revoke", "friendly_name": "Key"},
    CAEP + "assurance-level-change": {"namespace": "NIST-AAL", "current_level": "nist-aal1",
                                      "previous_level": "nist-aal2", "change_direction": "decrease"},
    CAEP + "device-compliance-change": {"previous_status": "compliant", "current_status": "not-compliant"},
    CAEP + "risk-level-change": {"principal": "USER", "current_level": "HIGH", "previous_level": "LOW",
                                 "risk_reason": "seen elsewhere"},
    RISC + "account-disabled": {"reason": "hijacking"},
    RISC + "account-enabled": {},
    RISC + "account-purged": {},
    RISC + "credential-compromise": {"credential_type": "password"},
    RISC + "account-credential-change-required": {},
}


def emitted(judge, stage):
    """Check 30 for every type: an administrator tells, and both kinds of receivers hear."""
    receivers = {stage.weather: WEATHER, stage.plain: "plain"}
    streams = {receiver: receiver.stream(events=ALL) for receiver in receivers}
    person = {"format": "iss_sub", "iss": stage.node.issuer, "sub": "u-4711"}
    judge.equal("30: all types that are supported are emitted here",
                set(streams[stage.weather]["events_supported"]), set(EMITTED))
    for uri, members in EMITTED.items():
        answer = stage.admin("POST", "/events", {"type": uri, "subject": person, "event": members, "reason": "a judge"})
        judge.check(f"30: {uri.rpartition('/')[2]} is emitted", answer.status == 200, answer.body[:200])
        for receiver, audience in receivers.items():
            sets = receiver.waiting(streams[receiver])
            receiver.poll(streams[receiver], ack=list(sets), maxEvents=0)
            said = stage.read_all(sets, audience)
            judge.check("30: and arrives with its members, its txn, and the person as it was named",
                        len(said) == 1 and event(said[0])[0] == uri and members.items() <= event(said[0])[1].items()
                        and said[0]["sub_id"] == person and said[0]["txn"] == answer.json()["txn"], said)
    device = {"format": "complex", "user": person, "device": {"format": "opaque", "id": "d-1"}}
    stage.admin("POST", "/events", {"type": "session-revoked", "subject": device})
    told = {receiver: stage.read_all(receiver.waiting(streams[receiver]), audience)
            for receiver, audience in receivers.items()}
    judge.equal("31: a complex subject reaches who understands it", [len(one) for one in told.values()], [1, 0])
    for name, body in (
        ("an unknown type", {"type": "no-such-event", "subject": person}),
        ("no subject", {"type": "session-revoked"}),
        ("a member too many", {"type": "session-revoked", "subject": person, "event": {"x": 1}}),
        ("a member too few", {"type": "credential-change", "subject": person}),
        ("a subject with a member too many", {"type": "session-revoked", "subject": person | {"x": "y"}}),
        ("nested complex subjects", {"type": "session-revoked", "subject": {"format": "complex", "user": device}}),
    ):
        answer = stage.admin("POST", "/events", body)
        judge.check(f"30: {name}: 400 with words", answer.status == 400 and answer.json()["error_description"],
                    answer.status)
    for receiver, stream in streams.items():
        receiver.delete(stream["stream_id"])


def by_the_transmitter(judge, stage):
    """Check 24: what an administrator does to a stream is told to its receiver."""
    receiver, stream = stage.weather, stage.weather.stream(events=ALL)
    name = stream["stream_id"]

    def updates():
        sets = receiver.waiting(stream)
        receiver.poll(stream, ack=list(sets), maxEvents=0)
        return [members["status"] for uri, members in map(event, stage.read_all(sets))
                if uri == SSF + "stream-updated"]
    for word, status in (("pause", "paused"), ("enable", "enabled")):
        answer = stage.admin("POST", f"/streams/{name}/{word}", {"reason": "a judge"})
        judge.check(f"24: an administrator can {word} a stream", answer.status == 200
                    and receiver.status(name).json()["status"] == status, f"{answer.status} {answer.body[:200]}")
        judge.equal(f"24: {status}: one SET tells of it", updates(), [status])
    receiver.delete(name)


def all_of_them(judge, stage):
    """Check 29, of every SET that was seen."""
    seen, names = stage.seen, Counter((one["jti"], one["set"].split(".")[1]) for one in stage.seen)
    judge.check(f"29: all {len(seen)} SETs verify with PyJWT, and are what a SET is", seen and not stage.spoilt,
                stage.spoilt[:5])
    judge.check("29: RS256, unless something else was registered", {one["alg"] for one in seen} == {"RS256"})
    jtis = Counter(jti for jti, _ in names)
    bodies = {}
    for one in seen:
        said = claims(one["set"])
        said.pop("iat")  # of the moment in which it was signed
        bodies.setdefault(one["jti"], []).append(said)
    same = [jti for jti, all_said in bodies.items() if any(said != all_said[0] for said in all_said)]
    judge.check(f"29: a jti stands for one thing, {len(jtis)} of them", not same, same[:3])
    sample = seen[:: max(1, len(seen) // SAMPLE)][:SAMPLE]
    lines = "\n".join(json.dumps({name: one[name] for name in ("set", "aud", "jti")}) for one in sample)
    done = subprocess.run(["node", Path(__file__).with_name("verify.mjs"), stage.node.issuer,
                           stage.address("/jwks.json")], input=lines, capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout) if done.returncode == 0 else {}
    judge.check(f"29: {len(sample)} of them verify with jose", said.get("verified") == len(sample),
                done.stderr[-300:] or said.get("algorithms"))
    for what in ("spoilt", "misdirected", "mistyped"):
        judge.check(f"29: and none of them does when it is {what}", said.get(what) == len(sample) > 0)
