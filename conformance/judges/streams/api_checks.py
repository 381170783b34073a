"""Checks 1 to 28 of contracts/ssf.md, section 9: metadata, authorization, streams, status, verification."""

import json
import time
import uuid

import jwt
from judging import http
from sets import CAEP, SSF, event
from ssf import POLL, PUSH, push_to
from stage import ALL, CALENDAR, ENDED, WEATHER

UNKNOWN = "st-there-is-no-such-stream"
OURS = ("stream_id", "iss", "aud", "events_supported", "events_delivered", "min_verification_interval")


def challenge(answer):
    return answer.headers.get("WWW-Authenticate") or ""


def is_json_error(answer):
    try:
        return answer.headers.get_content_type() == "application/json" and "error" in answer.json()
    except json.JSONDecodeError:
        return False


# --- 1 to 4: discovery

def discovery(judge, stage, secure):
    for what, place, issuer in (
        ("issuer", stage, stage.node.issuer), ("tenant's issuer", stage, f"{stage.node.issuer}/t/acme"),
        ("issuer with a path behind a proxy", secure, secure.node.issuer),
    ):
        origin, _, path = issuer.removeprefix("http://").removeprefix("https://").partition("/")
        base, path = place.node.address, f"/{path}" if path else ""
        inserted = http("GET", f"{base}/.well-known/ssf-configuration{path}")
        appended = http("GET", f"{base}{path}/.well-known/ssf-configuration")
        judge.check(f"1: the configuration of the {what} is there, as application/json",
                    inserted.status == 200 and inserted.headers.get_content_type() == "application/json")
        document = inserted.json()
        judge.equal(f"1: {what}, at both path forms", appended.json(), document)
        judge.equal(f"1: {what}, byte for byte", document["issuer"], issuer)
        judge.check("1: no array is empty", all(value != [] for value in document.values()))
        urls = {name: value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
        scheme = "https://" if place is secure else "http://"  # this one is on loopback
        judge.check(f"1: {len(urls)} URLs, all of them below the issuer with {scheme}", len(urls) >= 7 and all(
            url.startswith((f"{issuer}/", f"{scheme}{origin}{path}/")) for url in urls.values()), urls)
        judge.equal("2: spec_version", document["spec_version"], "1_0")
        judge.check("2: authorization_schemes has OAuth",
                    {"spec_urn": "urn:ietf:rfc:6749"} in document["authorization_schemes"])
        judge.equal("2: default_subjects", document["default_subjects"], "ALL")
        judge.check("3: push and poll are offered", {PUSH, POLL} <= set(document["delivery_methods_supported"]))
        for host in ("attacker.example", "127.0.0.1:1"):
            other = http("GET", f"{base}/.well-known/ssf-configuration{path}", {"Host": host})
            judge.check(f"4: it is the same for Host: {host}", other.status == 200 and other.json() == document,
                        other.status)
    keys = http("GET", stage.address("/jwks.json")).json()["keys"]
    strong = [key for key in keys if key["kty"] == "RSA" and key.get("alg") == "RS256" and key.get("use") == "sig"
              and key.get("kid") and jwt.PyJWK(key).key.key_size >= 2048]
    judge.check("3: the JWKS has an RSA key for RS256 of 2048 bits or more", strong)
    judge.check("3: and nothing private", not any({"d", "p", "q", "dp", "dq", "qi", "k"} & set(key) for key in keys))


# --- 5 to 11: authorization

def operations(receiver, stream_id, poll_url):
    """Every operation that names a stream, and creation: name, method, URL, body, whether reading is enough."""
    conf, status = receiver.url("configuration_endpoint"), receiver.url("status_endpoint")
    subject = {"stream_id": stream_id, "subject": {"format": "opaque", "id": "x"}}
    return [
        ("create", "POST", conf, {}, False),
        ("read", "GET", receiver.url("configuration_endpoint", stream_id), None, True),
        ("read all", "GET", conf, None, True),
        ("update", "PATCH", conf, {"stream_id": stream_id, "description": "x"}, False),
        ("replace", "PUT", conf, {"stream_id": stream_id}, False),
        ("delete", "DELETE", receiver.url("configuration_endpoint", stream_id), None, False),
        ("read status", "GET", receiver.url("status_endpoint", stream_id), None, True),
        ("set status", "POST", status, {"stream_id": stream_id, "status": "enabled"}, False),
        ("add subject", "POST", receiver.url("add_subject_endpoint"), subject, False),
        ("remove subject", "POST", receiver.url("remove_subject_endpoint"), subject, False),
        ("verify", "POST", receiver.url("verification_endpoint"), {"stream_id": stream_id}, False),
        ("poll", "POST", receiver.there(poll_url), {"returnImmediately": True}, False),
    ]


def authorization(judge, stage):
    receiver, other = stage.weather, stage.calendar
    stream = receiver.stream(events=ALL)
    poll_url = stream["delivery"]["endpoint_url"]
    own = operations(receiver, stream["stream_id"], poll_url)
    for name, method, url, body, _ in own:
        answer = receiver.call(method, url, body, token=None)
        judge.check(f"5: {name} without a token: 401, and a challenge that names no error",
                    answer.status == 401 and challenge(answer).startswith("Bearer")
                    and "error=" not in challenge(answer), f"{answer.status} {challenge(answer)}")
    unknown = operations(receiver, UNKNOWN, poll_url.replace(stream["stream_id"], UNKNOWN))
    bad = f"Bearer invalid:{uuid.uuid4()}"

    def refused(answer):
        return answer.status == 401 and 'error="invalid_token"' in challenge(answer)
    for what, table in (("this stream", own), ("an unknown stream", unknown)):
        for name, method, url, body, _ in table:
            raw = b";{ broken" if body is not None else None
            answer = receiver.call(method, url, token=bad, raw=raw)
            judge.check(f"6: {name} of {what} with a bad token and a broken body: 401 invalid_token",
                        refused(answer), f"{answer.status} {challenge(answer)}")
    revoked = receiver.token_answer("ssf.manage").json()["access_token"]
    url = receiver.url("configuration_endpoint")
    judge.equal("7: a token works", receiver.call("GET", url, token=f"Bearer {revoked}").status, 200)
    stage.revoke(revoked, receiver.client_id)
    judge.check("7: and not when it was revoked", refused(receiver.call("GET", url, token=f"Bearer {revoked}")))
    foreign = stage.token()
    judge.check("7: nor does one for another resource", refused(receiver.call("GET", url, token=f"Bearer {foreign}")))
    for name, method, url, body, reads in own:
        answer = receiver.call(method, url, body, token="ssf.read")
        if reads:
            judge.equal(f"8: {name} with ssf.read", answer.status, 200)
        else:
            judge.check(f"8: {name} with ssf.read: 403 insufficient_scope", answer.status == 403
                        and 'error="insufficient_scope"' in challenge(answer) and "ssf.manage" in challenge(answer),
                        f"{answer.status} {challenge(answer)}")
    for name, method, url, body, _ in own:
        token = f"access_token={receiver.token()}"
        answer = receiver.call(method, url + ("&" if "?" in url else "?") + token, body, token=None)
        judge.check(f"9: {name} with the token in the query", answer.status in (400, 401), answer.status)
    for what, more in (("", {}), (", with client_id in the body", {"client_id": receiver.client_id})):
        for scope in ("ssf.read", "ssf.manage", "ssf.read ssf.manage"):
            answer = receiver.token_answer(scope, **more)
            said = answer.json()
            # To manage includes to read, and to read nothing else.
            granted = {"ssf.read"} | set(scope.split())
            judge.check(f"10: a token for {scope}{what}", answer.status == 200
                        and set(said["scope"].split()) in (granted, set(scope.split())) and said["expires_in"] <= 3600
                        and said["token_type"] == "Bearer", said if answer.status != 200 else said["scope"])
    for name, method, url, body, _ in own:
        if name not in ("create", "read all"):
            answer = other.call(method, url, body)
            judge.check(f"11: {name} of another receiver's stream: 404",
                        answer.status == 404 and is_json_error(answer), answer.status)
    judge.equal("11: which is in its owner's list only", [one["stream_id"] for one in receiver.call(
        "GET", receiver.url("configuration_endpoint")).json()], [stream["stream_id"]])
    judge.equal("11: and nobody touched it", receiver.read(stream["stream_id"]).json(), stream)
    receiver.delete(stream["stream_id"])


# --- 12 to 20: streams

def streams(judge, stage, secure):
    receiver, target = stage.weather, stage.target()
    judge.equal("17: no stream: an empty array", receiver.call(
        "GET", receiver.url("configuration_endpoint")).json(), [])
    header = "Bearer a-secret-of-the-receiver"
    answer = receiver.create(push_to(target.url, header), ALL, description="The weather")
    pushed = answer.json()
    judge.check("12: a push stream is created: 201, not to be stored", answer.status == 201
                and "no-store" in answer.headers.get("Cache-Control", ""), answer.status)
    judge.check("12: with everything a stream has",
                {"stream_id", "iss", "aud", "events_delivered", "delivery"} <= set(pushed), pushed)
    judge.equal("12: delivery is echoed, without the header", pushed["delivery"],
                {"method": PUSH, "endpoint_url": target.url})
    judge.equal("12: iss and aud", [pushed["iss"], pushed["aud"]], [stage.node.issuer, WEATHER])
    shown = [answer, receiver.read(pushed["stream_id"]), receiver.call("GET", receiver.url("configuration_endpoint"))]
    judge.check("12: the header is in no answer", not any(b"authorization_header" in one.body
                                                          or header.encode() in one.body for one in shown))
    polled = []
    for what, delivery in (("poll", {"method": POLL}), ("no delivery", None)):
        answer = receiver.create(delivery, ALL)
        polled.append(answer.json())
        judge.check(f"13: a stream with {what}: 201, to be polled", answer.status == 201
                    and polled[-1]["delivery"]["method"] == POLL
                    and polled[-1]["delivery"]["endpoint_url"].startswith(stage.node.issuer), answer.status)
    judge.check("16: each has an id and a URL of its own", polled[0]["stream_id"] != polled[1]["stream_id"]
                and polled[0]["delivery"]["endpoint_url"] != polled[1]["delivery"]["endpoint_url"])
    bad_bodies(judge, stage, secure)
    extra = CAEP + "no-such-event"
    stream = receiver.stream(events=[ENDED, extra])
    judge.check("15: an unknown type is requested, and neither supported nor delivered",
                stream["events_requested"] == [ENDED, extra] and stream["events_delivered"] == [ENDED]
                and extra not in stream["events_supported"] and ENDED in stream["events_supported"], stream)
    everything = receiver.call("GET", receiver.url("configuration_endpoint")).json()
    judge.equal("17: all are listed", sorted(one["stream_id"] for one in everything),
                sorted(one["stream_id"] for one in [pushed, *polled, stream]))
    judge.equal("17: one is read as it was created", receiver.read(pushed["stream_id"]).json(), pushed)
    changes(judge, stage, pushed, target)
    removal(judge, stage, stream)
    limit(judge, stage)
    for one in [pushed, *polled]:
        receiver.delete(one["stream_id"])


def bad_bodies(judge, stage, secure):
    receiver, url = stage.weather, stage.weather.url("configuration_endpoint")
    for what, raw in (("broken JSON", b";{ broken"), ("an array", b"[]")):
        answer = receiver.call("POST", url, raw=raw)
        judge.check(f"14: {what}: 400 with words", answer.status == 400 and is_json_error(answer), answer.status)
    for what, body in (
        ("events_requested a string", {"events_requested": ENDED}),
        ("an unknown method", {"delivery": {"method": "urn:ietf:rfc:1149"}}),
        ("push without a URL", {"delivery": {"method": PUSH}}),
        ("a stream_id", {"stream_id": "mine"}), ("an aud", {"aud": CALENDAR}),
        ("a header with a line break", {"delivery": push_to("https://mcp.example/events", "a\r\nX-Other: b")}),
    ):
        answer = receiver.call("POST", url, body)
        judge.check(f"14: {what}: 400 with words", answer.status == 400 and is_json_error(answer), answer.status)
    strict, url = secure.weather, secure.weather.url("configuration_endpoint")
    for what, where in (
        ("http", "http://mcp.example/events"), ("loopback", "https://127.0.0.1/events"),
        ("localhost", "https://localhost/events"), ("IPv6 loopback", "https://[::1]/events"),
        ("IPv4 in IPv6", "https://[::ffff:10.0.0.1]/"), ("metadata of a cloud", "https://169.254.169.254/latest"),
        ("private", "https://10.1.2.3/events"), ("user information", "https://a:b@mcp.example/events"),
        ("a fragment", "https://mcp.example/events#x"), ("another scheme", "file:///etc/passwd"),
    ):
        answer = strict.call("POST", url, {"delivery": push_to(where)})
        judge.check(f"14: push to {what}: 400 with words", answer.status == 400 and is_json_error(answer),
                    answer.status)
    judge.equal("14: and none of that made a stream", strict.call("GET", url).json(), [])
    answer = strict.call("POST", url, {"delivery": push_to("https://mcp.example/events")})
    judge.equal("14: an https URL is accepted there", answer.status, 201)
    judge.check("13: the URL of a poll there is https", strict.stream()["delivery"]["endpoint_url"].startswith(
        f"{secure.node.issuer}/"))


def changes(judge, stage, pushed, target):
    receiver, url, stream_id = stage.weather, stage.weather.url("configuration_endpoint"), pushed["stream_id"]

    def change(method, **members):
        answer = receiver.call(method, url, {"stream_id": stream_id} | members)
        read = receiver.read(stream_id).json()
        if answer.status == 200:
            judge.equal(f"18: what {method} answers is what is read then", read, answer.json())
        return answer.status, read
    status, now = change("PATCH", description="Changed")
    judge.equal("18: PATCH changes what it names, and nothing else", [status, now],
                [200, pushed | {"description": "Changed"}])
    few = ALL[:2]
    status, now = change("PUT", delivery=pushed["delivery"], events_requested=few)
    judge.check("18: PUT without a description removes it, with fewer events delivers fewer", status == 200
                and "description" not in now and now["events_delivered"] == few, now)
    status, now = change("PUT", events_requested=ALL)
    judge.check("18: PUT without delivery makes it a stream to poll", status == 200
                and now["delivery"]["method"] == POLL, now)
    status, now = change("PUT", delivery=push_to(target.url))
    judge.check("18: PUT without events delivers none", status == 200 and now["events_delivered"] == [], now)
    for method in ("PATCH", "PUT"):
        for name, value in (("iss", "https://attacker.example"), ("aud", CALENDAR), ("events_supported", [ENDED]),
                            ("events_delivered", ALL)):
            status, read = change(method, **{name: value})
            judge.check(f"19: {method} with a wrong {name}: 400, and nothing changes", status == 400 and read == now,
                        status)
        same = {name: now[name] for name in OURS if name in now}
        status, read = change(method, **same, delivery=now["delivery"])
        judge.equal(f"19: {method} with the right ones: 200", status, 200)
        judge.equal(f"19: {method} without stream_id: 400",
                    receiver.call(method, url, {"description": "x"}).status, 400)
        judge.equal(f"19: {method} of an unknown one: 404",
                    receiver.call(method, url, {"stream_id": UNKNOWN}).status, 404)


def removal(judge, stage, stream):
    receiver, stream_id = stage.weather, stream["stream_id"]
    stage.happen()
    judge.check("20: a SET waits", receiver.waiting(stream))
    receiver.empty(stream)
    waiting = stage.aside(lambda: receiver.poll(stream))
    time.sleep(0.3)
    begun = time.monotonic()
    judge.equal("20: DELETE: 204", receiver.delete(stream_id).status, 204)
    answer = waiting.result(10)
    judge.check("20: a waiting poll returns at once, with nothing", time.monotonic() - begun < 2
                and (answer.status == 404 or answer.json() == {"sets": {}}), answer.status)
    judge.equal("20: again: 404", receiver.delete(stream_id).status, 404)
    judge.equal("20: without stream_id: 400", receiver.call(
        "DELETE", receiver.url("configuration_endpoint")).status, 400)
    judge.equal("17: to read it: 404", receiver.read(stream_id).status, 404)
    judge.equal("20: to poll it: 404", receiver.poll(stream, returnImmediately=True).status, 404)


def limit(judge, stage):
    receiver, made = stage.plain, []
    while (answer := receiver.create()).status == 201 and len(made) < 100:
        made.append(answer.json()["stream_id"])
    judge.check("16: beyond the limit: 403 with words", answer.status == 403 and is_json_error(answer),
                f"{answer.status} after {len(made)}")
    for stream_id in made:
        receiver.delete(stream_id)
    judge.equal("17: all deleted: an empty array", receiver.call(
        "GET", receiver.url("configuration_endpoint")).json(), [])


# --- 21 to 24: status

def status(judge, stage):
    receiver, target = stage.weather, stage.target()
    pushed, polled = receiver.stream(push_to(target.url), [ENDED]), receiver.stream(events=[ENDED])
    name = pushed["stream_id"]
    judge.equal("21: a new stream is enabled", receiver.status(name).json(), {"stream_id": name, "status": "enabled"})
    for value in ("disabled", "paused", "enabled"):
        answer = receiver.set_status(name, value)
        judge.check(f"21: {value}: 200, and so it is", answer.status == 200 and answer.json()["status"] == value
                    and receiver.status(name).json()["status"] == value, answer.status)
    answer = receiver.call("POST", receiver.url("status_endpoint", name), {"stream_id": name, "status": "enabled"})
    judge.equal("21: the stream named in the query too", answer.status, 200)
    judge.equal("21: nonsense: 400", receiver.set_status(name, "nonsense").status, 400)
    judge.equal("21: unknown stream: 404", receiver.set_status(UNKNOWN, "paused").status, 404)
    judge.equal("21: unknown stream, read: 404", receiver.status(UNKNOWN).status, 404)
    for word, held in (("paused", True), ("disabled", False)):
        number = 22 if held else 23
        before = len(target.came)
        for one in (pushed, polled):
            receiver.set_status(one["stream_id"], word)
        jtis = [stage.happen() for _ in range(3)]
        time.sleep(2.2)
        judge.equal(f"{number}: {word}: nothing is pushed", len(target.came) - before, 0)
        judge.equal(f"{number}: {word}: a poll is 200 and empty",
                    receiver.poll(polled, returnImmediately=True).json()["sets"], {})
        begun = time.monotonic()
        receiver.poll(polled)
        judge.check(f"{number}: {word}: and does not wait", time.monotonic() - begun < 2)
        for one in (pushed, polled):
            receiver.set_status(one["stream_id"], "enabled")
        jtis.append(stage.happen())
        wanted = jtis if held else jtis[-1:]
        came = target.wait(before + len(wanted))[before:]
        judge.equal(f"{number}: enabled again: pushed is {'what was held, in order' if held else 'only the new'}",
                    stage.ended([stage.read(one.body) for one in came]), wanted)
        sets = receiver.waiting(polled)
        judge.equal(f"{number}: and so it is polled", stage.ended(stage.read_all(sets)), wanted)
        receiver.poll(polled, ack=list(sets), maxEvents=0)
    told = [event(stage.read(one.body))[0] for one in target.came]
    judge.check("24: what the receiver did itself is not told", SSF + "stream-updated" not in told, told)
    for one in (pushed, polled):
        receiver.delete(one["stream_id"])


# --- 25 to 28: verification

def verification(judge, stage):
    receiver, target = stage.weather, stage.target()
    pushed, polled = receiver.stream(push_to(target.url), []), receiver.stream(events=[])

    def is_echo(said, stream, members):
        return event(said) == (SSF + "verification", members) and said["sub_id"] == {
            "format": "opaque", "id": stream["stream_id"]}
    begun = time.monotonic()
    judge.equal("25: 204", receiver.verify(pushed["stream_id"], "state-1 \u00fc").status, 204)
    came = target.wait(1, 2)
    judge.check("25: the event is pushed within a second", came and came[0].at - begun < 1)
    judge.check("25: with this state, about the stream", is_echo(stage.read(came[0].body), pushed,
                                                                 {"state": "state-1 \u00fc"}))
    receiver.verify(polled["stream_id"], "state-2")
    sets = stage.read_all(receiver.waiting(polled))
    judge.check("25: and there for the first poll", len(sets) == 1 and is_echo(sets[0], polled, {"state": "state-2"}))
    answer = receiver.verify(pushed["stream_id"])
    retry = answer.headers.get("Retry-After", "")
    judge.check("27: too soon: 429 with Retry-After", answer.status == 429 and retry.isdigit() and 0 < int(retry) <= 5,
                f"{answer.status} {retry}")
    fresh = receiver.stream(events=[])
    judge.equal("27: a new stream is not limited by an old one", receiver.verify(fresh["stream_id"]).status, 204)
    sets = stage.read_all(receiver.waiting(fresh))
    judge.check("26: no state: an event without", len(sets) == 1 and is_echo(sets[0], fresh, {}), sets)
    time.sleep(float(retry or 5))
    judge.equal("27: after that time: 204", receiver.verify(pushed["stream_id"], "again").status, 204)
    receiver.verify(polled["stream_id"], "state-3")
    states = [event(said)[1].get("state") for said in stage.read_all(receiver.waiting(polled))]
    judge.equal("26: two requests: two echoes", sorted(states), ["state-2", "state-3"])
    judge.equal("28: truncated JSON: 400", receiver.call(
        "POST", receiver.url("verification_endpoint"), raw=b'{"stream_id": "').status, 400)
    judge.equal("28: unknown stream: 404", receiver.verify(UNKNOWN, "x").status, 404)
    for word in ("paused", "disabled"):
        one = receiver.stream(events=[])
        receiver.set_status(one["stream_id"], word)
        judge.equal(f"28: {word}: 204", receiver.verify(one["stream_id"], word).status, 204)
        receiver.set_status(one["stream_id"], "enabled")
        states = [event(said)[1].get("state") for said in stage.read_all(receiver.waiting(one))]
        judge.equal(f"28: {word}: the event is {'held' if word == 'paused' else 'thrown away'}", states,
                    ["paused"] if word == "paused" else [])
        receiver.delete(one["stream_id"])
    for one in (pushed, polled, fresh):
        receiver.delete(one["stream_id"])
