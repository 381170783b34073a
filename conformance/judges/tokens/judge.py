"""Our access tokens and JWKS, verified by PyJWT (Python), jose (JavaScript) and Crypt::JWT (Perl).

Each verifier is a process of its own that knows only the issuer. It gets the same list of cases, good and
bad, and says for each whether it accepts, and for each published key which RFC 7638 thumbprint it computes.
"""

import hashlib
import hmac
import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from judging import HERE, Judge, claims, http, scene, token

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
VERIFIERS = {
    "PyJWT": [sys.executable, str(HERE / "tokens/verify.py")],
    "jose": [os.environ.get("NODE", "node"), str(HERE / "tokens/verify.mjs")],
    "Crypt::JWT": ["perl", str(HERE / "tokens/verify.pl")],
}
SIGNED = {"RS256": ("weather", "tool:forecast"), "ES256": ("archive", "tool:search"), "EdDSA": ("vault", "tool:open")}


def segment(value):
    if not isinstance(value, bytes):
        value = json.dumps(value, separators=(",", ":")).encode()
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def forgeries(good, stage, key_set):
    """The token, and the same token spoilt in ways every verifier has to notice."""
    head, payload, signature = good.split(".")
    header, body = claims(good, 0), claims(good)
    own = stage["keys"]["RS256" if header["alg"] == "RS256" else header["alg"]]
    attacker = jwt.PyJWK(own, own["alg"]).key
    published = next(key for key in key_set["keys"] if key["kid"] == header["kid"])
    pem = jwt.PyJWK(published, published["alg"]).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    confused = f"{segment(header | {'alg': 'HS256'})}.{payload}"
    spoilt = bytearray(jwt.utils.base64url_decode(signature))
    spoilt[len(spoilt) // 2] ^= 1
    return {
        "as issued": good,
        "with another scope": f"{head}.{segment(body | {'scope': 'tool:everything'})}.{signature}",
        "with one bit of the signature changed": f"{head}.{payload}.{segment(bytes(spoilt))}",
        "without a signature": f"{head}.{payload}.",
        "with alg none": f"{segment(header | {'alg': 'none'})}.{payload}.",
        "as HS256 keyed with the public key": f"{confused}.{segment(hmac.digest(pem, confused.encode(), hashlib.sha256))}",
        "signed by a stranger under our kid": jwt.encode(body, attacker, header["alg"], headers=header),
        "naming a kid that is not published": jwt.encode(body, attacker, header["alg"], headers=header | {"kid": "x"}),
    }


def published_keys(judge, issuer):
    metadata = http("GET", f"{issuer}/.well-known/oauth-authorization-server").json()
    answer = http("GET", metadata["jwks_uri"])
    judge.equal("jwks_uri answers 200", answer.status, 200)
    judge.check("as JSON", answer.headers.get_content_type() in ("application/json", "application/jwk-set+json"))
    keys = answer.json()["keys"]
    judge.check("a key for each of RS256, ES256 and EdDSA", set(SIGNED) <= {key["alg"] for key in keys},
                sorted(key["alg"] for key in keys))
    judge.check("every key says kid, alg and use=sig",
                all(key.get("kid") and key.get("alg") and key.get("use") == "sig" for key in keys))
    judge.check("no key has a private member", not any(PRIVATE & set(key) for key in keys))
    judge.equal("every kid is there once", len({key["kid"] for key in keys}), len(keys))
    return metadata["jwks_uri"], answer.json()


def main():
    judge, stage = Judge("tokens"), scene()
    issuer = stage["issuer"]
    jwks_uri, key_set = published_keys(judge, issuer)

    cases = []

    def case(what, access_token, algorithm, audience, expected_issuer, accepted):
        cases.append({"what": what, "token": access_token, "algorithm": algorithm, "audience": audience,
                      "issuer": expected_issuer, "accepted": accepted})

    for algorithm, (resource, scope) in SIGNED.items():
        good = token(stage, "agent-basic", resource, scope)
        audience = stage["resources"][resource]["resource"]
        header, body = claims(good, 0), claims(good)
        judge.equal(f"{algorithm}: the token says how it is signed", header["alg"], algorithm)
        judge.equal(f"{algorithm}: and that it is an access token", header["typ"], "at+jwt")
        required = {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "grant_id"}
        judge.check(f"{algorithm}: every claim is there", required <= set(body), sorted(body))
        judge.equal(f"{algorithm}: aud is one string", body["aud"], audience)
        judge.check(f"{algorithm}: scope is as granted", body["scope"] == scope, body["scope"])
        for what, forged in forgeries(good, stage, key_set).items():
            case(f"{algorithm} token {what}", forged, algorithm, audience, issuer, what == "as issued")
        case(f"{algorithm} token at another resource", good, algorithm, f"{audience}/other", issuer, False)
        case(f"{algorithm} token by another issuer", good, algorithm, audience, f"{issuer}/", False)
    ledger = stage["tenants"]["acme"]
    case("token of a tenant, by the keys of the root issuer",
         token(stage, "bookkeeper", "ledger", "tool:read", tenant="acme"), "RS256",
         ledger["resources"]["ledger"]["resource"], ledger["issuer"], False)

    request = json.dumps({"jwks_uri": jwks_uri, "cases": cases})
    for verifier, command in VERIFIERS.items():
        run = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60)
        if not judge.check(f"{verifier} ran", run.returncode == 0, run.stderr[-500:]):
            continue
        said = json.loads(run.stdout)
        print(f"-- {verifier} {said['version']}")
        thumbprints = said["thumbprints"]
        # There may be more of them by now: the next keys are published before they are used.
        judge.check("every kid is the key's RFC 7638 thumbprint",
                    {key["kid"] for key in key_set["keys"]} <= set(thumbprints)
                    and all(kid == thumbprint for kid, thumbprint in thumbprints.items()), thumbprints)
        for wanted, verdict in zip(cases, said["verdicts"], strict=True):
            judge.check(f"{'accepts' if wanted['accepted'] else 'refuses'} the {wanted['what']}",
                        verdict["accepted"] == wanted["accepted"], verdict.get("reason", "")[:120])
    judge.finish()


if __name__ == "__main__":
    main()
