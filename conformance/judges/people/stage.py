"""Start `writ serve` with people, and run one judge of the authorization code flow against it.

    python stage.py [--tls] NAME COMMAND [ARGUMENT...]

As `scene.py`, but what is declared is for people in front of browsers. The issuer is `http://localhost:PORT`, or
`https://localhost:PORT` with a certificate that signs itself.
"""

import argparse
import base64
import datetime
import hashlib
import ipaddress
import os
import secrets
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from scene import free_port, key, perform, place_for, public, resource, secret

LOOPBACK = "http://127.0.0.1/callback"  # with whatever port the client has got


def servers():
    """MCP servers: their declarations, and their ports."""
    ports = {name: free_port() for name in ("notes", "weather", "files", "wiki")}
    short = {"access_token_lifetime": 60}  # the shortest there is, so that clients refresh soon
    declared = [
        resource(ports["notes"], "notes", "Notes", {"read_note": False, "write_note": True},
                 default_scopes=["tool:read_note"], **short),
        resource(ports["weather"], "weather", "Weather", {"forecast": False, "alert": False},
                 default_scopes=["tool:forecast"], **short),
        resource(ports["files"], "files", "Files", {"list_files": False, "read_file": False, "delete_file": True},
                 default_scopes=["tool:list_files", "tool:read_file"]),
        resource(ports["wiki"], "wiki", "Wiki", {"search": False, "edit": True}, default_scopes=["tool:search"], **short),
    ]
    return declared, {r["id"]: {"resource": r["resource"], "port": ports[r["id"]]} for r in declared}


def applications(keys):
    """Clients, and where those of them are that are web applications."""
    code = {"redirect_uris": [LOOPBACK], "grant_types": ["authorization_code", "refresh_token"]}
    private_key = {"token_endpoint_auth_method": "private_key_jwt",
                   "jwks": {"keys": [public(jwk) for jwk in keys.values()]}}
    declared = [
        {"client_id": "public-app", "name": "Desk calendar", "token_endpoint_auth_method": "none",
         "application_type": "native", **code},
        {"client_id": "keyed-app", "name": "Bookkeeping", **private_key, **code},
        {"client_id": "fapi-app", "name": "Bank", "profile": "fapi2", "dpop_bound_access_tokens": True,
         **private_key, **code},
    ]
    names = {"web-app": "Web shop", "openid-client": "Library in Node", "authlib": "Library in Python",
             "apache": "Apache's module"}
    parties = {}
    for client, name in names.items():
        port = free_port()
        origin = f"http://127.0.0.1:{port}"
        party = {"port": port, "origin": origin, "bye": f"{origin}/bye.html"}
        parties[client] = party
        declared.append({
            "client_id": client, "name": name, "client_secret": secret(),
            "token_endpoint_auth_method": "client_secret_basic", "post_logout_redirect_uris": [party["bye"]], **code,
        })
        if client == "apache":
            declared[-1]["authorization"] = {"backchannel_logout_uri": f"{origin}/callback?logout=backchannel"}
    return declared, parties


def person(name):
    """Somebody with a password."""
    return {"username": name, "email": f"{name}@people.example", "email_verified": True,
            "claims": {"name": name.capitalize()}, "password": secrets.token_urlsafe(16)}


def declarations():
    """The apply document, and the private side of it for the judges."""
    keys = {algorithm: key(algorithm) for algorithm in ("RS256", "PS256", "ES256", "EdDSA")}
    resources, places = servers()
    clients, parties = applications(keys)
    users = {name: person(name) for name in ("alice", "bob")}
    private = {
        "keys": keys,
        "resources": places,
        "parties": parties,
        "people": {name: {k: user[k] for k in ("username", "email", "password")} for name, user in users.items()},
        "clients": {c["client_id"]: {k: c.get(k) for k in ("client_id", "client_secret")} for c in clients},
    }
    return {"resources": resources, "clients": clients, "users": list(users.values())}, private


def certificate(directory):
    """A certificate for loopback that signs itself, its key, and what browsers know its key by."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    files = {"certificate": directory / "loopback.pem", "key": directory / "loopback.key"}
    files["certificate"].write_bytes(certificate.public_bytes(Encoding.PEM))
    files["key"].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public_key = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(public_key).digest()).decode()
    return {name: str(file) for name, file in files.items()} | {"pin": pin}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    directory = place_for(asked.name)
    document, private = declarations()
    port = free_port()
    loopback = private["loopback"] = certificate(directory)
    settings = {
        "WRIT_SERVER__ISSUER": f"http{'s' if asked.tls else ''}://localhost:{port}",
        "WRIT_USERS__SIGN_UP": "open",
        # The hosts of metadata documents and the applications that are told of a logout are on loopback.
        "WRIT_FETCH__EXTRA_CA": loopback["certificate"],
        "WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS": "true",
    }
    if asked.tls:
        settings |= {"WRIT_TLS__CERTIFICATE": loopback["certificate"], "WRIT_TLS__PRIVATE_KEY": loopback["key"]}
        os.environ["NODE_EXTRA_CA_CERTS"] = loopback["certificate"]
    perform(asked.command, directory, document, private, settings=settings, listen=f"127.0.0.1:{port}")


if __name__ == "__main__":
    main()
