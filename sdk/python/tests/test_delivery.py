"""The receiver against a real transmitter: all three deliveries, and what goes wrong on the way."""

from contextlib import asynccontextmanager
from time import monotonic

import anyio
import pytest
from kit import NOW, RESOURCE, SECRET, SESSION_REVOKED, plain_client, serving, sign, transmitting

from writ_resource import Events, Introspect, Protect, Push, UnavailableError, Verifier, VerifyError
from writ_resource.health import Health

pytestmark = pytest.mark.anyio
USER = {"format": "iss_sub", "sub": "ada"}


def verifier_of(transmitter, **settings):
    settings = {"instance": "one", "token_lifetime": 600, "when_stale": "refuse"} | settings
    more = {name: settings.pop(name) for name in ("introspect", "refetch_floor") if name in settings}
    events = Events("weather", settings.pop("secret", SECRET), **settings)
    return Verifier(resource=RESOURCE, issuer=transmitter.issuer, events=events, clock=transmitter.clock, **more)


@asynccontextmanager
async def listening(transmitter, **settings):
    verifier = verifier_of(transmitter, **settings)
    async with verifier.running():
        await transmitter.until(lambda: verifier.receiver.status().live)
        yield verifier


async def refused(verifier, token):
    with pytest.raises(VerifyError, match="revoked"):
        await verifier.verify(token)


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_a_revocation_arrives(delivery):
    async with transmitting() as transmitter, listening(transmitter, delivery=delivery) as verifier:
        token = transmitter.token()
        assert (await verifier.verify(token)).sub == "ada"
        transmitter.revoke()
        await transmitter.until(lambda: verifier.receiver.status().markers)
        await refused(verifier, token)
        # And is acknowledged, once it counts.
        await transmitter.until(lambda: not any(transmitter.queues.values()))
        assert len(transmitter.streams) == 1
        assert not transmitter.errors
        assert 0 <= verifier.receiver.status().lag < 1


async def test_push():
    async with transmitting() as transmitter:
        verifier = None

        async def app(scope, receive, send):
            await protect(scope, receive, send)

        async with serving(app) as origin:
            verifier = verifier_of(transmitter, delivery=Push(f"{origin}/events"))
            protect = Protect(app, verifier)
            async with verifier.running(), plain_client() as client:
                await transmitter.until(lambda: transmitter.pushed)
                delivery, token = transmitter.pushed[0]
                assert delivery["endpoint_url"] == f"{origin}/events"

                async def push(token):
                    headers = {"authorization": delivery["authorization_header"]}
                    headers["content-type"] = "application/secevent+jwt"
                    return await client.post(delivery["endpoint_url"], content=token, headers=headers)

                assert not verifier.receiver.status().live
                assert (await push(token)).status_code == 202
                assert verifier.receiver.status().live
                access = transmitter.token()
                await verifier.verify(access)
                subject = USER | {"iss": transmitter.issuer}
                assert (await push(transmitter.set("caep/session-revoked", subject)[1])).status_code == 202
                await refused(verifier, access)


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_a_restart_forgets_nothing(delivery):
    async with transmitting() as transmitter:
        token = transmitter.token()
        async with listening(transmitter, delivery=delivery) as first:
            transmitter.revoke()
            await transmitter.until(lambda: first.receiver.status().markers)
            await transmitter.until(lambda: not any(transmitter.queues.values()))
        async with listening(transmitter, delivery=delivery) as second:
            await refused(second, token)
        assert len(transmitter.streams) == 1


async def test_a_restart_forgets_nothing_that_was_pushed():
    async with transmitting() as transmitter:
        push = Push("/events")
        first = verifier_of(transmitter, delivery=push)
        async with first.running():
            await transmitter.until(lambda: transmitter.pushed)
        transmitter.revoke()
        transmitter.pushed.clear()
        second = verifier_of(transmitter, delivery=push)
        async with second.running():
            await transmitter.until(lambda: transmitter.pushed)
            assert second.receiver.status().markers == 1
            await second.receiver.accept(transmitter.pushed[0][1])
            assert second.receiver.status().live
            await refused(second, transmitter.token())


async def test_a_replay_that_was_cut_short_is_begun_again():
    async with transmitting() as transmitter:
        transmitter.cuts_replays = True
        verifier = verifier_of(transmitter, delivery=Push("/events"))
        async with verifier.running():
            await transmitter.until(lambda: "before the past was told" in verifier.receiver.status().doubt)
            await transmitter.until(lambda: transmitter.requests.count("GET feed") > 1)
            assert not transmitter.pushed, "no verification that proves too much"
            transmitter.cuts_replays = False
            await transmitter.until(lambda: transmitter.pushed)


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_without_replay_older_tokens_are_unknown(delivery):
    async with transmitting() as transmitter:
        transmitter.metadata["feed_endpoint"] = None
        if delivery == "feed":
            verifier = verifier_of(transmitter)
            async with verifier.running():
                await transmitter.until(lambda: "feed_endpoint" in (verifier.receiver.status().doubt or ""))
            return
        async with listening(transmitter, delivery=delivery) as verifier:
            old = transmitter.token()
            with pytest.raises(UnavailableError):
                await verifier.verify(old)
            transmitter.clock.now += 61
            await beat(transmitter, verifier)
            assert (await verifier.verify(transmitter.token())).sub == "ada"
            with pytest.raises(UnavailableError):
                await verifier.verify(old)


async def beat(transmitter, verifier):
    """What the heartbeat does, without waiting for it."""
    state = f"beat-{transmitter.jti}"
    verifier.receiver.health.asked(state)
    stream = next(iter(transmitter.streams))
    transmitter.emit("ssf/verification", {"format": "opaque", "id": stream}, {"state": state})
    await transmitter.until(lambda: not verifier.receiver.health.awaits(state))


async def test_feed_that_ends_is_opened_again():
    async with transmitting() as transmitter, listening(transmitter) as verifier:
        for _ in range(3):
            feeds = transmitter.requests.count("GET feed")
            transmitter.end_feeds()
            await transmitter.until(lambda feeds=feeds: transmitter.requests.count("GET feed") > feeds)
        transmitter.revoke()
        await transmitter.until(lambda: verifier.receiver.status().markers)
        await transmitter.until(lambda: verifier.receiver.status().live)


async def test_silence_is_doubt():
    async with transmitting() as transmitter, listening(transmitter, when_stale="introspect") as verifier:
        token = transmitter.token(jti="in-doubt")
        await verifier.verify(token)
        assert "introspect" not in transmitter.requests
        transmitter.clock.now += 91
        assert verifier.receiver.status().doubt == "nothing was heard for too long"
        await verifier.verify(token)
        assert transmitter.requests.count("introspect") == 1
        transmitter.inactive.add("in-doubt")
        await refused(verifier, token)
        transmitter.down.add("introspect")
        with pytest.raises(UnavailableError):
            await verifier.verify(token)
        await beat(transmitter, verifier)
        assert (await verifier.verify(token)).sub == "ada", "live again: what was revoked would have arrived"


async def test_a_verification_without_echo_is_doubt():
    async with transmitting() as transmitter, listening(transmitter) as verifier:
        verifier.receiver.health.asked("never echoed")
        transmitter.clock.now += 9
        assert verifier.receiver.status().live
        transmitter.clock.now += 2
        assert verifier.receiver.status().doubt == "a verification was not echoed"
        await beat(transmitter, verifier)
        assert verifier.receiver.status().live


async def test_silence_is_doubt_also_when_the_clock_is_set_back(monkeypatch):
    async with transmitting() as transmitter, listening(transmitter) as verifier:
        transmitter.clock.now -= 3600
        assert verifier.receiver.status().live
        now = monotonic()
        monkeypatch.setattr("writ_resource.health.monotonic", lambda: now + 71)
        assert verifier.receiver.status().doubt == "nothing was heard for too long"


@pytest.mark.parametrize("down", ["ssf", "configuration", "status", "verification", "feed"])
async def test_doubt_from_the_start_until_the_transmitter_is_there(down):
    async with transmitting() as transmitter:
        transmitter.down.add(down)
        verifier = verifier_of(transmitter)
        async with verifier.running():
            await transmitter.until(lambda: "503" in (verifier.receiver.status().doubt or ""))
            with pytest.raises(UnavailableError):
                await verifier.verify(transmitter.token())
            if down == "verification":
                return  # asked for again after ten seconds
            transmitter.down.clear()
            await transmitter.until(lambda: verifier.receiver.status().live)


async def test_a_revocation_that_arrives_while_the_answer_is_on_its_way():
    async with transmitting() as transmitter:
        verifier = verifier_of(transmitter, when_stale="introspect")

        async def meanwhile():
            subject = USER | {"iss": transmitter.issuer}
            await verifier.receiver.accept(transmitter.set("caep/session-revoked", subject)[1])

        transmitter.meanwhile = meanwhile
        await refused(verifier, transmitter.token())
        assert transmitter.requests.count("introspect") == 1
        await verifier._web.close()


@pytest.mark.parametrize("introspect", [None, Introspect("weather", SECRET)])
async def test_a_token_that_expires_while_the_answer_is_on_its_way(introspect):
    async with transmitting() as transmitter:
        verifier = verifier_of(transmitter, when_stale="introspect", introspect=introspect)

        async def meanwhile():
            transmitter.clock.now += 400

        transmitter.meanwhile = meanwhile
        with pytest.raises(VerifyError, match="expired"):
            await verifier.verify(transmitter.token())
        assert transmitter.requests.count("introspect") == 1
        await verifier._web.close()


def test_an_echo_of_what_was_asked_before_a_failure_proves_nothing():
    health = Health(lambda: NOW, 70)
    health.asked("before")
    health.fail("it broke")
    assert health.echo("before")
    assert health.doubt() == "it broke"
    health.asked("after")
    assert health.echo("after")
    assert health.doubt() is None
    assert not health.echo("never")


async def test_a_lost_stream_is_made_again_and_its_past_awaited():
    async with transmitting() as transmitter, listening(transmitter) as verifier:
        transmitter.mute = True
        transmitter.streams.clear()
        transmitter.notify()
        await transmitter.until(lambda: transmitter.streams)
        await transmitter.until(lambda: (verifier.receiver.status().doubt or "").startswith("catching up"))


async def test_wrong_credentials():
    async with transmitting() as transmitter:
        verifier = verifier_of(transmitter, secret="wrong")
        async with verifier.running():
            await transmitter.until(lambda: "401" in (verifier.receiver.status().doubt or ""))


@pytest.mark.parametrize("says", [{"iss": "https://evil.example"}, {"aud": "https://other.example/mcp"}])
async def test_a_stream_that_is_not_ours_is_deleted(says):
    async with transmitting() as transmitter:
        transmitter.stream_says = says
        verifier = verifier_of(transmitter)
        async with verifier.running():
            await transmitter.until(lambda: "DELETE configuration" in transmitter.requests)
            await transmitter.until(lambda: "not for" in (verifier.receiver.status().doubt or ""))
        assert not transmitter.streams


async def test_endpoints_of_elsewhere_are_not_believed():
    async with transmitting() as transmitter:
        transmitter.metadata["configuration_endpoint"] = "http://auth.example/streams"
        verifier = verifier_of(transmitter)
        async with verifier.running():
            await transmitter.until(lambda: "https is needed" in (verifier.receiver.status().doubt or ""))


async def test_a_paused_stream_is_enabled_again():
    async with transmitting() as transmitter, listening(transmitter) as verifier:
        stream = next(iter(transmitter.streams))
        transmitter.emit("ssf/stream-updated", {"format": "opaque", "id": stream}, {"status": "paused"})
        await transmitter.until(lambda: not verifier.receiver.status().live)
        transmitter.streams[stream]["status"] = "paused"
        transmitter.revoke()
        transmitter.end_feeds()
        await transmitter.until(lambda: verifier.receiver.status().live)
        assert transmitter.streams[stream]["status"] == "enabled"
        assert verifier.receiver.status().markers == 1


async def test_each_instance_has_a_stream():
    async with transmitting() as transmitter, listening(transmitter) as one:
        async with listening(transmitter, instance="two") as two:
            assert len(transmitter.streams) == 2
            assert one.receiver.status().live
            assert two.receiver.status().live


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_without_a_name_each_has_a_stream_that_ends_with_it(delivery):
    async with transmitting() as transmitter, listening(transmitter, instance=None, delivery=delivery) as one:
        async with listening(transmitter, instance=None, delivery=delivery) as two:
            assert len(transmitter.streams) == 2
            transmitter.revoke()
            await transmitter.until(lambda: one.receiver.status().markers and two.receiver.status().markers)
        assert len(transmitter.streams) == 1
        assert one.receiver.status().live


async def test_a_stream_that_cannot_be_deleted_at_the_end_is_left_behind(caplog):
    async with transmitting() as transmitter:
        async with listening(transmitter, instance=None):
            transmitter.down.add("configuration")
        assert "left behind" in caplog.text


async def test_too_many_streams(caplog):
    async with transmitting() as transmitter:
        transmitter.most_streams = 0
        verifier = verifier_of(transmitter)
        async with verifier.running():
            await transmitter.until(lambda: "403" in (verifier.receiver.status().doubt or ""))
        assert "`writ stream list`" in caplog.text
        assert "`instance`" in caplog.text


async def elsewhere(transmitter):
    """A revocation that another receiver took away, and a verification that one asked for."""
    transmitter.revoke()
    for queue in transmitter.queues.values():
        queue.popitem()
    stream = next(iter(transmitter.streams))
    transmitter.emit("ssf/verification", {"format": "opaque", "id": stream}, {"state": "of another receiver"})


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_what_others_took_from_a_shared_stream_is_told_again(delivery, caplog):
    async with transmitting() as transmitter, listening(transmitter, delivery=delivery) as verifier:
        await elsewhere(transmitter)
        await transmitter.until(lambda: verifier.receiver.status().markers)
        await transmitter.until(lambda: verifier.receiver.status().live)
        await elsewhere(transmitter)
        await transmitter.until(lambda: not verifier.receiver.status().live)
        await transmitter.until(lambda: verifier.receiver.status().live)
        await transmitter.until(lambda: len(transmitter.errors) == 2)
        assert {error["err"] for error in transmitter.errors.values()} == {"invalid_state"}
        assert caplog.text.count("each process needs an own instance") == 1


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_what_a_disabled_stream_threw_away_is_told_when_it_is_enabled(delivery):
    async with transmitting() as transmitter, listening(transmitter, delivery=delivery) as verifier:
        transmitter.disable()
        transmitter.revoke()
        for known in transmitter.streams.values():
            known["status"] = "enabled"
        stream = next(iter(transmitter.streams))
        transmitter.emit("ssf/stream-updated", {"format": "opaque", "id": stream}, {"status": "enabled"})
        await transmitter.until(lambda: verifier.receiver.status().markers)
        await transmitter.until(lambda: verifier.receiver.status().live)


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_a_stream_that_was_disabled_silently_is_enabled_when_it_echoes_nothing(delivery, monkeypatch):
    monkeypatch.setattr("writ_resource.delivery.RETRY", 0.1)
    async with transmitting() as transmitter, listening(transmitter, delivery=delivery, max_age=15) as verifier:
        transmitter.disable()
        transmitter.notify()
        transmitter.revoke()
        await transmitter.until(lambda: verifier.receiver.status().markers, seconds=15)
        await transmitter.until(lambda: verifier.receiver.status().live)


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_bad_sets_are_reported_and_stop_nothing(delivery):
    async with transmitting() as transmitter, listening(transmitter, delivery=delivery) as verifier:
        stream = next(iter(transmitter.streams))
        transmitter._offer(stream, "bad", transmitter.token())
        _, set_token = transmitter.set("caep/session-revoked", USER | {"iss": transmitter.issuer}, aud="else")
        transmitter._offer(stream, "misdirected", set_token)
        _, set_token = transmitter.set("caep/session-revoked", USER | {"iss": transmitter.issuer})
        transmitter._offer(stream, "another-jti", set_token)
        transmitter.revoke("bob")
        await transmitter.until(lambda: not transmitter.queues[stream])
        assert {jti: error["err"] for jti, error in transmitter.errors.items()} == {
            "bad": "invalid_request",
            "misdirected": "invalid_audience",
            "another-jti": "invalid_request",
        }
        assert verifier.receiver.status().markers == 1


async def test_a_set_whose_key_cannot_be_fetched_comes_again():
    async with transmitting() as transmitter:
        transmitter.algorithms = ["RS256"]
        async with listening(transmitter) as verifier:
            await verifier.load_keys()
            transmitter.down.add("jwks")
            transmitter.clock.now += 60
            stream = next(iter(transmitter.streams))
            claims = {
                "iss": transmitter.issuer,
                "aud": RESOURCE,
                "iat": NOW,
                "jti": "rotated",
                "sub_id": USER | {"iss": transmitter.issuer},
                "events": {SESSION_REVOKED: {}},
            }
            transmitter._offer(stream, "rotated", sign({"typ": "secevent+jwt"}, claims, "ES256"))
            await transmitter.until(lambda: "keys" in (verifier.receiver.status().doubt or ""))
            assert "rotated" in transmitter.queues[stream]
            transmitter.algorithms, transmitter.clock.now = ["RS256", "ES256"], transmitter.clock.now + 60
            transmitter.down.clear()
            await transmitter.until(lambda: not transmitter.queues[stream])
            assert verifier.receiver.status().markers == 1


def new_key_set(transmitter):
    """A revocation by a key that no receiver has fetched yet."""
    transmitter.jti += 1
    claims = {
        "iss": transmitter.issuer,
        "aud": RESOURCE,
        "iat": NOW,
        "jti": "new-key",
        "sub_id": USER | {"iss": transmitter.issuer},
        "events": {SESSION_REVOKED: {}},
    }
    transmitter._offer(next(iter(transmitter.streams)), "new-key", sign({"typ": "secevent+jwt"}, claims, "ES256"))


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_a_set_whose_key_is_too_new_to_be_fetched(delivery):
    async with transmitting() as transmitter:
        transmitter.algorithms = ["RS256"]
        transmitter.clock.run()
        async with listening(transmitter, delivery=delivery, refetch_floor=0.3) as verifier:
            transmitter.algorithms = ["RS256", "ES256"]
            with pytest.raises(VerifyError, match="no such key"):  # what others ask for uses up nothing
                await verifier.verify(transmitter.token(header={"kid": "made-up"}))
            new_key_set(transmitter)
            await transmitter.until(lambda: verifier.receiver.status().markers)
            await transmitter.until(lambda: not any(transmitter.queues.values()))
            assert not transmitter.errors
            await transmitter.until(lambda: verifier.receiver.status().live)
            await refused(verifier, transmitter.token(iat=NOW - 1))


async def test_made_up_keys_of_tokens_do_not_keep_those_of_sets_from_being_fetched():
    async with transmitting() as transmitter:
        transmitter.algorithms = ["RS256"]
        async with listening(transmitter, refetch_floor=10) as verifier:
            transmitter.clock.now += 10
            with pytest.raises(VerifyError, match="no such key"):
                await verifier.verify(transmitter.token(header={"kid": "made-up"}))
            transmitter.algorithms = ["RS256", "ES256"]
            new_key_set(transmitter)
            await transmitter.until(lambda: verifier.receiver.status().markers)


@pytest.mark.parametrize("delivery", ["feed", "poll"])
async def test_a_set_whose_key_never_comes_puts_every_token_in_doubt(delivery):
    async with transmitting() as transmitter:
        transmitter.algorithms = ["RS256"]
        transmitter.clock.run()
        async with listening(transmitter, delivery=delivery, refetch_floor=0.1) as verifier:
            new_key_set(transmitter)
            await transmitter.until(lambda: not any(transmitter.queues.values()))
            assert transmitter.errors["new-key"]["err"] == "invalid_key"
            with pytest.raises(UnavailableError):
                await verifier.verify(transmitter.token())


async def test_keys_of_sets_are_where_the_transmitter_says():
    async with transmitting() as transmitter:
        transmitter.metadata["jwks_uri"] = None
        verifier = verifier_of(transmitter)
        async with verifier.running():
            await transmitter.until(lambda: "the keys" in (verifier.receiver.status().doubt or ""))
            await verifier.load_keys()


async def test_what_the_metadata_says_is_asked_again_for_each_subscription():
    async with transmitting() as transmitter, listening(transmitter) as verifier:
        transmitter.metadata["critical_subject_members"] = ["device"]
        transmitter.end_feeds()
        await transmitter.until(lambda: verifier.receiver.critical == ["device"])


async def test_a_large_backlog_is_polled_in_parts():
    async with transmitting() as transmitter, listening(transmitter, delivery="poll") as verifier:
        stream = next(iter(transmitter.streams))
        for number in range(150):
            subject = USER | {"iss": transmitter.issuer, "sub": f"user-{number}"}
            jti, token = transmitter.set("caep/session-revoked", subject, {"reason_admin": {"en": "x" * 45_000}})
            transmitter.queues[stream][jti] = token
        transmitter.notify()
        await transmitter.until(lambda: verifier.receiver.status().markers == 150)
        await transmitter.until(lambda: not transmitter.queues[stream])


async def test_the_hook_sees_events_and_may_end_tokens():
    seen = []

    def decide(event):
        seen.append(event.type.rsplit("/", 1)[1])
        if len(seen) == 2:
            raise RuntimeError("a bug of the author's")
        return "end_tokens" if event.type.endswith("credential-change") else None

    async with transmitting() as transmitter, listening(transmitter, on_event=decide) as verifier:
        subject = USER | {"iss": transmitter.issuer}
        requested = next(iter(transmitter.streams.values()))["events_requested"]
        assert any(uri.endswith("credential-change") for uri in requested)
        token = transmitter.token()
        transmitter.emit("caep/risk-level-change", subject)
        transmitter.emit("caep/risk-level-change", subject)
        transmitter.emit("caep/credential-change", subject)
        await transmitter.until(lambda: len(seen) == 3)
        assert seen == ["risk-level-change", "risk-level-change", "credential-change"]
        await refused(verifier, token)


async def test_the_seen_are_forgotten_after_a_day():
    async with transmitting() as transmitter:
        verifier = verifier_of(transmitter)
        jti, token = transmitter.set("caep/session-revoked", USER | {"iss": transmitter.issuer})
        receiver = verifier.receiver
        await receiver.accept(token)
        await receiver.accept(token)
        assert list(receiver._seen) == [jti]
        transmitter.clock.now += 24 * 3600
        later, token = transmitter.set("caep/session-revoked", USER | {"iss": transmitter.issuer})
        await receiver.accept(token)
        assert list(receiver._seen) == [later]
        await verifier._web.close()


async def test_lifespan_starts_and_stops_it():
    async with transmitting() as transmitter:
        verifier = verifier_of(transmitter)
        done = []

        async def app(scope, receive, send):
            assert scope["type"] == "lifespan"
            await receive()
            await transmitter.until(lambda: verifier.receiver.status().live)
            done.append(True)

        async def startup():
            return {"type": "lifespan.startup"}

        with anyio.fail_after(5):
            await Protect(app, verifier)({"type": "lifespan"}, startup, None)
        assert done
