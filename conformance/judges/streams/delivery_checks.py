"""Checks 33 to 42 of contracts/ssf.md, section 9: push (RFC 8935) and poll (RFC 8936)."""

import time

from sets import event
from ssf import push_to
from stage import CALENDAR, ENDED
from target import NEVER, RESET, error, status


class UnknownKey:
    """Check 35, of a key that the receiver does not know: a minute has to pass, which other checks use."""

    def __init__(self, stage):
        self.stage, self.receiver = stage, stage.calendar
        self.target = stage.target(error("invalid_key"))
        self.stream = self.receiver.stream(push_to(self.target.url), [ENDED])
        stage.happen(CALENDAR)
        self.target.wait(1)

    def check(self, judge):
        came = self.target.wait(2, 80)
        after = came[1].at - came[0].at if len(came) > 1 else 0
        jtis = [self.stage.read(one.body, CALENDAR)["jti"] for one in came]
        judge.check("35: 400 invalid_key: the same SET again after a minute, once", len(came) > 1
                         and jtis[0] == jtis[1] and jtis[0] not in jtis[2:] and 48 <= after <= 80,
                         f"{len(came)}, after {after:.1f} s")
        self.receiver.delete(self.stream["stream_id"])


class GivesUp:
    """Check 24, of what the transmitter does by itself: a receiver takes nothing for longer than it is waited for."""

    def __init__(self, stage, patience):
        self.stage, self.receiver = stage, stage.calendar
        self.target = stage.target(*[status(500)] * 100)
        self.stream = self.receiver.stream(push_to(self.target.url), [ENDED])
        self.jtis = [stage.happen(CALENDAR), stage.happen(CALENDAR)]
        self.target.wait(2)
        self.until = time.monotonic() + patience + 2

    def check(self, judge):
        receiver, name = self.receiver, self.stream["stream_id"]
        time.sleep(max(0.0, self.until - time.monotonic()))
        judge.equal("24: until then it is enabled", receiver.status(name).json()["status"], "enabled")
        # A sign of life ends the wait before the next attempt, which is the last one.
        receiver.verify(name)
        deadline = time.monotonic() + 15
        while receiver.status(name).json()["status"] == "enabled" and time.monotonic() < deadline:
            time.sleep(0.2)
        said = receiver.status(name).json()
        judge.check("24: a stream whose receiver takes nothing is paused, with a reason",
                    said["status"] == "paused" and said.get("reason"), said)
        self.target.replies.clear()
        before = len(self.target.came)
        time.sleep(2)
        judge.equal("24: and then nothing is pushed", len(self.target.came), before)
        receiver.set_status(name, "enabled")
        self.target.wait(before + 4)
        time.sleep(0.5)
        said = [self.stage.read(one.body, CALENDAR) for one in self.target.came[before:]]
        updates = [event(one)[1]["status"] for one in said if event(one)[0].endswith("/stream-updated")]
        judge.equal("24: of which one SET tells", updates, ["paused"])
        ended = self.stage.ended(said)
        judge.equal("24: and what waited comes, in order", ended[: len(self.jtis)], self.jtis)
        receiver.delete(name)


def push(judge, stage):
    receiver, target = stage.weather, stage.target()
    header = "Bearer exactly/this+one=="
    pushed = receiver.stream(push_to(target.url + "?a=b", header), [ENDED])
    bare = stage.target()
    without = receiver.stream(push_to(bare.url), [ENDED])
    jti = stage.happen()
    came = target.wait(1)
    one = came[0]
    judge.equal("33: POST to the URL as it was given", [one.method, one.path], ["POST", "/events?a=b"])
    judge.equal("33: Content-Type and Accept", [one.headers["Content-Type"], one.headers["Accept"]],
                ["application/secevent+jwt", "application/json"])
    judge.equal("33: Authorization as it was given", one.headers["Authorization"], header)
    judge.equal("33: the body is the SET alone", stage.ended([stage.read(one.body)]), [jti])
    naked = bare.wait(1)[0].headers
    judge.check("33: none was given: no Authorization", "Authorization" not in naked, dict(naked))
    for headers in (one.headers, naked):
        judge.check("33: no cookie, and nothing else that is secret",
                    not {"cookie", "proxy-authorization"} & {name.lower() for name in headers}
                    and not any(secret in value for value in headers.values() for secret in stage.secrets.values()))
    time.sleep(1.5)
    judge.equal("34: 202 ends it", [len(target.came), len(bare.came)], [1, 1])
    for stream in (pushed, without):
        receiver.delete(stream["stream_id"])
    retries(judge, stage)
    alone(judge, stage)


def retries(judge, stage):
    receiver, elsewhere = stage.weather, stage.target()
    for what, reply, apart in (
        ("500", status(500), 0), ("503", status(503), 0), ("no answer", NEVER, 4.5), ("a reset", RESET, 0),
        ("429 with Retry-After: 2", status(429, Retry_After="2"), 2), ("401", status(401), 0),
        ("400 authentication_failed", error("authentication_failed"), 0), ("400 access_denied",
                                                                           error("access_denied"), 0),
        ("400 without words", status(400), 0),
        ("302", status(302, Location=elsewhere.url), 0),
    ):
        target = stage.target(reply, reply)
        stream = receiver.stream(push_to(target.url), [ENDED])
        jtis = [stage.happen(), stage.happen()]
        came = target.wait(4, 20)
        number = 35 if "302" in what else 34
        said = [stage.read(one.body) for one in came]
        judge.check(f"{number}: {what}, twice: the same jti until it is taken, then the next", len(came) == 4
                    and len({one["jti"] for one in said[:3]}) == 1 and stage.ended(said[2:]) == jtis, len(came))
        gaps = [b.at - a.at for a, b in zip(came, came[1:3])]
        if apart:
            judge.check(f"34: {what}: and not earlier", min(gaps) >= apart, [f"{gap:.1f} s" for gap in gaps])
        elif len(gaps) == 2:
            judge.check(f"34: {what}: at once, then after about a second", gaps[0] < 0.7 <= gaps[1] < 2,
                        [f"{gap:.2f} s" for gap in gaps])
        receiver.delete(stream["stream_id"])
    judge.equal("35: a redirect is not followed", elsewhere.came, [])
    for err in ("invalid_audience", "invalid_issuer", "invalid_request"):
        target = stage.target(error(err))
        stream = receiver.stream(push_to(target.url), [ENDED])
        jtis = [stage.happen(), stage.happen()]
        time.sleep(2)
        came = target.wait(2)
        judge.equal(f"35: 400 {err}: not again; the next one is sent", stage.ended(
            [stage.read(one.body) for one in came]), jtis)
        receiver.delete(stream["stream_id"])


def alone(judge, stage):
    receiver = stage.weather
    dead, quick = stage.target(*[NEVER] * 8), stage.target()
    streams = [receiver.stream(push_to(target.url), [ENDED]) for target in (dead, quick)]
    stage.happen()
    dead.wait(1)
    times = []
    for number in range(5):
        stage.happen()
        done = time.monotonic()
        came = quick.wait(number + 2)
        times.append(came[-1].at - done)
    judge.check("37: while one receiver does not answer, another hears within a second", len(quick.came) == 6
                and max(times) < 1, f"at most {1000 * max(times):.0f} ms")
    judge.equal("37: (and that one had one request all the while)", len(dead.came), 1)
    for stream in streams:
        receiver.delete(stream["stream_id"])


def crash(judge, stage):
    receiver, target = stage.weather, stage.target(NEVER)
    stream = receiver.stream(push_to(target.url), [ENDED])
    jti = stage.happen()
    target.wait(1)
    stage.node.kill()
    stage.node.start(applied=True)
    came = target.wait(2)
    said = [stage.read(one.body) for one in came]
    judge.check("36: killed while a SET was under way: it is sent again after the start, under its name",
                stage.ended(said) == [jti, jti] and len({one["jti"] for one in said}) == 1, len(came))
    again = stage.happen()
    came = target.wait(3)
    judge.equal("36: and then the next one", stage.ended([stage.read(one.body) for one in came])[2:], [again])
    time.sleep(0.5)
    stage.node.kill()
    stage.node.start(applied=True)
    time.sleep(1)
    judge.equal("36: what was taken half a second before a kill does not come again", len(target.came), 3)
    receiver.delete(stream["stream_id"])


# --- 38 to 42: poll

def poll(judge, stage):
    receiver, other = stage.weather, stage.calendar
    stream = receiver.stream(events=[ENDED])
    for name, members in (("38: maxEvents 0", {"maxEvents": 0}),
                          ("38: returnImmediately", {"returnImmediately": True})):
        begun = time.monotonic()
        judge.equal(f"{name}, nothing there: an empty object at once", receiver.poll(stream, **members).json(),
                    {"sets": {}})
        judge.check(f"{name}: within a second", time.monotonic() - begun < 1)
    jtis = [stage.happen() for _ in range(3)]
    first = receiver.poll(stream, maxEvents=1).json()
    judge.check("38: maxEvents 1 of 3: one, and there is more", len(first["sets"]) == 1
                and first.get("moreAvailable") is True, {**first, "sets": len(first["sets"])})
    judge.equal("38: maxEvents 0: none", receiver.poll(stream, maxEvents=0).json()["sets"], {})
    rest = receiver.poll(stream, returnImmediately=True, maxEvents=2).json()["sets"]
    judge.check("40: those that were not handed out yet come first", not set(rest) & set(first["sets"]))
    read = {name: stage.read_all({name: compact})[0] for name, compact in (first["sets"] | rest).items()}
    judge.equal("38: all three, in order", stage.ended([*map(read.get, first["sets"]), *map(read.get, rest)]), jtis)
    again = receiver.waiting(stream)
    judge.equal("40: not acknowledged: offered again", set(again), set(first["sets"]) | set(rest))
    stage.read_all(again)
    a, b, c = sorted(again)
    fresh = stage.happen()
    answer = receiver.poll(stream, ack=[b, "unknown", "1.2", ""], returnImmediately=True)
    left = answer.json()["sets"]
    judge.check("40: acknowledged and new in one request; unknown names are ignored", answer.status == 200
                and set(left) >= {a, c} and b not in left and stage.ended(
                    stage.read_all({n: s for n, s in left.items() if n not in (a, c)})) == [fresh], sorted(left))
    judge.check("40: acknowledged: never again", b not in receiver.waiting(stream))
    answer = receiver.poll(stream, headers={"Content_Language": "en"}, returnImmediately=True,
                           setErrs={a: {"err": "invalid_key", "description": "a judge says so"}})
    judge.check("41: setErrs: 200, and not again", answer.status == 200 and a not in answer.json()["sets"]
                and a not in receiver.waiting(stream), answer.status)
    judge.equal("41: no other members in the answer", set(answer.json()) - {"sets", "moreAvailable"}, set())
    receiver.empty(stream)
    long_polls(judge, stage, stream)
    nobody = receiver.call("POST", receiver.there(stream["delivery"]["endpoint_url"]), {}, token=None)
    judge.check("42: no token: 401 and a challenge without an error", nobody.status == 401
                and "error=" not in nobody.headers["WWW-Authenticate"], nobody.status)
    bad = receiver.poll(stream, token="Bearer invalid:x")
    judge.check("42: bad token: 401 invalid_token", bad.status == 401
                and 'error="invalid_token"' in bad.headers["WWW-Authenticate"], bad.status)
    judge.equal("42: another receiver: 404", other.poll(stream, returnImmediately=True).status, 404)
    receiver.delete(stream["stream_id"])


def long_polls(judge, stage, stream):
    receiver = stage.weather
    for what, raw in (("{}", b"{}"), ("an empty body", b"")):
        url = receiver.there(stream["delivery"]["endpoint_url"])
        waiting = stage.aside(lambda: (receiver.call("POST", url, raw=raw, timeout=40), time.monotonic()))
        time.sleep(0.5)
        judge.check(f"38: {what}: held", not waiting.done())
        jti, answered = stage.happen(), time.monotonic()
        answer, at = waiting.result(30)
        sets = answer.json()["sets"]
        judge.check("39: and answered within a second of the event", stage.ended(stage.read_all(sets)) == [jti]
                    and at - answered < 1, f"{1000 * (at - answered):.0f} ms")
        receiver.poll(stream, ack=list(sets), maxEvents=0)
    begun = time.monotonic()
    answer = receiver.poll(stream, timeout=60)
    took = time.monotonic() - begun
    judge.check("39: nothing there: held to the limit, then an empty object", answer.json() == {"sets": {}}
                and 2 <= took <= 30, f"{took:.1f} s")
