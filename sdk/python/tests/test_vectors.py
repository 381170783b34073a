"""What tokens are worth after SETs, and which SETs are believed: the vectors that all SDKs share."""

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from kit import NOW, RESOURCE, filled, laid, sign, transmitting, vectors

from writ_resource import Events, SetError, UnavailableError, Verifier, VerifyError

pytestmark = pytest.mark.anyio
DENIALS, SETS = vectors("denials.json"), vectors("sets.json")


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def transmitter():
    async with transmitting() as transmitter:
        yield transmitter


@asynccontextmanager
async def live(transmitter, memory=100, token_lifetime=600):
    """A verifier whose receiver is live and warm."""
    transmitter.clock.now = NOW
    events = Events("weather", "x", when_stale="refuse", token_lifetime=token_lifetime, memory=memory)
    verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer, events=events, clock=transmitter.clock)
    await echo(transmitter, verifier)
    yield verifier
    await verifier._web.close()


async def echo(transmitter, verifier):
    state = f"state-{transmitter.jti}"
    verifier.receiver.health.asked(state)
    _, token = transmitter.set("ssf/verification", {"format": "opaque", "id": "stream-1"}, {"state": state})
    await verifier.receiver.accept(token)
    assert verifier.receiver.status().live


async def worth(verifier, token):
    try:
        claims = await verifier.verify(token)
    except UnavailableError:
        return "unknown"
    except VerifyError as error:
        assert str(error) == "the token has been revoked"
        return "denied"
    return claims.scopes


@pytest.mark.parametrize("case", DENIALS["cases"], ids=[case["name"] for case in DENIALS["cases"]])
async def test_denials(transmitter, case):
    assert DENIALS["now"] == NOW
    memory = case.get("memory", DENIALS["memory"])
    async with live(transmitter, memory, DENIALS["token_lifetime"]) as verifier:
        vector, defaults = filled(case, transmitter.issuer), filled(DENIALS, transmitter.issuer)
        verifier.receiver.critical = case.get("critical", ())
        for number, said in enumerate(vector["sets"]):
            transmitter.clock.now += said.pop("wait", 0)
            family, name = said.pop("type").split("/")
            events = {f"https://schemas.openid.net/secevent/{family}/event-type/{name}": said.pop("event")}
            claims = laid(said, defaults["set"] | {"jti": f"vector-{number}", "events": events})
            await verifier.receiver.accept(sign({"typ": "secevent+jwt"}, claims))
        transmitter.clock.now += case.get("later", 0)
        await echo(transmitter, verifier)
        claims = laid(vector.get("token"), defaults["token"])
        outcome = await worth(verifier, sign({"typ": "at+jwt"}, claims))
        whole = tuple(claims["scope"].split())
        expected = {"allowed": whole, "narrowed": tuple(case.get("scope", "").split())}
        assert outcome == expected.get(case["expect"], case["expect"])


@pytest.mark.parametrize("case", SETS["cases"], ids=[case["name"] for case in SETS["cases"]])
async def test_sets(transmitter, case):
    assert SETS["now"] == NOW
    async with live(transmitter) as verifier:
        receiver = verifier.receiver
        case, base = filled(case, transmitter.issuer), filled(SETS, transmitter.issuer)
        before = replace(receiver.status(), age=None)
        token = made(case, base)
        error = await receiver.push(receiver.push_secret, "application/secevent+jwt", token.encode())
        assert (error and error.err) == case["err"]
        if case["err"] is not None:
            assert error.description
            assert replace(receiver.status(), age=None) == before, "a refused SET changes nothing"
            with pytest.raises(SetError):
                await receiver.accept(token)


def made(case, base):
    if "raw" in case:
        return case["raw"]
    claims = laid(case.get("claims"), base["claims"] | {"jti": "vector"})
    header = laid(case.get("header"), {})
    header = {name: None for name, value in case.get("header", {}).items() if value is None} | header
    header = {k: v for k, v in (base["header"] | header).items() if v is not None}
    how = case.get("sign", "RS256")
    if "size" in case:
        short = len(sign(header, claims | {"padding": ""}, how))
        claims["padding"] = "x" * ((case["size"] - short) * 3 // 4)
    token = sign(header, claims, how)
    if case.get("tamper"):
        head, _, signature = token.split(".")
        payload = json.dumps(claims | {"txn": "another"}).encode()
        token = f"{head}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.{signature}"
    if case.get("cut"):
        token = token[: token.rindex(".") + 1]
    return token + case.get("suffix", "")
