"""What the servers are told: resources, clients, and the requests that are made of them."""

import base64
import contextlib
import http.client
import json
import urllib.parse

from generator import Requests
from kernel import CannotRun, output
from servers import PEER, get_json, secret

SCOPE = "tool:forecast"
LIFETIME = 3600
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
FORM = "application/x-www-form-urlencoded"
REDIRECT_URI = "https://app.example/callback"
PEOPLE = [f"person-{number}" for number in range(8)]


def resource_for(alg):
    return f"http://127.0.0.1:8000/mcp/{alg.lower()}"


def make_scene(algs):
    """What both servers know."""
    return {
        "client_id": "bench-agent",
        "client_secret": secret(),
        "scope": SCOPE,
        "lifetime": LIFETIME,
        "grant_id": secret()[:22],
        "resources": [{"alg": alg, "resource": resource_for(alg)} for alg in algs],
        "redirect_uri": REDIRECT_URI,
        "public_client": "bench-app",
        "confidential_client": "bench-web",
        "password": secret(),
    }


def declaration(scene):
    """The same for Writ, with the clients that only Writ's parts need; their secrets are the scene's."""
    access = [{"resource": r["alg"].lower(), "scopes": [SCOPE]} for r in scene["resources"]]
    common = {"token_endpoint_auth_method": "client_secret_basic", "client_secret": scene["client_secret"]}
    return {
        "resources": [
            {
                "id": resource["alg"].lower(), "resource": resource["resource"], "name": f"Benchmark {resource['alg']}",
                "tools": [{"name": SCOPE.removeprefix("tool:"), "description": "Benchmark"}],
                "access_token_lifetime": LIFETIME, "signing_algorithm": resource["alg"],
            }
            for resource in scene["resources"]
        ],
        "clients": [
            {"client_id": scene["client_id"], "name": "Benchmark", "grant_types": ["client_credentials"],
             "access": access, "delegates": ["bench-sub-agent"]} | common,
            {"client_id": "bench-sub-agent", "name": "Sub-agent", "access": access,
             "grant_types": ["client_credentials", EXCHANGE]} | common,
            {"client_id": "bench-server", "name": "MCP server", "serves": "eddsa", "grant_types": [EXCHANGE]} | common,
        ],
    }


def declaration_with_people(scene):
    """With people, and the clients that they let in."""
    base = declaration(scene)
    code = {"grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [REDIRECT_URI]}
    return base | {
        "clients": [
            *base["clients"],
            {"client_id": scene["public_client"], "name": "Application", "token_endpoint_auth_method": "none"} | code,
            {"client_id": scene["confidential_client"], "name": "Web application",
             "token_endpoint_auth_method": "client_secret_basic", "client_secret": scene["client_secret"]} | code,
        ],
        "users": [{"username": name, "password": scene["password"]} for name in PEOPLE],
    }


def basic(client_id, client_secret):
    pair = ":".join(urllib.parse.quote(part, safe="") for part in (client_id, client_secret))
    return "Basic " + base64.b64encode(pair.encode()).decode()


def token_body(resource):
    return urllib.parse.urlencode({"grant_type": "client_credentials", "resource": resource, "scope": SCOPE})


def token_requests(server, scene, alg, **more):
    """The one request that most parts repeat (RFC 6749 §4.4.2, RFC 8707 §2)."""
    return Requests(server.metadata()["token_endpoint"],
                    headers={"Authorization": basic(scene["client_id"], scene["client_secret"])},
                    body=token_body(resource_for(alg)), **more)


def exchange_body(token, alg="EdDSA"):
    return urllib.parse.urlencode({"grant_type": EXCHANGE, "subject_token": token, "resource": resource_for(alg),
                                   "subject_token_type": ACCESS_TOKEN})


def answers(server, requests, bodies):
    """What the server answers to these bodies, one after the other."""
    endpoint = urllib.parse.urlsplit(requests.url)
    connection = http.client.HTTPConnection(endpoint.netloc, timeout=10)
    found = []
    with contextlib.closing(connection):
        for body in bodies:
            connection.request("POST", endpoint.path, body, requests.headers | {"Content-Type": FORM})
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise CannotRun(f"{server.name} refused a token: {response.status} {answer[:300]!r}")
            found.append(json.loads(answer))
    return found


def fetch_tokens(server, scene, alg, count):
    requests = token_requests(server, scene, alg)
    return [answer["access_token"] for answer in answers(server, requests, [requests.body] * count)]


def token_file(server, scene, alg, count):
    """Fresh tokens with all a verifier must know, written where the verifiers read them."""
    metadata = server.metadata()
    path = server.data.parent / f"{server.name}-{alg}.json"
    path.write_text(json.dumps({
        "issuer": metadata["issuer"], "audience": resource_for(alg), "alg": alg,
        "jwks_uri": metadata["jwks_uri"], "jwks": get_json(metadata["jwks_uri"]),
        "tokens": fetch_tokens(server, scene, alg, count),
    }))
    return path


def prove_token(server, scene, alg):
    """A token of this server passes jose against the server's own JWKS and says what both must say."""
    path = token_file(server, scene, alg, 1)
    [token] = json.loads(output("node", PEER / "verify.mjs", "check", path))
    header, payload = token["header"], token["payload"]
    client, expected = scene["client_id"], {"alg": alg, "typ": "at+jwt"}
    claims = {"iss": server.issuer, "aud": resource_for(alg), "sub": client, "client_id": client, "scope": SCOPE}
    seen = {key: header.get(key) for key in expected} | {key: payload.get(key) for key in claims}
    if seen != expected | claims or payload["exp"] - payload["iat"] != LIFETIME:
        raise CannotRun(f"{server.name} issued another token than agreed: {token}")
    return {"bytes": len(json.loads(path.read_text())["tokens"][0]), "claims": sorted(payload)}
