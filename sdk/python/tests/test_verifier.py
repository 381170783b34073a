"""Which access tokens are good (RFC 9068), and what the issuer is asked for."""

import anyio
import jwt
import pytest
from kit import NOW, PRIVATE, RESOURCE, SECRET, Clock, transmitting

from writ_resource import (
    Events,
    Introspect,
    Protect,
    Push,
    SetupError,
    UnavailableError,
    Verifier,
    VerifyError,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def served():
    async with transmitting() as transmitter:
        yield transmitter


@pytest.fixture
def transmitter(served):
    served.clock.now = NOW
    served.down.clear()
    served.inactive.clear()
    served.requests.clear()
    served.algorithms = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
    return served


async def test_an_answer_has_to_come_whole_in_time(transmitter):
    transmitter.dribbles = True
    verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer, clock=transmitter.clock, timeout=0.3)
    with anyio.fail_after(3), pytest.raises(UnavailableError):
        await verifier.verify(transmitter.token())
    transmitter.dribbles = False
    await verifier._web.close()


@pytest.fixture
async def verifier(transmitter):
    made = Verifier(resource=RESOURCE, issuer=transmitter.issuer, clock=transmitter.clock)
    yield made
    await made._web.close()


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
async def test_either_name_of_an_algorithm(transmitter, verifier, name):
    token = transmitter.token(name, header={"kid": "Ed25519" if name == "EdDSA" else "EdDSA"})
    transmitter.algorithms = ["EdDSA", "Ed25519"]
    assert (await verifier.verify(token)).sub == "ada"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"])
async def test_accepts(transmitter, verifier, algorithm):
    claims = await verifier.verify(transmitter.token(algorithm, act={"sub": "sub-agent", "act": {"sub": "agent"}}))
    assert claims.sub == "ada"
    assert claims.caller == "sub-agent"
    assert [actor.sub for actor in claims.actors] == ["sub-agent", "agent"]
    assert claims.scopes == ("tool:forecast",)


REFUSED = {
    "another algorithm": ({"how": "RS512"}, "algorithm"),
    "no signature": ({"how": "none"}, "algorithm"),
    "a shared secret": ({"how": "HS256"}, "algorithm"),
    "another key": ({"how": "other"}, "signature"),
    "a security event token": ({"header": {"typ": "secevent+jwt"}}, "not an access token"),
    "an ID token": ({"header": {"typ": "JWT"}}, "not an access token"),
    "an unknown key": ({"header": {"kid": "nobody"}}, "no such key"),
    "a critical header": ({"header": {"crit": ["b64"], "b64": True}}, "extension"),
    "another issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "another resource": ({"aud": "http://127.0.0.1:8000/mcp/"}, "another resource"),
    "expired": ({"exp": NOW - 30}, "expired"),
    "not yet": ({"iat": NOW + 31}, "not valid yet"),
    "not before": ({"nbf": NOW + 31}, "not valid yet"),
    "bound to a key": ({"cnf": {"jkt": "x"}}, "bound to a key"),
    "no jti": ({"jti": None}, "malformed"),
    "no client": ({"client_id": None}, "malformed"),
    "no subject": ({"sub": ""}, "malformed"),
    "no audience": ({"aud": []}, "malformed"),
    "exp a text": ({"exp": "never"}, "malformed"),
    "exp in milliseconds": ({"exp": NOW * 1000}, "malformed"),
    "a scope list": ({"scope": ["tool:forecast"]}, "malformed"),
    "an actor without a name": ({"act": {"iss": "x"}}, "malformed"),
    "a grant that is no text": ({"grant_id": 7}, "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refuses(transmitter, verifier, name):
    changes, words = REFUSED[name]
    with pytest.raises(VerifyError, match=words) as refused:
        await verifier.verify(transmitter.token(**changes))
    assert not isinstance(refused.value, UnavailableError)


async def test_refuses_a_long_chain_of_actors(transmitter, verifier):
    act = None
    for _ in range(17):
        act = {"sub": "agent"} | ({"act": act} if act else {})
    with pytest.raises(VerifyError, match="malformed"):
        await verifier.verify(transmitter.token(act=act))


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c.d", "a.b.", "é.b.c", "e30.e30.e30=", "e30.e30.e30\n"])
async def test_refuses_what_is_no_jws(verifier, token):
    with pytest.raises(VerifyError):
        await verifier.verify(token)


async def test_refuses_members_named_twice(transmitter, verifier):
    text = transmitter.token()
    claims = b'{"iss":"a","iss":"b"}'

    twice = jwt.PyJWS().encode(claims, PRIVATE["RS256"], "RS256", {"typ": "at+jwt", "kid": "RS256"})
    with pytest.raises(VerifyError, match="malformed"):
        await verifier.verify(twice)
    assert (await verifier.verify(text)).sub == "ada"


async def test_unknown_keys_cause_few_fetches(transmitter, verifier):
    fetched = transmitter.requests.count
    await verifier.verify(transmitter.token())
    assert fetched("jwks") == 1
    for _ in range(5):
        with pytest.raises(VerifyError, match="no such key"):
            await verifier.verify(transmitter.token(header={"kid": "nobody"}))
    assert fetched("jwks") == 1, "the floor of ten seconds"
    transmitter.clock.now += 10
    with pytest.raises(VerifyError, match="no such key"):
        await verifier.verify(transmitter.token(header={"kid": "nobody"}))
    assert fetched("jwks") == 2


async def test_keys_outlive_an_outage(transmitter, verifier):
    await verifier.verify(transmitter.token())
    transmitter.down.add("jwks")
    transmitter.clock.now += 301
    assert (await verifier.verify(transmitter.token())).sub == "ada"
    transmitter.clock.now += 10
    with pytest.raises(UnavailableError):
        await verifier.verify(transmitter.token(header={"kid": "made-meanwhile"}))
    transmitter.clock.now += 24 * 3600
    with pytest.raises(UnavailableError):
        await verifier.verify(transmitter.token())


async def test_no_keys_at_all(transmitter, verifier):
    transmitter.down.add("jwks")
    with pytest.raises(UnavailableError):
        await verifier.load_keys()
    transmitter.down.clear()
    transmitter.clock.now += 1
    await verifier.load_keys()


async def test_introspection(transmitter):
    ask = Introspect("weather", SECRET)
    verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer, introspect=ask, clock=transmitter.clock)
    token = transmitter.token(jti="asked-about")
    assert (await verifier.verify(token)).scopes == ("tool:forecast",)
    transmitter.inactive.add("asked-about")
    with pytest.raises(VerifyError, match="revoked"):
        await verifier.verify(token)
    transmitter.down.add("introspect")
    with pytest.raises(UnavailableError):
        await verifier.verify(token)
    assert transmitter.requests.count("introspect") == 3
    assert SECRET not in repr(ask)
    await verifier._web.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": "http://mcp.example/mcp"},
        {"resource": "mcp.example"},
        {"resource": "https://mcp.example/#a"},
        {"resource": 'https://mcp.example/"'},
        {"resource": "https://me@mcp.example/"},
        {"resource": "https://mcp.example/?a"},
        {"issuer": "http://auth.example"},
        {"issuer": "https://auth.example?a"},
        {"algorithms": ["HS256"]},
        {"algorithms": []},
        {"jwks_uri": "http://auth.example/jwks"},
    ],
)
def test_settings_that_cannot_be(changes):
    with pytest.raises(SetupError):
        Verifier(**({"resource": "https://mcp.example/mcp", "issuer": "https://auth.example"} | changes))


@pytest.mark.parametrize("delivery", ["feed", "poll", Push("/events")])
def test_a_server_is_put_together_before_there_is_a_loop(delivery):
    events = Events("server", "secret", delivery)
    verifier = Verifier(resource="https://mcp.example/mcp", issuer="https://auth.example", events=events)
    assert Protect(print, verifier)


async def test_metadata_of_another_issuer_is_not_believed(transmitter):
    verifier = Verifier(resource=RESOURCE, issuer=f"{transmitter.issuer}/", clock=Clock())
    with pytest.raises(UnavailableError):
        await verifier.load_keys()
    await verifier._web.close()
