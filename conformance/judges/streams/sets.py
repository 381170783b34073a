"""SETs as a stranger reads them: PyJWT, the published keys, and the rules written down once more.

Nothing here is Writ's. What a SET may hold is contracts/ssf.md, sections 4, 5 and 7.
"""

import json
import re
import time

import jwt
from judging import http

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
CLAIMS = {"iss", "aud", "iat", "jti", "txn", "sub_id", "events", "toe"}

# RFC 9493 and SSF 1.0: the members of each simple format, besides `format`.
SIMPLE = {
    "account": {"uri"}, "did": {"url"}, "email": {"email"}, "iss_sub": {"iss", "sub"}, "jwt_id": {"iss", "jti"},
    "opaque": {"id"}, "phone_number": {"phone_number"}, "uri": {"uri"},
}
PRINCIPAL = {"user", "device", "session", "application", "tenant", "org_unit", "group"}

CREDENTIALS = {"password", "pin", "x509", "fido2-platform", "fido2-roaming", "fido-u2f", "verifiable-credential",
               "phone-voice", "phone-sms", "app"}
COMPLIANCE = {"compliant", "not-compliant"}
LEVELS = {"LOW", "MEDIUM", "HIGH"}


def words(value):
    return isinstance(value, dict) and value and all(isinstance(k, str) and isinstance(v, str) and v
                                                     for k, v in value.items())


def text(value):
    return isinstance(value, str) and value != ""


def seconds(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def one_of(allowed):
    return lambda value: value in allowed


# What all CAEP events of Writ say; the interoperability profile asks for the reason.
WHY = {"event_timestamp": seconds, "initiating_entity": one_of({"admin", "user", "policy", "system"}),
       "reason_admin": words}
WHY_TOO = {"reason_user": words}

# type: members that have to be there, members that may be.
EVENTS = {
    CAEP + "session-revoked": (WHY, WHY_TOO),
    CAEP + "token-claims-change": (WHY | {"claims": lambda v: isinstance(v, dict) and v}, WHY_TOO),
    CAEP + "credential-change": (
        WHY | {"credential_type": one_of(CREDENTIALS),
               "change_type": one_of({"create", "revoke", "update", "delete"})},
        WHY_TOO | {"friendly_name": text, "x509_issuer": text, "x509_serial": text, "fido2_aaguid": text}),
    CAEP + "assurance-level-change": (
        WHY | {"namespace": text, "current_level": text},
        WHY_TOO | {"previous_level": text, "change_direction": one_of({"increase", "decrease"})}),
    CAEP + "device-compliance-change": (
        WHY | {"previous_status": one_of(COMPLIANCE), "current_status": one_of(COMPLIANCE)}, WHY_TOO),
    CAEP + "risk-level-change": (
        WHY | {"principal": one_of({"USER", "DEVICE", "SESSION", "TENANT", "ORG_UNIT", "GROUP"}),
               "current_level": one_of(LEVELS)}, WHY_TOO | {"previous_level": one_of(LEVELS), "risk_reason": text}),
    RISC + "account-disabled": ({}, {"reason": one_of({"hijacking", "bulk-account"})}),
    RISC + "account-enabled": ({}, {}),
    RISC + "account-purged": ({}, {}),
    RISC + "account-credential-change-required": ({}, {}),
    RISC + "credential-compromise": (
        {"credential_type": one_of(CREDENTIALS)},
        {"event_timestamp": seconds, "reason_admin": words, "reason_user": words}),
    SSF + "verification": ({}, {"state": text}),
    SSF + "stream-updated": ({"status": one_of({"enabled", "paused", "disabled"})}, {"reason": text}),
}


class Wrong(Exception):
    """What is wrong with a SET."""


class Reader:
    """Verifies SETs of one issuer by the keys it publishes, which are fetched again for a key it does not know."""

    def __init__(self, issuer, jwks_uri):
        self.issuer, self.jwks_uri, self.keys = issuer, jwks_uri, {}

    def key(self, kid):
        if kid not in self.keys:
            published = http("GET", self.jwks_uri).json()["keys"]
            self.keys = {one["kid"]: jwt.PyJWK(one) for one in published}
        if kid not in self.keys:
            raise Wrong(f"kid {kid!r} is not published")
        return self.keys[kid]

    def read(self, compact, audience):
        """Header and claims of a SET that is what it should be."""
        header = jwt.get_unverified_header(compact)
        if set(header) != {"typ", "alg", "kid"} or header["typ"] != "secevent+jwt":
            raise Wrong(f"the header is {header}")
        key = self.key(header["kid"])
        if header["alg"] not in ALGORITHMS or header["alg"] != key.algorithm_name:
            raise Wrong(f"alg {header['alg']} with a key for {key.algorithm_name}")
        try:
            claims = jwt.decode(compact, key, algorithms=[header["alg"]], issuer=self.issuer, audience=audience,
                                options={"require": ["iss", "aud", "iat", "jti"]})
        except jwt.PyJWTError as error:
            raise Wrong(f"PyJWT: {error}") from None
        check_claims(claims)
        return header, claims


def check_claims(claims):
    """The rules for claims that hold whoever the receiver is."""
    if extra := set(claims) - CLAIMS:
        raise Wrong(f"it has {sorted(extra)}")
    if missing := CLAIMS - {"toe"} - set(claims):
        raise Wrong(f"it lacks {sorted(missing)}")
    if not seconds(claims["iat"]) or claims["iat"] > time.time():
        raise Wrong(f"iat {claims['iat']}")
    if not text(claims["jti"]) or not text(claims["txn"]):
        raise Wrong(f"jti {claims['jti']!r}, txn {claims['txn']!r}")
    uri, members = event(claims)
    if uri not in EVENTS:
        raise Wrong(f"event type {uri}")
    required, optional = EVENTS[uri]
    if missing := set(required) - set(members):
        raise Wrong(f"{uri} lacks {sorted(missing)}")
    for name, value in members.items():
        fits = (required | optional).get(name)
        if fits is None or not fits(value):
            raise Wrong(f"{uri}: {name} is {value!r}")
    if "toe" in claims and not (uri.startswith(RISC) and seconds(claims["toe"])):
        raise Wrong(f"toe {claims['toe']!r} in {uri}")
    check_subject(claims["sub_id"])


def check_subject(subject):
    """A subject identifier without members that its format does not define, and without nesting."""
    if not isinstance(subject, dict) or "format" not in subject:
        raise Wrong(f"sub_id {subject!r}")
    if subject["format"] != "complex":
        return check_simple(subject)
    parts = {name: value for name, value in subject.items() if name != "format"}
    if not parts or not set(parts) <= PRINCIPAL:
        raise Wrong(f"complex subject of {sorted(parts)}")
    for part in parts.values():
        check_simple(part)


def check_simple(subject):
    members = SIMPLE.get(subject.get("format") if isinstance(subject, dict) else None)
    if members is None or set(subject) != members | {"format"} or not all(map(text, subject.values())):
        raise Wrong(f"subject {subject!r}")


def event(claims):
    """Type and members of the one event."""
    events = claims["events"]
    if not isinstance(events, dict) or len(events) != 1:
        raise Wrong(f"events {json.dumps(events)[:200]}")
    (uri, members), = events.items()
    if not isinstance(members, dict):
        raise Wrong(f"{uri} is {members!r}")
    return uri, members


def about(claims):
    """What a `session-revoked` of Writ is about: ("jti" | "grant" | "client" | "user" | "tenant", its name)."""
    subject = claims["sub_id"]
    if subject["format"] == "iss_sub":
        return "user", subject["sub"]
    session = subject.get("session")
    if session:
        return ("jti", session["jti"]) if session["format"] == "jwt_id" else ("grant", session["id"])
    for name in ("application", "tenant"):
        if name in subject:
            kind = {"application": "client"}.get(name, name)
            return kind, subject[name].get("sub") or subject[name].get("id")
    return "stream", subject.get("id")


def looks_like_jws(compact):
    """Compact serialization and nothing else around it."""
    return re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", compact) is not None
